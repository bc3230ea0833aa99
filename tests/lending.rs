//! Large payloads that the record owns are lent to librdkafka, not copied: the owner is dropped once,
//! and never before the message's delivery callback has run, whatever becomes of the message.
#![cfg(feature = "mock")]

mod common;

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use common::{DEADLINE, captured, cluster, config, produce_requests, until};
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::join_all;
use tokio::runtime;
use tokio_rdkafka::{
    ApiKey, ClientConfig, ClientContext, DeliveryFuture, DeliveryResult, Headers, IntoPayload,
    KafkaError, MockCluster, Producer, ProducerContext, ProducerRecord, PurgeConfig,
    RDKafkaErrorCode as Code, RDKafkaLogLevel,
};

/// Large enough to be lent, and small enough to be copied.
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

    /// Waits until all owners have gone, and checks that each went once, after the one report of its
    /// message, which saw the payload itself.
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

#[tokio::test]
async fn whatever_owns_its_bytes_is_not_copied() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(&uncopied(&cluster));
    let mut records = Vec::new();
    let mut owned = |convert: &dyn Fn(&Ledger, usize, Vec<u8>) -> Record| {
        let (number, bytes) = ledger.next(LARGE);
        records.push(convert(&ledger, number, bytes));
    };
    owned(&|ledger, number, bytes| ledger.record_at(number, bytes.as_ptr(), bytes));
    owned(&|ledger, number, bytes| {
        let text = String::from_utf8(bytes).unwrap();
        ledger.record_at(number, text.as_ptr(), text)
    });
    owned(&|ledger, number, bytes| {
        let bytes = bytes.into_boxed_slice();
        ledger.record_at(number, bytes.as_ptr(), bytes)
    });
    owned(&|ledger, number, bytes| {
        let bytes: Arc<[u8]> = bytes.into();
        ledger.record_at(number, bytes.as_ptr(), bytes)
    });
    owned(&|ledger, number, bytes| {
        let text: Arc<str> = String::from_utf8(bytes).unwrap().into();
        ledger.record_at(number, text.as_ptr(), text)
    });
    owned(&|ledger, number, bytes| {
        let bytes = Bytes::from(bytes);
        ledger.record_at(number, bytes.as_ptr(), bytes)
    });
    owned(&|ledger, number, bytes| {
        let bytes = BytesMut::from(&bytes[..]);
        ledger.record_at(number, bytes.as_ptr(), bytes)
    });
    // A part of a larger buffer.
    owned(&|ledger, number, bytes| {
        let bytes = Bytes::from([&b"before"[..], &bytes, b"after"].concat()).slice(6..6 + LARGE);
        ledger.record_at(number, bytes.as_ptr(), bytes)
    });
    let count = records.len();
    for record in records {
        producer.send(record).await.unwrap();
    }
    for number in 0..count {
        let entry = ledger.entry(number);
        let itself = Report {
            address: entry.address,
            is_whole: true,
        };
        assert_eq!(entry.reports, [itself], "{number}");
    }
    arrived(&cluster, &ledger).await;
}

#[tokio::test]
async fn what_is_small_or_borrowed_is_copied_and_free_at_once() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let (producer, ledger) = producer(&uncopied(&cluster));
    let small = producer.try_enqueue(ledger.owned(SMALL, None)).unwrap();
    let small_and_full = producer.try_enqueue(full(ledger.owned(SMALL, None)));
    assert_eq!(ledger.dropped(), 2);

    let (number, mut bytes) = ledger.next(LARGE);
    ledger.change(number, |entry| entry.address = bytes.as_ptr() as usize);
    let borrowed = ProducerRecord::with_opaque_to("t", number).payload(&bytes[..]);
    let borrowed = producer.try_enqueue(borrowed).unwrap();
    bytes.fill(b'-');

    cluster.broker_up(1).unwrap();
    for future in [small, small_and_full.unwrap(), borrowed] {
        future.await.unwrap();
    }
    for entry in ledger.entries() {
        assert_eq!(entry.reports.len(), 1);
        assert_ne!(entry.reports[0].address, entry.address);
        assert!(entry.reports[0].is_whole);
    }
    assert_eq!(ledger.dropped(), 2);
    arrived(&cluster, &ledger).await;
}

async fn delivered(codec: &str, copy_max: &str, with: With) {
    let cluster = cluster("t", 2);
    let mut config = config(&cluster);
    config
        .set("compression.codec", codec)
        .set("message.copy.max.bytes", copy_max)
        .set("linger.ms", "5");
    let (producer, ledger) = producer(&config);
    let futures: Vec<_> = (0..50)
        .map(|_| producer.try_enqueue(with(ledger.record())).unwrap())
        .collect();
    for delivery in join_all(futures).await {
        delivery.unwrap();
    }
    ledger.all_came_to_their_end().await;
    arrived(&cluster, &ledger).await;
}

#[tokio::test]
async fn what_is_lent_arrives_whole_by_every_way() {
    for codec in ["none", "gzip", "snappy", "lz4"] {
        for copy_max in ["0", "65535"] {
            delivered(codec, copy_max, |record| record).await;
            delivered(codec, copy_max, full).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_lend_at_the_same_time() {
    let cluster = cluster("t", 4);
    let (producer, ledger) = producer(uncopied(&cluster).set("queue.buffering.max.messages", "20"));
    let tasks = (0..4).map(|_| {
        let producer = producer.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                let record = producer.context().record();
                producer.send(record).await.unwrap();
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    ledger.all_came_to_their_end().await;
}

#[tokio::test]
async fn a_timed_out_message_gives_its_payload_back() {
    async fn time_out(is_topic_known: bool) {
        let cluster = cluster("t", 1);
        let (producer, ledger) = producer(uncopied(&cluster).set("message.timeout.ms", "5000"));
        if is_topic_known {
            producer.topic("t").unwrap();
            producer.send(ledger.record()).await.unwrap();
        }
        cluster.broker_down(1).unwrap();
        let futures = enqueue(&producer, 500);
        for result in join_all(futures).await {
            assert_eq!(result.unwrap_err().code(), Some(Code::MessageTimedOut));
        }
        ledger.all_came_to_their_end().await;
    }
    tokio::join!(time_out(true), time_out(false));
}

#[tokio::test]
async fn a_purge_of_the_queue_gives_payloads_back() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let (producer, ledger) = producer(&uncopied(&cluster));
    let futures = enqueue(&producer, 3_000);
    assert_eq!(producer.purge(EVERYTHING()).await, 3_000);
    assert_eq!(failures(futures).await, [Code::PurgeQueue; 3_000]);
    ledger.all_came_to_their_end().await;
}

#[tokio::test]
async fn a_purge_of_requests_on_their_way_gives_payloads_back() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(&uncopied(&cluster));
    let warm_up =
        ProducerRecord::with_opaque_to("t", ledger.next(SMALL).0).payload(content(0, SMALL));
    producer.send(warm_up).await.unwrap();
    ledger.entries.lock().unwrap().clear();
    cluster.start_request_tracking();
    cluster.broker_round_trip_time(1, DEADLINE).unwrap();
    let futures = enqueue(&producer, 100);
    until(|| produce_requests(&cluster) > 0).await;
    assert_eq!(producer.purge(EVERYTHING()).await, 100);
    let codes = failures(futures).await;
    assert_eq!(codes[0], Code::PurgeInflight);
    ledger.all_came_to_their_end().await;
}

#[tokio::test]
async fn a_fatal_error_gives_payloads_back() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(
        uncopied(&cluster)
            .set("enable.idempotence", "true")
            .set("batch.num.messages", "1"),
    );
    producer.send(ledger.record()).await.unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::OutOfOrderSequenceNumber]);
    // The error comes when requests are on their way and messages in the queue.
    cluster.start_request_tracking();
    cluster.broker_round_trip_time(1, DEADLINE).unwrap();
    let futures = enqueue(&producer, 50);
    until(|| produce_requests(&cluster) > 1).await;
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    let results = join_all(futures).await;
    let codes: Vec<_> = results
        .into_iter()
        .filter_map(|result| result.err()?.code())
        .collect();
    assert_eq!(codes[0], Code::OutOfOrderSequenceNumber);
    assert_eq!(codes.last(), Some(&Code::PurgeQueue));
    ledger.all_came_to_their_end().await;

    let refusals = Arc::new(Ledger::default());
    let error = producer.try_enqueue(refusals.record()).unwrap_err();
    assert!(error.is_fatal());
    refusals.has_back(0, error.record());
    drop(error);
    assert_eq!(refusals.dropped(), 1);
}

#[tokio::test]
async fn a_message_that_the_broker_refuses_gives_its_payload_back() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(uncopied(&cluster).set("retry.backoff.ms", "5"));
    cluster.request_errors(ApiKey::Produce, &[Code::MessageSizeTooLarge]);
    let error = producer.send(ledger.record()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::MessageSizeTooLarge));
    assert!(error.record().get_payload().unwrap() == content(0, LARGE));
    cluster.request_errors(ApiKey::Produce, &[Code::MessageSizeTooLarge]);
    let error = producer.send(full(ledger.record())).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::MessageSizeTooLarge));
    // This one is read again.
    cluster.request_errors(ApiKey::Produce, &[Code::NotEnoughReplicas; 2]);
    producer.send(ledger.record()).await.unwrap();
    ledger.all_came_to_their_end().await;
    let records = cluster.records("t").await.unwrap();
    assert_eq!(records.len(), 1);
    assert!(records[0].payload() == Some(&content(2, LARGE)));
}

#[tokio::test]
async fn a_broker_that_goes_away_meanwhile_loses_no_payload() {
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(
        uncopied(&cluster)
            .set("reconnect.backoff.ms", "1")
            .set("reconnect.backoff.max.ms", "20")
            .set("retry.backoff.ms", "1"),
    );
    for _ in 0..20 {
        let futures = enqueue(&producer, 10);
        cluster.broker_down(1).unwrap();
        cluster.broker_up(1).unwrap();
        for delivery in join_all(futures).await {
            delivery.unwrap();
        }
    }
    ledger.all_came_to_their_end().await;
}

#[tokio::test]
async fn a_record_that_is_refused_has_the_very_same_payload() {
    const KBYTES: usize = 200;
    let cluster = cluster("t", 1);
    let (producer, ledger) = producer(
        uncopied(&cluster)
            .set("message.max.bytes", "100000")
            .set("queue.buffering.max.kbytes", KBYTES.to_string())
            .set("queue.buffering.max.messages", "2"),
    );
    producer.send(ledger.record()).await.unwrap();

    let refusals = Arc::new(Ledger::default());
    let wrong: [(usize, With); 6] = [
        // Refused by the produce call,
        (100_000, |record| record),
        (100_000, full),
        (LARGE, |record| record.partition(7)),
        (LARGE, |record| full(record).partition(7)),
        // and before it.
        (KBYTES * 1024 + 1, |record| record),
        (LARGE, |record| record.partition(-2)),
    ];
    for (bytes, wrong) in wrong {
        let record = || {
            let record = wrong(refusals.owned(bytes, None));
            (*record.get_opaque(), record)
        };
        let (number, refused) = record();
        refusals.has_back(number, producer.try_enqueue(refused).unwrap_err().record());
        let (number, refused) = record();
        let error = producer.try_enqueue_detached(refused).unwrap_err();
        refusals.has_back(number, error.into_owned().record());
        let (number, refused) = record();
        refusals.has_back(number, producer.send(refused).await.unwrap_err().record());
        let (number, refused) = record();
        let error = producer.enqueue_detached(refused).await.unwrap_err();
        refusals.has_back(number, error.record());
        let (number, refused) = record();
        let permit = producer.reserve().await.unwrap();
        refusals.has_back(number, permit.send(refused).await.unwrap_err().record());
        let (number, refused) = record();
        let permit = producer.reserve_owned().await.unwrap();
        refusals.has_back(number, permit.send(refused).await.unwrap_err().record());
        let (number, refused) = record();
        let permit = producer.reserve_bytes(KBYTES * 1024).await.unwrap();
        refusals.has_back(number, permit.send(refused).await.unwrap_err().record());
        // Nobody looks at this future.
        let (_, refused) = record();
        drop(producer.try_reserve().unwrap().send(refused));
    }
    let longer = refusals.record();
    let number = *longer.get_opaque();
    let permit = producer.reserve_bytes(LARGE - 1).await.unwrap();
    refusals.has_back(number, permit.send(longer).await.unwrap_err().record());

    // The queue is full; with a message in flight, the permit is not lent to those who wait.
    cluster.broker_down(1).unwrap();
    let in_flight = producer.try_enqueue(ledger.record()).unwrap();
    let permit = producer.try_reserve().unwrap();
    let waiting = refusals.record();
    let number = *waiting.get_opaque();
    let error = producer.enqueue_timeout(waiting, Duration::ZERO).await;
    refusals.has_back(number, error.unwrap_err().record());
    let cancelled = producer.send(refusals.record()).now_or_never();
    assert!(cancelled.is_none());
    let error = producer.try_enqueue(ledger.record()).unwrap_err();
    assert!(error.is_queue_full());
    ledger.has_back(2, error.record());
    drop(permit);
    cluster.broker_up(1).unwrap();
    in_flight.await.unwrap();
    producer.send(error.into_record()).await.unwrap();
    ledger.all_came_to_their_end().await;

    // All room is back.
    until(|| producer.in_flight_count() == 0).await;
    let room = producer.reserve_bytes(KBYTES * 1024).now_or_never();
    let permit = room.unwrap().unwrap();
    producer.close().await;
    let late = refusals.record();
    let number = *late.get_opaque();
    refusals.has_back(number, permit.send(late).await.unwrap_err().record());
    let late = refusals.record();
    let number = *late.get_opaque();
    refusals.has_back(number, producer.send(late).await.unwrap_err().record());

    for (number, entry) in refusals.entries().iter().enumerate() {
        assert_eq!((entry.drops, entry.reports.len()), (1, 0), "{number}");
    }
}

#[tokio::test]
async fn payloads_outlive_futures_and_handles() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let (producer, ledger) = producer(&uncopied(&cluster));
    drop(enqueue(&producer, 50));
    for _ in 0..50 {
        producer.try_enqueue_detached(ledger.record()).unwrap();
    }
    let awaited = enqueue(&producer, 50);
    drop(producer);
    assert_eq!(ledger.dropped(), 0);
    cluster.broker_up(1).unwrap();
    for delivery in join_all(awaited).await {
        delivery.unwrap();
    }
    ledger.all_came_to_their_end().await;
    arrived(&cluster, &ledger).await;
}

#[tokio::test]
async fn a_close_that_gives_up_gives_payloads_back() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let (producer, ledger) = producer(&uncopied(&cluster));
    for _ in 0..100 {
        producer.try_enqueue_detached(ledger.record()).unwrap();
    }
    let report = producer.close_timeout(Duration::ZERO).await;
    assert_eq!(report.undelivered, 100);
    // These are copies.
    assert_eq!(ledger.dropped(), 100);
    for (number, error) in report.records().iter().enumerate() {
        assert!(error.record().get_payload().unwrap() == content(number, LARGE));
    }
    ledger.all_came_to_their_end().await;
}

#[test]
fn payloads_live_on_when_the_driver_is_aborted_in_the_middle_of_an_event() {
    const MESSAGES: usize = 5_000;
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    let guard = runtime.enter();
    let (producer, ledger) = producer(&uncopied(&cluster));
    drop(guard);
    let futures = enqueue(&producer, MESSAGES);
    // A purge has them all in one event, and the driver leaves the worker in the middle of it.
    let reported = runtime.block_on(async {
        let mut purge = std::pin::pin!(producer.purge(EVERYTHING()));
        loop {
            assert!(futures::poll!(&mut purge).is_pending());
            tokio::task::yield_now().await;
            let reported = ledger.reported();
            if reported > 0 {
                break reported;
            }
        }
    });
    assert!(reported < MESSAGES, "{reported}");
    // Their futures have resolved, but the event is still there.
    assert_eq!(ledger.dropped(), 0);
    drop(runtime);
    block_on(async {
        assert_eq!(failures(futures).await, [Code::PurgeQueue; MESSAGES]);
        producer.close().await;
        assert_eq!(ledger.dropped(), MESSAGES);
        ledger.all_came_to_their_end().await;
    });
}

#[test]
fn payloads_live_on_when_the_runtime_is_shut_down_at_any_time() {
    const MESSAGES: usize = 2_000;
    // After how many reports.
    for reported in [0, 1, 600, MESSAGES] {
        let cluster = cluster("t", 1);
        cluster.broker_down(1).unwrap();
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let guard = runtime.enter();
        let (producer, ledger) = producer(&uncopied(&cluster));
        drop(guard);
        let futures = enqueue(&producer, MESSAGES);
        if reported > 0 {
            let purging = producer.clone();
            runtime.spawn(async move { purging.purge(EVERYTHING()).await });
        }
        block_on(ledger.until_reported(reported));
        runtime.shutdown_background();
        block_on(async {
            assert_eq!(failures(futures).await, [Code::PurgeQueue; MESSAGES]);
            drop(producer);
            ledger.all_came_to_their_end().await;
        });
    }
}

#[tokio::test(flavor = "current_thread")]
async fn payloads_whose_drop_panics_are_logged_and_stall_nothing() {
    let (_guard, log) = captured();
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
