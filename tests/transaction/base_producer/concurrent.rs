//! Calls from callbacks, and beside other threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio_rdkafka::{
    ApiKey, BaseProducer, ClientContext, ConsumerGroupMetadata, DeliveryResult, KafkaError,
    ProducerContext, ProducerRecord, RDKafkaErrorCode as Code, TopicPartitionOffset,
};

use super::{SHORT, counting, plain_error, requests, send, setting, transactional};
use crate::support::mock::{DEADLINE, blocking_until, cluster, config};

/// Calls back into its producer, and keeps their results.
#[derive(Default)]
struct Reentrant {
    producer: OnceLock<Weak<BaseProducer<Reentrant>>>,
    results: Mutex<Vec<(&'static str, Result<(), KafkaError>)>>,
    reports: AtomicUsize,
}

impl ClientContext for Reentrant {}

impl ProducerContext for Reentrant {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        self.reports.fetch_add(1, Ordering::SeqCst);
        let producer = self.producer.get().unwrap().upgrade().unwrap();
        // It serves nothing here.
        assert_eq!(producer.poll(Duration::MAX), 0);
        let results = [
            (
                "commit_transaction",
                producer.commit_transaction(Duration::MAX),
            ),
            (
                "abort_transaction",
                producer.abort_transaction(Duration::MAX),
            ),
            ("flush", producer.flush(Duration::MAX)),
        ];
        self.results.lock().unwrap().extend(results);
    }
}

#[test]
fn in_a_delivery_callback_nothing_waits_for_that_delivery() {
    let cluster = cluster("t", 4);
    let producer: BaseProducer<Reentrant> = transactional(&cluster)
        .set("batch.num.messages", "1")
        .create_with_context(Reentrant::default())
        .unwrap();
    let producer = Arc::new(producer);
    let context = Arc::clone(producer.context());
    context.producer.set(Arc::downgrade(&producer)).unwrap();
    producer.init_transactions(DEADLINE).unwrap();

    // In a commit, in a poll, and in an abort.
    for round in 1..=3 {
        producer.begin_transaction().unwrap();
        for _ in 0..20 {
            producer.send(ProducerRecord::to("t").payload("v")).unwrap();
        }
        if round == 2 {
            while context.reports.load(Ordering::SeqCst) < 20 * round {
                producer.poll(DEADLINE);
            }
        }
        if round == 3 {
            producer.abort_transaction(DEADLINE).unwrap();
        } else {
            producer.commit_transaction(DEADLINE).unwrap();
        }
        assert_eq!(context.reports.load(Ordering::SeqCst), 20 * round);
    }
    let results = std::mem::take(&mut *context.results.lock().unwrap());
    assert_eq!(results.len(), 3 * 60);
    for (call, result) in results {
        let error = plain_error(result, Code::State, false);
        let text = error.to_string();
        assert!(
            text.starts_with(call) && text.contains("called from a callback"),
            "{text}"
        );
    }
    assert_eq!(producer.callback_panics(), 0);
}

#[test]
fn a_callback_may_commit_another_producers_transaction() {
    /// Commits the other producer's transaction.
    struct Committing(BaseProducer);
    impl ClientContext for Committing {}
    impl ProducerContext for Committing {
        type DeliveryOpaque = ();
        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
            self.0.commit_transaction(DEADLINE).unwrap();
        }
    }
    let cluster = cluster("t", 1);
    let other: BaseProducer = transactional(&cluster).create().unwrap();
    other.init_transactions(DEADLINE).unwrap();
    other.begin_transaction().unwrap();
    other.send(ProducerRecord::to("t")).unwrap();
    let producer: BaseProducer<Committing> = config(&cluster)
        .create_with_context(Committing(other))
        .unwrap();
    producer.send(ProducerRecord::to("t")).unwrap();
    producer.flush(DEADLINE).unwrap();
    assert_eq!(producer.callback_panics(), 0);
    assert_eq!(producer.context().0.in_flight_count(), 0);
}

#[test]
fn calls_of_another_thread_are_refused_while_one_is_under_way() {
    let (cluster, producer) = setting();
    cluster.start_request_tracking();
    send(&producer, 0..10);
    producer.flush(DEADLINE).unwrap();
    // The answer to the end of the transaction comes when all have been refused.
    cluster.broker_round_trip_time(1, DEADLINE).unwrap();
    thread::scope(|scope| {
        let commit = scope.spawn(|| producer.commit_transaction(DEADLINE));
        blocking_until(|| requests(&cluster, ApiKey::EndTxn) == 1);
        let offsets = [TopicPartitionOffset::new("in", 0, 1)];
        let group = ConsumerGroupMetadata::new("g");
        for (result, code) in [
            (
                producer.commit_transaction(DEADLINE),
                Code::PreviousInProgress,
            ),
            (
                producer.abort_transaction(DEADLINE),
                Code::PreviousInProgress,
            ),
            (producer.begin_transaction(), Code::Conflict),
            (producer.init_transactions(DEADLINE), Code::Conflict),
            (
                producer.send_offsets_to_transaction(&offsets, &group, DEADLINE),
                Code::Conflict,
            ),
        ] {
            plain_error(result, code, true);
        }
        let record = ProducerRecord::with_opaque_to("t", 7);
        let refused = producer.send(record).unwrap_err();
        assert_eq!(refused.code(), Some(Code::State));
        assert_eq!(refused.into_record().get_opaque(), &7);
        assert!(!commit.is_finished());
        cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
        commit.join().unwrap().unwrap();
    });
    assert_eq!(requests(&cluster, ApiKey::EndTxn), 1);
    producer.begin_transaction().unwrap();
}

/// Ends the other threads also where this one panics.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What another thread sends is in the transaction that is being committed, or refused: never in
/// the next. Without the gate one slips past every few thousand commits.
#[test]
fn no_record_of_another_thread_slips_past_a_commit() {
    const SENDERS: usize = 3;
    let cluster = cluster("t", 1);
    let producer = counting(&transactional(&cluster));
    producer.init_transactions(DEADLINE).unwrap();
    let accepted = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetAtEnd(&is_over);
        for _ in 0..SENDERS {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    match producer.send(ProducerRecord::with_opaque_to("t", 0)) {
                        Ok(()) => {
                            accepted.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => {
                            let refused = error.code() == Some(Code::State);
                            assert!(refused || error.is_queue_full(), "{error:?}");
                            thread::yield_now();
                        }
                    }
                }
            });
        }
        let started = Instant::now();
        for round in 0..2_000 {
            // Enough on a machine that is slow, or under valgrind.
            if round >= 10 && started.elapsed() > Duration::from_secs(5) {
                break;
            }
            let before = accepted.load(Ordering::SeqCst);
            producer.begin_transaction().unwrap();
            blocking_until(|| accepted.load(Ordering::SeqCst) > before);
            producer.commit_transaction(DEADLINE).unwrap();
            // Those that are refused count for a moment; nothing would end one that has slipped
            // past.
            blocking_until(|| producer.in_flight_count() == 0);
        }
    });
    assert_eq!(
        producer.context().seen().len(),
        accepted.load(Ordering::SeqCst)
    );
    assert_eq!(producer.context().failed(), 0);
}

/// Another thread polls, and may take the interrupt.
#[test]
fn calls_end_also_where_another_thread_polls() {
    let cluster = cluster("t", 1);
    let producer = counting(&transactional(&cluster));
    producer.init_transactions(DEADLINE).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetAtEnd(&is_over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    producer.poll(Duration::from_millis(100));
                }
            });
        }
        for round in 0..10 {
            producer.begin_transaction().unwrap();
            send(&producer, 0..100);
            producer.commit_transaction(DEADLINE).unwrap();
            assert_eq!(producer.in_flight_count(), 0);
            assert_eq!(producer.context().seen().len(), (round + 1) * 100);
        }
    });
}

/// Log lines, errors and statistics are served while a call waits.
#[test]
fn a_call_that_waits_serves_other_events_too() {
    #[derive(Default)]
    struct Events(Mutex<BTreeMap<&'static str, usize>>);
    impl Events {
        fn count(&self, kind: &'static str) {
            *self.0.lock().unwrap().entry(kind).or_default() += 1;
        }
    }
    impl ClientContext for Events {
        fn stats(&self, _: &str) {
            self.count("stats");
        }
        fn error(&self, _: &KafkaError) {
            self.count("error");
        }
    }
    impl ProducerContext for Events {
        type DeliveryOpaque = ();
        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
    }
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: BaseProducer<Events> = transactional(&cluster)
        .set("statistics.interval.ms", "10")
        .create_with_context(Events::default())
        .unwrap();
    let started = Instant::now();
    loop {
        let error = producer.init_transactions(SHORT).unwrap_err();
        assert!(error.is_retriable(), "{error:?}");
        let events = producer.context().0.lock().unwrap();
        if events.contains_key("stats") && events.contains_key("error") {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "{events:?}");
    }
}
