//! Large payloads that the record owns are borrowed by librdkafka, not copied: the owner is dropped
//! once, and never before the message's delivery callback has run, whatever becomes of the message.

mod copies;
mod failures;
mod lifetimes;

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use futures::future::join_all;
use tokio_rdkafka::{
    ClientConfig, ClientContext, DeliveryFuture, DeliveryResult, Headers, IntoPayload, KafkaError,
    MockCluster, Producer, ProducerContext, ProducerRecord, PurgeConfig, RDKafkaErrorCode as Code,
    RDKafkaLogLevel,
};
use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{DEADLINE, cluster, config, until};

/// Large enough to be borrowed, and small enough to be copied.
const LARGE: usize = 16 * 1024;

const SMALL: usize = 16;

type Record = ProducerRecord<'static, usize>;

type InFlight = Vec<DeliveryFuture<usize>>;

/// What is added to a record.
type With = fn(Record) -> Record;

type AtDrop = Box<dyn FnOnce() + Send>;

/// A context that keeps account of payloads, each of which has a number, the record's opaque.
#[derive(Default)]
struct Ledger {
    entries: Mutex<Vec<Entry>>,
    // Counted beside the entries: who waits for them looks again and again, and must not hold the
    // lock that the delivery callbacks need.
    reported: AtomicUsize,
    dropped: AtomicUsize,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    bytes: usize,
    address: usize,
    reports: Vec<Report>,
    drops: usize,
    /// How many reports there had been.
    reports_at_drop: usize,
}

/// What the delivery callback saw of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report {
    address: usize,
    is_whole: bool,
}

/// A payload that writes down when it is dropped, and then is not readable any more.
struct Owner {
    bytes: Vec<u8>,
    number: usize,
    ledger: Arc<Ledger>,
    at_drop: Option<AtDrop>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.bytes.fill(b'-');
        self.ledger.change(self.number, |entry| {
            if entry.drops == 0 {
                entry.reports_at_drop = entry.reports.len();
            }
            entry.drops += 1;
        });
        self.ledger.dropped.fetch_add(1, Ordering::SeqCst);
        if let Some(at_drop) = self.at_drop.take() {
            at_drop();
        }
    }
}

/// What the payload of a number has in it.
fn content(number: usize, bytes: usize) -> Vec<u8> {
    let text = format!("payload {number}, ");
    let mut content = text.repeat(bytes / text.len() + 1).into_bytes();
    content.truncate(bytes);
    content
}

impl Ledger {
    fn change<T>(&self, number: usize, change: impl FnOnce(&mut Entry) -> T) -> T {
        change(&mut self.entries.lock().unwrap()[number])
    }

    fn entry(&self, number: usize) -> Entry {
        self.entries.lock().unwrap()[number].clone()
    }

    fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    /// The bytes of the next payload.
    fn next(&self, bytes: usize) -> (usize, Vec<u8>) {
        let mut entries = self.entries.lock().unwrap();
        let number = entries.len();
        entries.push(Entry {
            bytes,
            ..Entry::default()
        });
        (number, content(number, bytes))
    }

    /// A record of a payload that is at that address.
    fn record_at(
        &self,
        number: usize,
        address: *const u8,
        payload: impl IntoPayload<'static>,
    ) -> Record {
        self.change(number, |entry| entry.address = address as usize);
        ProducerRecord::with_opaque_to("t", number).payload(payload)
    }

    fn owned(self: &Arc<Self>, bytes: usize, at_drop: Option<AtDrop>) -> Record {
        let (number, bytes) = self.next(bytes);
        let address = bytes.as_ptr();
        let owner = Owner {
            bytes,
            number,
            ledger: Arc::clone(self),
            at_drop,
        };
        self.record_at(number, address, Bytes::from_owner(owner))
    }

    fn record(self: &Arc<Self>) -> Record {
        self.owned(LARGE, None)
    }

    fn reported(&self) -> usize {
        self.reported.load(Ordering::SeqCst)
    }

    async fn until_reported(&self, count: usize) {
        let started = Instant::now();
        while self.reported() < count {
            let reported = self.reported();
            assert!(
                started.elapsed() < DEADLINE,
                "{reported} of {count} reports"
            );
            tokio::task::yield_now().await;
        }
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Waits until all owners have gone, and checks that each went once, after the one report of
    /// its message, which saw the payload itself.
    async fn all_came_to_their_end(&self) {
        let entries = self.entries.lock().unwrap().len();
        until(|| self.dropped() >= entries).await;
        for (number, entry) in self.entries().iter().enumerate() {
            let report = Report {
                address: entry.address,
                is_whole: true,
            };
            assert_eq!(entry.reports, [report], "{number}");
            assert_eq!((entry.drops, entry.reports_at_drop), (1, 1), "{number}");
        }
    }

    /// That a record which was refused has the very payload that it came with.
    fn has_back<D>(&self, number: usize, record: &ProducerRecord<'_, D>) {
        let entry = self.entry(number);
        let payload = record.get_payload().unwrap();
        assert_eq!(payload.as_ptr() as usize, entry.address, "{number}");
        assert!(payload == content(number, entry.bytes), "{number}");
        assert_eq!((entry.drops, entry.reports.len()), (0, 0), "{number}");
    }
}

impl ClientContext for Ledger {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: &KafkaError) {}
}

impl ProducerContext for Ledger {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let payload = match result {
            Ok(message) => message.payload(),
            Err(error) => error.payload(),
        };
        let payload = payload.unwrap();
        self.change(number, |entry| {
            entry.reports.push(Report {
                address: payload.as_ptr() as usize,
                is_whole: payload == content(number, entry.bytes),
            });
        });
        self.reported.fetch_add(1, Ordering::SeqCst);
    }
}

fn producer(config: &ClientConfig) -> (Producer<Arc<Ledger>>, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::default());
    let producer = Producer::builder(config).context(Arc::clone(&ledger));
    (producer.create().unwrap(), ledger)
}

/// Without `message.copy.max.bytes`, requests refer to the payloads; shorter ones would be copied
/// into them.
fn uncopied(cluster: &MockCluster) -> ClientConfig {
    let mut config = config(cluster);
    config.set("message.copy.max.bytes", "0");
    config
}

fn full(record: Record) -> Record {
    record
        .key("k")
        .timestamp(1_700_000_000_000)
        .headers(Headers::new().append("h", Some("1")))
}

fn enqueue(producer: &Producer<Arc<Ledger>>, count: usize) -> InFlight {
    let record = || producer.context().record();
    (0..count)
        .map(|_| producer.try_enqueue(record()).unwrap())
        .collect()
}

/// The code that each failed with; the record that comes back has the bytes that were sent.
async fn failures(futures: InFlight) -> Vec<Code> {
    let mut codes = Vec::new();
    for (number, result) in join_all(futures).await.into_iter().enumerate() {
        let error = result.unwrap_err();
        let payload = error.record().get_payload().unwrap();
        assert!(payload == content(number, payload.len()), "{number}");
        codes.push(error.code().unwrap());
    }
    codes
}

/// That all have arrived, byte for byte.
async fn arrived(cluster: &MockCluster, ledger: &Ledger) {
    let records = cluster.records("t").await.unwrap();
    let mut payloads: Vec<_> = records
        .iter()
        .map(|record| record.payload().unwrap().to_vec())
        .collect();
    let entries = ledger.entries();
    let mut expected: Vec<_> = (0..entries.len())
        .map(|number| content(number, entries[number].bytes))
        .collect();
    payloads.sort_unstable();
    expected.sort_unstable();
    assert!(payloads == expected, "{} records", payloads.len());
}

const EVERYTHING: fn() -> PurgeConfig = || PurgeConfig::default().queue().inflight();

#[tokio::test(flavor = "current_thread")]
async fn payloads_whose_drop_panics_are_logged_and_stall_nothing() {
    let (_guard, log) = captured(Level::INFO);
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(uncopied(&cluster).set("linger.ms", "20"));
    let futures: Vec<_> = (0..60)
        .map(|number| {
            let panics = || -> AtDrop {
                // Without the message of the hook.
                Box::new(move || panic::resume_unwind(Box::new(format!("of {number}"))))
            };
            let record = ledger.owned(LARGE, (number % 3 == 0).then(panics));
            producer.try_enqueue(record).unwrap()
        })
        .collect();
    for delivery in join_all(futures).await {
        delivery.unwrap();
    }
    ledger.all_came_to_their_end().await;
    let log = log();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 20, "{log}");
    for (index, line) in lines.into_iter().enumerate() {
        assert!(line.contains("the drop of a payload panicked"), "{line}");
        let which = format!("\"of {}\"", 3 * index);
        assert!(line.contains(&which), "{line}");
    }
    producer.send(ledger.record()).await.unwrap();
    assert_eq!(producer.callback_panics(), 0);
    assert_eq!(producer.close().await.failed, 0);
}

#[tokio::test]
async fn the_drop_of_a_payload_may_call_the_producer() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(&uncopied(&cluster));
    let again = producer.clone();
    let first = ledger.owned(
        LARGE,
        Some(Box::new(move || {
            let record = again.context().record();
            again.try_enqueue_detached(record).unwrap();
        })),
    );
    producer.send(first).await.unwrap();
    until(|| ledger.dropped() == 2).await;

    // The last handle, and with it the end of the driver which drops it.
    let last = producer.clone();
    let record = ledger.owned(LARGE, Some(Box::new(move || drop(last))));
    let future = producer.enqueue(record).await.unwrap();
    drop(producer);
    future.await.unwrap();
    ledger.all_came_to_their_end().await;
    until(|| Arc::strong_count(&ledger) == 1).await;
    arrived(&cluster, &ledger).await;
}
