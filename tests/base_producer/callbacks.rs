//! Callbacks, and drops of what a user gave, that call the producer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use tokio_rdkafka::{
    BaseProducer, ClientConfig, ClientContext, DeliveryResult, KafkaError, ProducerContext,
    ProducerRecord, RDKafkaErrorCode, RDKafkaLogLevel,
};

use super::poll_until;
use crate::support::mock::{DEADLINE, blocking_until, cluster, config, produce_requests};

/// Polls in each of its callbacks, and counts them and how deep they are.
#[derive(Default)]
struct Polling {
    producer: OnceLock<Weak<BaseProducer<Arc<Polling>>>>,
    counts: [AtomicUsize; 5],
    depth: AtomicUsize,
}

impl Polling {
    const DELIVERY: usize = 0;
    const ERROR: usize = 1;
    const STATS: usize = 2;
    const LOG: usize = 3;
    const DROP: usize = 4;

    fn poll(&self, callback: usize) {
        let depth = self.depth.fetch_add(1, Ordering::SeqCst);
        self.counts[callback].fetch_add(1, Ordering::SeqCst);
        if let Some(producer) = self.producer.get().and_then(Weak::upgrade) {
            // A stack that overflows ends all tests.
            assert_eq!(depth, 0);
            assert_eq!(producer.poll(Duration::ZERO), 0);
            assert_eq!(producer.poll(Duration::MAX), 0);
            let error = producer.flush(Duration::MAX).unwrap_err();
            assert_eq!(error.code(), Some(RDKafkaErrorCode::State));
        }
        self.depth.fetch_sub(1, Ordering::SeqCst);
    }

    fn count(&self, callback: usize) -> usize {
        self.counts[callback].load(Ordering::SeqCst)
    }
}

/// An opaque whose drop polls.
struct PollingOpaque(Option<Arc<Polling>>);

impl Drop for PollingOpaque {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.poll(Polling::DROP);
        }
    }
}

impl ClientContext for Polling {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {
        self.poll(Self::LOG);
    }
    fn error(&self, _: &KafkaError) {
        self.poll(Self::ERROR);
    }
    fn stats(&self, _: &str) {
        self.poll(Self::STATS);
    }
}

impl ProducerContext for Polling {
    type DeliveryOpaque = PollingOpaque;
    fn delivery(&self, _: &DeliveryResult<'_>, _: PollingOpaque) {
        self.poll(Self::DELIVERY);
    }
}

fn polling(config: &ClientConfig) -> (Arc<BaseProducer<Arc<Polling>>>, Arc<Polling>) {
    let context = Arc::new(Polling::default());
    let producer = config.create_with_context(Arc::clone(&context)).unwrap();
    let producer = Arc::new(producer);
    assert!(context.producer.set(Arc::downgrade(&producer)).is_ok());
    (producer, context)
}

fn record(opaque: PollingOpaque) -> ProducerRecord<'static, PollingOpaque> {
    ProducerRecord::with_opaque_to("t", opaque).payload("v")
}

#[test]
fn callbacks_that_poll_do_not_nest() {
    const MESSAGES: usize = 100_000;
    const PER_REQUEST: usize = 50;
    let cluster = cluster("t", 1);
    cluster.start_request_tracking();
    let (producer, context) = polling(
        config(&cluster)
            .set("queue.buffering.max.messages", "0")
            .set("batch.num.messages", PER_REQUEST.to_string())
            .set("linger.ms", "1000"),
    );
    for _ in 0..MESSAGES {
        producer.send(record(PollingOpaque(None))).unwrap();
    }
    // Each request is an event of its own.
    blocking_until(|| produce_requests(&cluster) >= MESSAGES / PER_REQUEST);
    producer.flush(DEADLINE).unwrap();
    assert_eq!(context.count(Polling::DELIVERY), MESSAGES);
    assert_eq!(producer.callback_panics(), 0);
}

#[test]
fn no_callback_serves_the_events_of_others() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let (producer, context) = polling(
        config(&cluster)
            .set("statistics.interval.ms", "10")
            .set("reconnect.backoff.ms", "5")
            .set("reconnect.backoff.max.ms", "50")
            .set("debug", "broker"),
    );
    let kinds = [Polling::ERROR, Polling::STATS, Polling::LOG];
    poll_until(&producer, || kinds.iter().all(|&it| context.count(it) > 2));
    cluster.broker_up(1).unwrap();
    for _ in 0..100 {
        let opaque = PollingOpaque(Some(Arc::clone(&context)));
        producer.send(record(opaque)).unwrap();
    }
    producer.flush(DEADLINE).unwrap();
    assert_eq!(context.count(Polling::DELIVERY), 100);
    assert_eq!(context.count(Polling::DROP), 100);
    assert_eq!(producer.callback_panics(), 0);
    // The drop of the producer serves what is left, also if callbacks poll.
    cluster.broker_down(1).unwrap();
    producer.send(record(PollingOpaque(None))).unwrap();
    drop(producer);
    assert_eq!(context.count(Polling::DELIVERY), 101);
}

/// The record is copied, so its payload is dropped in the call.
#[test]
fn the_drop_of_a_payload_may_end_the_transaction() {
    struct Aborting(Arc<BaseProducer>, Arc<AtomicUsize>);
    impl AsRef<[u8]> for Aborting {
        fn as_ref(&self) -> &[u8] {
            b"v"
        }
    }
    impl Drop for Aborting {
        fn drop(&mut self) {
            let aborted = self.0.abort_transaction(DEADLINE);
            self.1
                .fetch_add(usize::from(aborted.is_ok()), Ordering::SeqCst);
        }
    }
    let cluster = cluster("t", 1);
    let producer: BaseProducer = config(&cluster)
        .set("transactional.id", "tx")
        .create()
        .unwrap();
    let (producer, aborted) = (Arc::new(producer), Arc::default());
    producer.init_transactions(DEADLINE).unwrap();
    producer.begin_transaction().unwrap();
    let owner = Aborting(Arc::clone(&producer), Arc::clone(&aborted));
    let record = ProducerRecord::to("t").payload(Bytes::from_owner(owner));
    producer.send(record).unwrap();
    assert_eq!(aborted.load(Ordering::SeqCst), 1);
    producer.begin_transaction().unwrap();
    producer.send(ProducerRecord::to("t").payload("v")).unwrap();
    producer.commit_transaction(DEADLINE).unwrap();
    assert!(!block_on(cluster.records("t")).unwrap().is_empty());
}
