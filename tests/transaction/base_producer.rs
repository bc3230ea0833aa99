//! Transactions of the synchronous producer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use tokio_rdkafka::{
    ApiKey, BaseProducer, ClientConfig, ClientContext, ConsumerGroupMetadata, DeliveryResult,
    KafkaError, MockCluster, MockCoordinator, ProducerContext, ProducerRecord,
    RDKafkaErrorCode as Code, TopicPartitionOffset,
};

use crate::support::mock::{Counting, DEADLINE, blocking_until, cluster, config};

/// Long enough for a call to come to where it waits, and well below any test's patience.
const SHORT: Duration = Duration::from_millis(300);

fn transactional(cluster: &MockCluster) -> ClientConfig {
    let mut config = config(cluster);
    config.set("transactional.id", "tx");
    config
}

fn counting(config: &ClientConfig) -> BaseProducer<Counting> {
    config.create_with_context(Counting::default()).unwrap()
}

/// A cluster with a topic, and a producer in a transaction.
fn setting() -> (MockCluster, BaseProducer<Counting>) {
    let cluster = cluster("t", 1);
    let producer = begun(&transactional(&cluster));
    (cluster, producer)
}

/// The answer to the end of a transaction takes long.
fn delay_end(cluster: &MockCluster) {
    let delay = [(Code::NoError, Some(Duration::from_secs(3)))];
    cluster
        .broker_request_errors(1, ApiKey::EndTxn, &delay)
        .unwrap();
}

/// A transaction of a record.
fn assert_works(producer: &BaseProducer<Counting>) {
    producer.begin_transaction().unwrap();
    send(producer, 0..1);
    producer.commit_transaction(DEADLINE).unwrap();
}

/// A call of this time-out came too early, and is to be made again.
#[track_caller]
fn assert_timed_out(result: Result<(), KafkaError>) -> KafkaError {
    plain_error(result, Code::OperationTimedOut, true)
}

/// A producer in a transaction.
fn begun(config: &ClientConfig) -> BaseProducer<Counting> {
    let producer = counting(config);
    producer.init_transactions(DEADLINE).unwrap();
    producer.begin_transaction().unwrap();
    producer
}

fn send(producer: &BaseProducer<Counting>, opaques: std::ops::Range<usize>) {
    for opaque in opaques {
        let record = ProducerRecord::with_opaque_to("t", opaque).payload(opaque.to_string());
        producer.send(record).unwrap();
    }
}

fn requests(cluster: &MockCluster, api_key: ApiKey) -> usize {
    let requests = cluster.requests();
    let of_kind = requests
        .iter()
        .filter(|request| request.api_key() == api_key);
    of_kind.count()
}

/// The error, which is neither fatal nor one that requires an abort.
#[track_caller]
fn plain_error(result: Result<(), KafkaError>, code: Code, is_retriable: bool) -> KafkaError {
    let error = result.unwrap_err();
    assert_eq!(error.code(), Some(code), "{error}");
    assert!(!error.is_fatal() && !error.requires_abort(), "{error:?}");
    assert_eq!(error.is_retriable(), is_retriable, "{error:?}");
    error
}

#[track_caller]
fn assert_requires_abort(error: &KafkaError, code: Code) {
    assert_eq!(error.code(), Some(code), "{error}");
    assert!(error.requires_abort(), "{error:?}");
    assert!(!error.is_fatal() && !error.is_retriable(), "{error:?}");
}

#[track_caller]
fn assert_fenced(error: &KafkaError) {
    assert_eq!(error.code(), Some(Code::Fenced), "{error}");
    assert!(error.is_fatal() && error.is_fenced(), "{error:?}");
    assert!(
        !error.requires_abort() && !error.is_retriable(),
        "{error:?}"
    );
}

#[test]
fn a_commit_alone_delivers_everything_and_runs_every_callback() {
    let cluster = cluster("t", 4);
    cluster.start_request_tracking();
    // Nothing would be sent before the commit.
    let producer = begun(transactional(&cluster).set("linger.ms", "50000"));
    for round in 0..3 {
        if round > 0 {
            producer.begin_transaction().unwrap();
        }
        send(&producer, round * 10_000..(round + 1) * 10_000);
        producer.commit_transaction(Duration::MAX).unwrap();
        assert_eq!(producer.in_flight_count(), 0);
        assert_eq!(producer.context().seen().len(), (round + 1) * 10_000);
        assert_eq!(requests(&cluster, ApiKey::EndTxn), round + 1);
    }
    let mut seen = producer.context().seen();
    seen.sort_unstable();
    assert_eq!(seen, (0..30_000).collect::<Vec<_>>());
    assert_eq!(producer.context().failed(), 0);
    assert_eq!(block_on(cluster.records("t")).unwrap().len(), 30_000);
}

#[test]
fn an_abort_alone_runs_every_callback() {
    let cluster = cluster("t", 1);
    let producer = begun(transactional(&cluster).set("linger.ms", "50000"));
    send(&producer, 0..1_000);
    producer.abort_transaction(Duration::MAX).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
    let mut seen = producer.context().seen();
    seen.sort_unstable();
    assert_eq!(seen, (0..1_000).collect::<Vec<_>>());

    let failed = producer.context().failed();
    assert_works(&producer);
    assert_eq!(producer.context().failed(), failed);
    let delivered = 1_001 - failed;
    assert_eq!(block_on(cluster.records("t")).unwrap().len(), delivered);
}

#[test]
fn an_abort_gives_up_what_cannot_be_sent() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    let id = MockCoordinator::Transaction("tx".to_owned());
    cluster.coordinator(id, 2).unwrap();
    let producer = begun(&transactional(&cluster));
    cluster.broker_down(1).unwrap();
    send(&producer, 0..1_000);
    // It goes on delivering for a quarter of its time.
    producer.abort_transaction(Duration::from_secs(8)).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
    assert_eq!(producer.context().seen().len(), 1_000);
    assert_eq!(producer.context().failed(), 1_000);
}

/// The coordinator is not done with the transaction before: real ones take an abort that comes meanwhile
/// for one out of turn, which is fatal.
#[test]
fn an_abort_waits_until_the_coordinator_has_taken_the_transaction() {
    let (cluster, producer) = setting();
    // Asked again after 20 ms each.
    let busy = [Code::ConcurrentTransactions; 150];
    cluster.request_errors(ApiKey::AddPartitionsToTxn, &busy);
    cluster.start_request_tracking();
    send(&producer, 0..10);
    producer.abort_transaction(DEADLINE).unwrap();
    assert_eq!(producer.context().failed(), 0);
    assert_eq!(
        requests(&cluster, ApiKey::AddPartitionsToTxn),
        busy.len() + 1
    );
    assert_eq!(requests(&cluster, ApiKey::EndTxn), 1);
}

#[test]
fn an_empty_transaction_asks_no_broker() {
    let (cluster, producer) = setting();
    cluster.start_request_tracking();
    producer.commit_transaction(DEADLINE).unwrap();
    producer.begin_transaction().unwrap();
    producer.abort_transaction(DEADLINE).unwrap();
    assert_eq!(requests(&cluster, ApiKey::EndTxn), 0);
}

#[test]
fn calls_out_of_order_are_told_so() {
    let cluster = cluster("t", 1);
    let producer = counting(&transactional(&cluster));
    let group = ConsumerGroupMetadata::new("g");
    let offsets = [TopicPartitionOffset::new("in", 0, 1)];
    let outside = |state: &str| {
        for (call, result) in [
            ("commit_transaction", producer.commit_transaction(DEADLINE)),
            ("abort_transaction", producer.abort_transaction(DEADLINE)),
            (
                "send_offsets_to_transaction",
                producer.send_offsets_to_transaction(&offsets, &group, DEADLINE),
            ),
        ] {
            let text = plain_error(result, Code::State, false).to_string();
            assert!(text.starts_with(call) && text.contains(state), "{text}");
        }
        let error = producer
            .send(ProducerRecord::with_opaque_to("t", 0))
            .unwrap_err();
        assert_eq!(error.code(), Some(Code::State));
        assert!(!error.is_fatal() && !error.requires_abort() && !error.is_retriable());
        assert_eq!(producer.in_flight_count(), 0);
    };

    let error = plain_error(producer.begin_transaction(), Code::State, false);
    let text = error.to_string();
    assert!(
        text.starts_with("begin_transaction") && text.contains("Init"),
        "{text}"
    );
    outside("Init");

    producer.init_transactions(DEADLINE).unwrap();
    plain_error(producer.init_transactions(DEADLINE), Code::State, false);
    outside("Ready");

    producer.begin_transaction().unwrap();
    plain_error(producer.begin_transaction(), Code::State, false);
    plain_error(producer.init_transactions(DEADLINE), Code::State, false);
    send(&producer, 0..1);
    producer.commit_transaction(DEADLINE).unwrap();
    outside("Ready");
}

#[test]
fn without_a_transactional_id_each_call_names_it() {
    let cluster = cluster("t", 1);
    let producer = counting(&config(&cluster));
    let group = ConsumerGroupMetadata::new("g");
    let offsets = [TopicPartitionOffset::new("in", 0, 1)];
    for result in [
        producer.init_transactions(DEADLINE),
        producer.begin_transaction(),
        producer.send_offsets_to_transaction(&offsets, &group, DEADLINE),
        producer.commit_transaction(DEADLINE),
        producer.abort_transaction(DEADLINE),
    ] {
        let error = plain_error(result, Code::NotConfigured, false);
        assert!(error.to_string().contains("transactional.id"), "{error}");
    }
}

#[test]
fn properties_in_conflict_are_named() {
    let cluster = cluster("t", 1);
    for (property, value) in [
        ("enable.idempotence", "false"),
        ("acks", "1"),
        ("max.in.flight", "6"),
        ("retries", "0"),
        ("queuing.strategy", "lifo"),
        ("message.timeout.ms", "60001"),
        ("socket.timeout.ms", "61000"),
        ("linger.ms", "60000"),
    ] {
        let created = transactional(&cluster)
            .set(property, value)
            .create::<BaseProducer>();
        let error = created.unwrap_err();
        assert_eq!(error.code(), Some(Code::InvalidArgument));
        let named = error.field().expect("a property");
        assert!(
            named == property || named == "transactional.id",
            "{property}: {error}"
        );
        assert!(error.to_string().contains(property), "{error}");
    }
}

#[test]
fn a_coordinator_that_moves_or_is_busy_is_asked_again() {
    let cluster = cluster("t", 1);
    cluster.create_topic("in", 1, 1).unwrap();
    let producer = counting(&transactional(&cluster));
    cluster.request_errors(
        ApiKey::FindCoordinator,
        &[Code::CoordinatorNotAvailable, Code::NoError],
    );
    cluster.request_errors(
        ApiKey::InitProducerId,
        &[
            Code::CoordinatorLoadInProgress,
            Code::NotCoordinator,
            Code::ConcurrentTransactions,
        ],
    );
    producer.init_transactions(DEADLINE).unwrap();

    cluster.request_errors(
        ApiKey::AddPartitionsToTxn,
        &[Code::ConcurrentTransactions, Code::NotCoordinator],
    );
    cluster.request_errors(
        ApiKey::AddOffsetsToTxn,
        &[Code::CoordinatorNotAvailable, Code::ConcurrentTransactions],
    );
    cluster.request_errors(ApiKey::TxnOffsetCommit, &[Code::CoordinatorLoadInProgress]);
    cluster.request_errors(
        ApiKey::EndTxn,
        &[
            Code::CoordinatorNotAvailable,
            Code::NotCoordinator,
            Code::CoordinatorLoadInProgress,
            Code::ConcurrentTransactions,
            Code::BrokerTransportFailure,
        ],
    );
    producer.begin_transaction().unwrap();
    send(&producer, 0..100);
    let offsets = [TopicPartitionOffset::new("in", 0, 1)];
    producer
        .send_offsets_to_transaction(&offsets, &ConsumerGroupMetadata::new("g"), DEADLINE)
        .unwrap();
    producer.commit_transaction(DEADLINE).unwrap();
    assert_eq!(producer.context().failed(), 0);
    assert_eq!(block_on(cluster.records("t")).unwrap().len(), 100);
}

/// How a transaction comes to fail, and with which code.
fn assert_is_aborted_and_done_again(
    api_key: ApiKey,
    injected: Code,
    code: Code,
    work: impl Fn(&BaseProducer<Counting>) -> Result<(), KafkaError>,
) {
    let cluster = cluster("t", 1);
    cluster.create_topic("in", 1, 1).unwrap();
    let producer = begun(&transactional(&cluster));
    cluster.request_errors(api_key, &[injected]);
    let commit = || producer.commit_transaction(DEADLINE);
    let error = work(&producer).and_then(|()| commit()).unwrap_err();
    assert_requires_abort(&error, code);
    // Every call says so again.
    assert_requires_abort(&commit().unwrap_err(), code);
    assert_requires_abort(&producer.begin_transaction().unwrap_err(), code);
    let refused = producer
        .send(ProducerRecord::with_opaque_to("t", 0))
        .unwrap_err();
    assert_eq!(refused.code(), Some(Code::State));

    producer.abort_transaction(DEADLINE).unwrap();
    producer.begin_transaction().unwrap();
    work(&producer).unwrap();
    commit().unwrap();
    assert!(producer.fatal_error().is_none());
}

#[test]
fn a_transaction_that_failed_is_aborted_and_done_again() {
    let records = |producer: &BaseProducer<Counting>| {
        send(producer, 0..10);
        Ok(())
    };
    let offsets = |producer: &BaseProducer<Counting>| {
        let group = ConsumerGroupMetadata::new("g").with_member(3, "m");
        let offsets = [TopicPartitionOffset::new("in", 0, 1)];
        producer.send_offsets_to_transaction(&offsets, &group, DEADLINE)
    };
    for (api_key, code) in [
        (ApiKey::AddPartitionsToTxn, Code::TopicAuthorizationFailed),
        (ApiKey::EndTxn, Code::GroupAuthorizationFailed),
    ] {
        assert_is_aborted_and_done_again(api_key, code, code, records);
    }
    for (api_key, code) in [
        (ApiKey::AddOffsetsToTxn, Code::GroupAuthorizationFailed),
        (ApiKey::TxnOffsetCommit, Code::IllegalGeneration),
        (ApiKey::TxnOffsetCommit, Code::UnknownMemberId),
        (ApiKey::TxnOffsetCommit, Code::FencedInstanceId),
    ] {
        assert_is_aborted_and_done_again(api_key, code, code, offsets);
    }
}

#[test]
fn a_record_that_was_not_delivered_fails_the_transaction() {
    let (cluster, producer) = setting();
    cluster.request_errors(ApiKey::Produce, &[Code::MessageSizeTooLarge]);
    send(&producer, 0..10);
    let error = producer.commit_transaction(DEADLINE).unwrap_err();
    assert_requires_abort(&error, Code::MessageSizeTooLarge);
    assert_eq!(producer.context().seen().len(), 10);
    assert!(producer.context().failed() > 0);
    producer.abort_transaction(DEADLINE).unwrap();
}

#[test]
fn a_purged_record_fails_the_commit() {
    let cluster = cluster("t", 1);
    let producer = begun(transactional(&cluster).set("linger.ms", "50000"));
    send(&producer, 0..10);
    producer.purge(tokio_rdkafka::PurgeConfig::default().queue());
    let error = producer.commit_transaction(DEADLINE).unwrap_err();
    assert_requires_abort(&error, Code::Inconsistent);
    assert!(
        error.to_string().contains("10 message(s) failed"),
        "{error}"
    );
    producer.abort_transaction(DEADLINE).unwrap();
}

#[test]
fn a_fatal_error_has_its_code_and_reason_in_every_call() {
    let (cluster, producer) = setting();
    cluster.request_errors(ApiKey::EndTxn, &[Code::TransactionalIdAuthorizationFailed]);
    send(&producer, 0..10);
    let error = producer.commit_transaction(DEADLINE).unwrap_err();
    for error in [
        error,
        producer.commit_transaction(DEADLINE).unwrap_err(),
        producer.abort_transaction(DEADLINE).unwrap_err(),
        producer.begin_transaction().unwrap_err(),
        producer.init_transactions(DEADLINE).unwrap_err(),
        producer.fatal_error().expect("a fatal error"),
    ] {
        assert_eq!(error.code(), Some(Code::TransactionalIdAuthorizationFailed));
        assert!(error.is_fatal() && !error.is_fenced(), "{error:?}");
        assert!(
            error.to_string().contains("authorization failed"),
            "{error}"
        );
    }
}

/// The mock lets two producers be; what each request of the older one is told.
#[test]
fn a_fenced_producer_says_so_in_every_call() {
    for (api_key, code) in [
        (ApiKey::AddPartitionsToTxn, Code::ProducerFenced),
        (ApiKey::AddPartitionsToTxn, Code::InvalidProducerEpoch),
        (ApiKey::Produce, Code::InvalidProducerEpoch),
        (ApiKey::EndTxn, Code::ProducerFenced),
        (ApiKey::EndTxn, Code::InvalidProducerEpoch),
    ] {
        let cluster = cluster("t", 1);
        let producer = begun(&transactional(&cluster));
        cluster.request_errors(api_key, &[code]);
        send(&producer, 0..100);
        let error = producer.commit_transaction(DEADLINE).unwrap_err();
        assert_fenced(&error);
        assert!(error.to_string().contains("fenced"), "{error}");
        assert_fenced(&producer.commit_transaction(DEADLINE).unwrap_err());
        assert_fenced(&producer.abort_transaction(DEADLINE).unwrap_err());
        assert_fenced(&producer.begin_transaction().unwrap_err());
        assert_fenced(&producer.fatal_error().unwrap());
        let record = ProducerRecord::with_opaque_to("t", 7).payload("late");
        let refused = producer.send(record).unwrap_err();
        assert_fenced(refused.error());
        assert!(refused.is_fatal() && refused.is_fenced() && !refused.requires_abort());
        assert_eq!(refused.into_record().get_opaque(), &7);
        producer.flush(DEADLINE).unwrap();
        assert_eq!(producer.context().seen().len(), 100);
    }
}

#[test]
fn a_commit_that_timed_out_is_resumed() {
    let (cluster, producer) = setting();
    cluster.start_request_tracking();
    send(&producer, 0..1_000);
    delay_end(&cluster);
    let error = assert_timed_out(producer.commit_transaction(SHORT));
    assert!(error.is_timed_out());
    assert!(
        error.to_string().contains("retry call to resume"),
        "{error}"
    );
    // It may have been committed: nothing else is possible.
    let error = plain_error(producer.abort_transaction(SHORT), Code::Conflict, true);
    assert!(error.to_string().contains("commit_transaction"), "{error}");
    plain_error(producer.begin_transaction(), Code::Conflict, true);

    producer.commit_transaction(DEADLINE).unwrap();
    assert_eq!(requests(&cluster, ApiKey::EndTxn), 1);
    assert_eq!(producer.context().seen().len(), 1_000);
    assert_works(&producer);
}

#[test]
fn a_commit_that_waits_for_records_is_resumed() {
    let (cluster, producer) = setting();
    send(&producer, 0..1);
    producer.flush(DEADLINE).unwrap();
    cluster.broker_down(1).unwrap();
    send(&producer, 1..1_000);
    for time in [Duration::ZERO, SHORT, SHORT] {
        let error = assert_timed_out(producer.commit_transaction(time));
        let text = error.to_string();
        // Their number has events in it that are queued.
        assert!(
            text.contains("message(s) remaining, retry call to resume"),
            "{text}"
        );
        assert!(!text.contains("poll"), "{text}");
    }
    let refused = producer
        .send(ProducerRecord::with_opaque_to("t", 0))
        .unwrap_err();
    assert_eq!(refused.code(), Some(Code::State));
    cluster.broker_up(1).unwrap();
    producer.commit_transaction(DEADLINE).unwrap();
    assert_eq!(producer.context().failed(), 0);
    assert_eq!(block_on(cluster.records("t")).unwrap().len(), 1_000);
}

#[test]
fn an_abort_that_timed_out_is_resumed() {
    let (cluster, producer) = setting();
    send(&producer, 0..1_000);
    // Where nothing was sent there is nothing to ask of a broker.
    producer.flush(DEADLINE).unwrap();
    delay_end(&cluster);
    assert_timed_out(producer.abort_transaction(SHORT));
    plain_error(producer.commit_transaction(SHORT), Code::Conflict, true);
    producer.abort_transaction(DEADLINE).unwrap();
    assert_eq!(producer.context().seen().len(), 1_000);
    assert_works(&producer);
}

#[test]
fn an_init_that_timed_out_is_resumed() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer = counting(&transactional(&cluster));
    let error = producer.init_transactions(SHORT).unwrap_err();
    assert!(error.is_retriable() && !error.is_fatal(), "{error:?}");
    plain_error(producer.begin_transaction(), Code::Conflict, true);
    cluster.broker_up(1).unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    assert_works(&producer);
}

/// Calls back into its producer, and keeps what it was told.
#[derive(Default)]
struct Reentrant {
    producer: OnceLock<Weak<BaseProducer<Reentrant>>>,
    told: Mutex<Vec<(&'static str, Result<(), KafkaError>)>>,
    reports: AtomicUsize,
}

impl ClientContext for Reentrant {}

impl ProducerContext for Reentrant {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        self.reports.fetch_add(1, Ordering::SeqCst);
        let producer = self.producer.get().unwrap().upgrade().unwrap();
        // Reports of others may be served in this one.
        producer.poll(Duration::ZERO);
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
        self.told.lock().unwrap().extend(results);
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
    let told = std::mem::take(&mut *context.told.lock().unwrap());
    assert_eq!(told.len(), 3 * 60);
    for (call, result) in told {
        let error = plain_error(result, Code::State, false);
        let text = error.to_string();
        assert!(
            text.starts_with(call) && text.contains("delivery callback"),
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
    delay_end(&cluster);
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
            // Those that are refused count for a moment; nothing would end one that has slipped past.
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

#[test]
fn offsets_go_to_the_groups_coordinator() {
    let cluster = cluster("t", 1);
    cluster.create_topic("in", 101, 1).unwrap();
    cluster.create_topic("other", 1, 1).unwrap();
    cluster.start_request_tracking();
    let producer = begun(&transactional(&cluster));
    let group = ConsumerGroupMetadata::new("g")
        .with_member(7, "member")
        .with_group_instance_id("instance");
    producer
        .send_offsets_to_transaction(&[], &group, DEADLINE)
        .unwrap();
    assert_eq!(requests(&cluster, ApiKey::AddOffsetsToTxn), 0);

    let mut offsets: Vec<_> = (0..100)
        .map(|partition| TopicPartitionOffset::new("in", partition, 0))
        .collect();
    offsets.push(TopicPartitionOffset::new("other", 0, i64::MAX).with_metadata(""));
    offsets.push(
        TopicPartitionOffset::new("in", 100, 42)
            .with_metadata("x".repeat(4_096))
            .with_leader_epoch(0),
    );
    producer
        .send_offsets_to_transaction(&offsets, &group, DEADLINE)
        .unwrap();
    assert_eq!(requests(&cluster, ApiKey::AddOffsetsToTxn), 1);
    assert_eq!(requests(&cluster, ApiKey::TxnOffsetCommit), 1);
    // A part of it, though no record is.
    producer.commit_transaction(DEADLINE).unwrap();
    assert_eq!(requests(&cluster, ApiKey::EndTxn), 1);
}

#[test]
fn offsets_that_cannot_be_sent_are_refused_before_they_are() {
    let cluster = cluster("t", 1);
    cluster.create_topic("in", 1, 1).unwrap();
    cluster.start_request_tracking();
    let producer = begun(&transactional(&cluster));
    let good = TopicPartitionOffset::new("in", 0, 1);
    let group = ConsumerGroupMetadata::new("g");
    let long = "x".repeat(32_768);
    let rows: Vec<(Vec<TopicPartitionOffset>, ConsumerGroupMetadata, &str)> = vec![
        (
            vec![TopicPartitionOffset::new("", 0, 1)],
            group.clone(),
            "topic is empty",
        ),
        (
            vec![TopicPartitionOffset::new("a\0b", 0, 1)],
            group.clone(),
            "topic contains a NUL",
        ),
        (
            vec![TopicPartitionOffset::new(&long, 0, 1)],
            group.clone(),
            "topic is longer",
        ),
        (
            vec![TopicPartitionOffset::new("in", -1, 1)],
            group.clone(),
            "partition -1 of \"in\"",
        ),
        (
            vec![good.clone(), TopicPartitionOffset::new("in", 3, -1001)],
            group.clone(),
            "offset -1001 of \"in\" [3]",
        ),
        (
            vec![good.clone(), good.clone()],
            group.clone(),
            "two for \"in\" [0]",
        ),
        (
            vec![good.clone().with_metadata(&long)],
            group.clone(),
            "metadata has 32768 bytes",
        ),
        (
            vec![good.clone()],
            ConsumerGroupMetadata::new(""),
            "group id is empty",
        ),
        (
            vec![good.clone()],
            ConsumerGroupMetadata::new("a\0b"),
            "group id contains a NUL",
        ),
        (
            vec![good.clone()],
            ConsumerGroupMetadata::new(&long),
            "group id has 32768 bytes",
        ),
        (
            vec![good.clone()],
            group.clone().with_member(1, "\0"),
            "member id contains a NUL",
        ),
        (
            vec![good.clone()],
            group.clone().with_group_instance_id("\0"),
            "group instance id contains a NUL",
        ),
    ];
    for (offsets, group, problem) in rows {
        let result = producer.send_offsets_to_transaction(&offsets, &group, DEADLINE);
        let error = plain_error(result, Code::InvalidArgument, false);
        assert!(error.to_string().contains(problem), "{error}");
    }
    assert_eq!(requests(&cluster, ApiKey::AddOffsetsToTxn), 0);
    // The transaction is as it was.
    producer
        .send_offsets_to_transaction(&[good], &group, DEADLINE)
        .unwrap();
    producer.commit_transaction(DEADLINE).unwrap();
}

#[test]
fn a_drop_in_a_transaction_runs_every_callback_once() {
    let cluster = cluster("t", 1);
    for timed_out in [false, true] {
        let context = Arc::new(Counting::default());
        let producer: BaseProducer<Arc<Counting>> = transactional(&cluster)
            .create_with_context(Arc::clone(&context))
            .unwrap();
        producer.init_transactions(DEADLINE).unwrap();
        producer.begin_transaction().unwrap();
        cluster.broker_down(1).unwrap();
        for opaque in 0..1_000 {
            producer
                .send(ProducerRecord::with_opaque_to("t", opaque))
                .unwrap();
        }
        if timed_out {
            let error = producer.commit_transaction(SHORT).unwrap_err();
            assert!(error.is_retriable(), "{error:?}");
        }
        drop(producer);
        let mut seen = context.seen();
        seen.sort_unstable();
        assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
        cluster.broker_up(1).unwrap();
    }
}

#[test]
fn a_drop_while_a_commit_goes_on_in_the_background_ends() {
    let (cluster, producer) = setting();
    send(&producer, 0..10);
    delay_end(&cluster);
    assert_timed_out(producer.commit_transaction(SHORT));
    drop(producer);
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

/// librdkafka purges once, and neither sends nor purges what comes back into its queue after that.
#[test]
fn what_is_put_back_after_a_fatal_error_does_not_hold_up_a_commit() {
    let cluster = cluster("t", 1);
    let producer = begun(transactional(&cluster).set("batch.num.messages", "1"));
    send(&producer, 0..1);
    producer.flush(DEADLINE).unwrap();
    // Both requests are on their way when the first answer comes; the second answer comes after
    // the purge.
    let after = |millis| Some(Duration::from_millis(millis));
    let errors = [
        (Code::InvalidProducerEpoch, after(300)),
        (Code::NotEnoughReplicas, after(700)),
    ];
    cluster
        .broker_request_errors(1, ApiKey::Produce, &errors)
        .unwrap();
    send(&producer, 1..3);
    // It would be `message.timeout.ms`, here a minute, and no more than a time-out.
    assert_fenced(&producer.commit_transaction(DEADLINE).unwrap_err());
    assert_eq!(producer.in_flight_count(), 0);
    assert_eq!(producer.context().failed(), 2);
}
