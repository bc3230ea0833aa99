//! Transactions of the synchronous producer.

mod concurrent;
mod failures;
mod offsets;
mod resumed;

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use tokio_rdkafka::{
    ApiKey, BaseProducer, ClientConfig, ConsumerGroupMetadata, KafkaError, MockCluster,
    MockCoordinator, ProducerRecord, RDKafkaErrorCode as Code, TopicPartitionOffset,
};

use crate::support::mock::{Counting, DEADLINE, cluster, config};

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

/// The coordinator is not done with the transaction before: real ones take an abort that comes
/// meanwhile for one out of turn, which is fatal.
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
fn calls_out_of_order_return_an_error() {
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
