//! The synchronous producer on the mock cluster, without a runtime.

mod callbacks;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use support::logs::captured;
use support::mock::{Counting, DEADLINE, blocking_until, cluster, config};
use tokio_rdkafka::{
    ApiKey, BaseProducer, ClientConfig, ClientContext, DeliveryResult, OwnedMessage, Persistence,
    ProducerContext, ProducerRecord, PurgeConfig, RDKafkaErrorCode,
};
use tracing::Level;

/// Polls until the condition holds.
fn poll_until<C: ProducerContext>(producer: &BaseProducer<C>, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "the condition never came");
        producer.poll(Duration::from_millis(100));
    }
}

/// A configuration that nothing listens at.
fn unreachable() -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", "127.0.0.1:1")
        .set_log_level(tokio_rdkafka::RDKafkaLogLevel::Emerg);
    config
}

#[test]
fn the_eleventh_of_ten_is_refused_and_goes_after_a_poll() {
    let cluster = cluster("t", 1);
    let producer: BaseProducer<Counting> = config(&cluster)
        .set("queue.buffering.max.messages", "10")
        .create_with_context(Counting::default())
        .unwrap();
    for index in 0..10 {
        producer
            .send(ProducerRecord::with_opaque_to("t", index).payload("v"))
            .unwrap();
    }
    let record = ProducerRecord::with_opaque_to("t", 10)
        .key("k")
        .payload("eleventh");
    let error = producer.send(record).unwrap_err();
    assert!(error.is_queue_full());
    assert_eq!(error.code(), Some(RDKafkaErrorCode::QueueFull));
    let record = error.into_record();
    assert_eq!(record.get_opaque(), &10);
    assert_eq!(
        (record.get_key(), record.get_payload()),
        (Some(&b"k"[..]), Some(&b"eleventh"[..]))
    );
    assert_eq!(producer.in_flight_count(), 10);

    assert!(producer.poll(DEADLINE) > 0);
    producer.send(record).unwrap();
    producer.flush(DEADLINE).unwrap();
    assert_eq!(producer.context().seen(), (0..=10).collect::<Vec<_>>());
    assert_eq!(producer.in_flight_count(), 0);
    assert_eq!(block_on(cluster.records("t")).unwrap().len(), 11);
}

/// Whoever polls and sends again while the queue is full must not do so forever.
#[test]
fn a_payload_that_can_never_fit_is_too_large() {
    let cluster = cluster("t", 1);
    let producer: BaseProducer = config(&cluster)
        .set("queue.buffering.max.kbytes", "1")
        .create()
        .unwrap();
    let record = |bytes| ProducerRecord::to("t").payload(vec![0; bytes]);
    let error = producer.send(record(1_025)).unwrap_err();
    assert!(!error.is_queue_full());
    assert_eq!(error.code(), Some(RDKafkaErrorCode::MessageSizeTooLarge));
    let text = error.to_string();
    assert!(
        text.contains("queue.buffering.max.kbytes allows 1024 bytes"),
        "{text}"
    );
    assert_eq!(
        error.into_record().get_payload().map(<[u8]>::len),
        Some(1_025)
    );
    assert_eq!(producer.in_flight_count(), 0);
    producer.send(record(1_024)).unwrap();
    producer.flush(DEADLINE).unwrap();
}

#[test]
fn poll_returns_once_it_has_served() {
    let cluster = cluster("t", 1);
    let producer: BaseProducer = config(&cluster).create().unwrap();
    assert_eq!(producer.poll(Duration::ZERO), 0);
    let started = Instant::now();
    producer.send(ProducerRecord::to("t").payload("v")).unwrap();
    assert_eq!(producer.poll(DEADLINE), 1);
    producer.send(ProducerRecord::to("t").payload("v")).unwrap();
    assert_eq!(producer.poll(Duration::MAX), 1);
    assert!(started.elapsed() < DEADLINE / 2);
}

#[test]
fn flush_does_not_wait_for_linger() {
    let cluster = cluster("t", 1);
    let producer: BaseProducer = config(&cluster).set("linger.ms", "60000").create().unwrap();
    let started = Instant::now();
    for _ in 0..10 {
        producer.send(ProducerRecord::to("t").payload("v")).unwrap();
    }
    producer.flush(Duration::MAX).unwrap();
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(producer.in_flight_count(), 0);
}

#[test]
fn flush_ends_at_its_time_where_nobody_answers() {
    let producer: BaseProducer = unreachable().create().unwrap();
    producer.send(ProducerRecord::to("t")).unwrap();
    let error = producer.flush(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::OperationTimedOut));
    assert!(
        error.is_timed_out() && error.to_string().contains("1 messages"),
        "{error}"
    );
}

#[test]
fn purged_messages_fail_once_each() {
    let producer: BaseProducer<Counting> = unreachable()
        .create_with_context(Counting::default())
        .unwrap();
    for index in 0..100 {
        producer
            .send(ProducerRecord::with_opaque_to("t", index))
            .unwrap();
    }
    producer.purge(PurgeConfig::default().queue().inflight());
    poll_until(&producer, || producer.in_flight_count() == 0);
    assert_eq!(producer.context().seen(), (0..100).collect::<Vec<_>>());
    assert_eq!(producer.context().failed(), 100);
}

/// Callbacks are slower than what comes to be called back.
#[test]
fn flush_keeps_its_time_while_others_send() {
    struct Slow;
    impl ClientContext for Slow {}
    impl ProducerContext for Slow {
        type DeliveryOpaque = ();
        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let cluster = cluster("t", 1);
    let producer: BaseProducer<Slow> = config(&cluster).create_with_context(Slow).unwrap();
    let started = Instant::now();
    let is_flushed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_flushed.load(Ordering::SeqCst) && started.elapsed() < DEADLINE {
                if producer.in_flight_count() < 1_000 {
                    producer.send(ProducerRecord::to("t")).unwrap();
                }
            }
        });
        blocking_until(|| producer.in_flight_count() == 1_000);
        let error = producer.flush(Duration::from_millis(300)).unwrap_err();
        assert!(error.is_timed_out());
        is_flushed.store(true, Ordering::SeqCst);
        assert!(started.elapsed() < DEADLINE);
    });
}

#[test]
fn log_lines_do_not_end_a_poll() {
    let cluster = cluster("t", 1);
    let producer: BaseProducer = config(&cluster).set("debug", "all").create().unwrap();
    let time = Duration::from_millis(500);
    let started = Instant::now();
    if producer.poll(time) == 0 {
        assert!(started.elapsed() >= time);
    }
}

#[test]
fn a_drop_runs_every_callback_once() {
    let context = Arc::new(Counting::default());
    let producer: BaseProducer<Arc<Counting>> = unreachable()
        .create_with_context(Arc::clone(&context))
        .unwrap();
    for index in 0..1_000 {
        producer
            .send(ProducerRecord::with_opaque_to("t", index))
            .unwrap();
    }
    drop(producer);
    let mut seen = context.seen();
    seen.sort_unstable();
    assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
    assert_eq!(context.failed(), 1_000);
}

#[test]
fn a_message_times_out() {
    let context = Failures::default();
    let producer: BaseProducer<Failures> = unreachable()
        .set("message.timeout.ms", "10")
        .create_with_context(context)
        .unwrap();
    producer
        .send(ProducerRecord::to("t").key("k").payload("v"))
        .unwrap();
    poll_until(&producer, || producer.in_flight_count() == 0);
    let failures = producer.context().0.lock().unwrap();
    let (code, persistence, message) = &failures[0];
    assert_eq!(*code, RDKafkaErrorCode::MessageTimedOut);
    assert_eq!(*persistence, Persistence::NotPersisted);
    assert_eq!((message.topic(), message.offset()), ("t", None));
    assert_eq!(
        (message.key(), message.payload()),
        (Some(&b"k"[..]), Some(&b"v"[..]))
    );
}

/// Keeps copies of what failed.
#[derive(Default)]
struct Failures(std::sync::Mutex<Vec<(RDKafkaErrorCode, Persistence, OwnedMessage)>>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err(error) = result {
            let failure = (error.code(), error.persistence(), error.detach());
            self.0.lock().unwrap().push(failure);
        }
    }
}

#[test]
fn a_panicking_callback_stalls_nothing() {
    struct Panicking;
    impl ClientContext for Panicking {}
    impl ProducerContext for Panicking {
        type DeliveryOpaque = bool;
        fn delivery(&self, _: &DeliveryResult<'_>, panics: bool) {
            assert!(!panics, "as asked");
        }
    }
    let cluster = cluster("t", 1);
    let producer: BaseProducer<Panicking> =
        config(&cluster).create_with_context(Panicking).unwrap();
    producer
        .send(ProducerRecord::with_opaque_to("t", true))
        .unwrap();
    for _ in 0..1_000 {
        producer
            .send(ProducerRecord::with_opaque_to("t", false))
            .unwrap();
    }
    producer.flush(DEADLINE).unwrap();
    assert_eq!(producer.callback_panics(), 1);
    assert_eq!(block_on(cluster.records("t")).unwrap().len(), 1_001);
}

#[test]
fn threads_share_it() {
    let cluster = cluster("t", 1);
    let producer: BaseProducer = config(&cluster).create().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    producer.send(ProducerRecord::to("t").payload("v")).unwrap();
                    producer.poll(Duration::ZERO);
                }
            });
        }
    });
    producer.flush(DEADLINE).unwrap();
    assert_eq!(block_on(cluster.records("t")).unwrap().len(), 1_000);
}

#[test]
fn it_takes_a_transactional_id() {
    let cluster = cluster("t", 1);
    let producer: BaseProducer = config(&cluster)
        .set("transactional.id", "tx")
        .create()
        .unwrap();
    // Outside of a transaction librdkafka refuses.
    let error = producer.send(ProducerRecord::to("t")).unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::State));
}

/// The default context ignores deliveries.
#[test]
fn failures_are_logged_and_so_is_a_drop_with_messages_in_flight() {
    let cluster = cluster("t", 1);
    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::InvalidRecord; 10]);
    let (_guard, log) = captured(Level::WARN);
    let producer: BaseProducer = config(&cluster)
        .set("batch.num.messages", "1")
        .set("max.in.flight", "1")
        .create()
        .unwrap();
    for _ in 0..10 {
        producer
            .send(ProducerRecord::to("t").payload("the-payload"))
            .unwrap();
    }
    poll_until(&producer, || producer.in_flight_count() == 0);
    let records = |number: u32| format!("records={number} topic=\"t\" code=\"INVALID_RECORD\"");
    assert!(log().contains(&records(1)), "{}", log());
    drop(producer);
    assert!(log().contains(&records(9)), "{}", log());
    assert!(!log().contains("in flight"), "{}", log());

    let producer: BaseProducer = config(&cluster).set("linger.ms", "60000").create().unwrap();
    producer
        .send(ProducerRecord::to("t").payload("the-payload"))
        .unwrap();
    drop(producer);
    let log = log();
    assert!(log.contains("dropped with messages in flight"), "{log}");
    assert!(log.contains("records were purged"), "{log}");
    assert!(!log.contains("the-payload"), "{log}");
}
