//! Transactions of the async producer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt, stream};
use tokio_rdkafka::{
    ApiKey, ClientConfig, ConsumerGroupMetadata, KafkaError, MockCluster, MockCoordinator,
    ProduceExt, Producer, ProducerContext, ProducerRecord, PurgeConfig, RDKafkaErrorCode,
    SendError, TopicPartitionOffset, Transaction, TransactionOutcome, TransactionalProducer,
};

use crate::support::mock::{
    Counting, DEADLINE, Drop, cluster, config, payloads, poll_then_drop, produce_requests, until,
};

fn record(index: usize) -> ProducerRecord<'static> {
    ProducerRecord::to("t").payload(index.to_string())
}

fn transactional(cluster: &MockCluster) -> ClientConfig {
    let mut config = config(cluster);
    config.set("transactional.id", "tests");
    config
}

async fn initialized(config: &ClientConfig) -> TransactionalProducer {
    let mut producer: TransactionalProducer = config.create().unwrap();
    producer.init(DEADLINE).await.unwrap();
    producer
}

/// A transaction of this producer works.
async fn assert_works(producer: &mut TransactionalProducer) {
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    transaction.commit().await.unwrap();
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Committed));
}

#[tokio::test]
async fn a_transactional_id_makes_a_transactional_producer_alone() {
    let cluster = cluster("t", 1);
    let error = transactional(&cluster).create::<Producer>().unwrap_err();
    assert_eq!(error.field(), Some("transactional.id"));
    let error = config(&cluster)
        .create::<TransactionalProducer>()
        .unwrap_err();
    assert_eq!(error.field(), Some("transactional.id"));
    let mut producer: TransactionalProducer = transactional(&cluster).create().unwrap();
    let error = producer.begin().await.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::State));
    assert_eq!(producer.outcome().await, None);
    producer.init(DEADLINE).await.unwrap();
    assert_works(&mut producer).await;
}

#[tokio::test]
async fn commits_and_aborts_follow_one_another() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    for turn in 0..10 {
        let transaction = producer.begin().await.unwrap();
        let futures = stream::iter(0..100).then(|index| transaction.enqueue(record(index)));
        let futures: Vec<_> = futures.collect().await;
        if turn % 2 == 0 {
            transaction.commit().await.unwrap();
        } else {
            transaction.abort().await.unwrap();
        }
        for future in futures {
            let delivered = future.unwrap().await;
            assert!(delivered.is_ok() || turn % 2 == 1, "{delivered:?}");
        }
        let expected = [TransactionOutcome::Committed, TransactionOutcome::Aborted];
        assert_eq!(producer.outcome().await, Some(expected[turn % 2]));
        assert_eq!(producer.in_flight_count(), 0);
    }
    assert_eq!(producer.close().await.failed, 0);
}

#[tokio::test]
async fn it_is_used_as_a_producer() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    let permit = transaction.reserve().await.unwrap();
    permit.send(record(1)).await.unwrap();
    let mut sink = transaction.sink();
    sink.send(record(2)).await.unwrap();
    let results = transaction.send_all([record(3), record(4)]);
    assert_eq!(results.count().await, 2);
    let items = stream::iter([(5, record(5))]);
    let mut results = items.produce_each(&transaction);
    assert_eq!(results.next().await.unwrap().0, 5);
    transaction.commit().await.unwrap();
    assert_eq!(payloads(&cluster, "t").await.len(), 6);
}

/// Handles, permits and sinks that outlive their transaction.
#[tokio::test]
async fn what_is_left_of_a_transaction_sends_nothing() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    for commits in [true, false] {
        let transaction = producer.begin().await.unwrap();
        let clone = Producer::clone(&transaction);
        let permit = transaction.reserve_owned().await.unwrap();
        let mut sink = transaction.sink();
        sink.send(record(0)).await.unwrap();
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.abort().await.unwrap();
        }
        let next = producer.begin().await.unwrap();
        let errors = [
            clone.send(record(1)).await.unwrap_err(),
            permit.send(record(2)).await.unwrap_err(),
            sink.send(record(3)).await.unwrap_err(),
            SendError::from(clone.try_enqueue(record(4)).unwrap_err()),
        ];
        for error in errors {
            assert_eq!(error.code(), Some(RDKafkaErrorCode::State), "{error}");
            assert!(error.to_string().contains("has been committed or aborted"));
        }
        next.send(record(0)).await.unwrap();
        // The failures were not its own.
        next.commit().await.unwrap();
    }
    assert_eq!(payloads(&cluster, "t").await, ["0", "0", "0", "0"]);
}

#[tokio::test]
async fn a_record_that_failed_fails_the_commit() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let bad: [fn(&Transaction<'_>); 2] = [
        // Refused at once, and nobody looks.
        |transaction| drop(transaction.try_enqueue(record(1).partition(-7))),
        |transaction| drop(transaction.try_enqueue_detached(record(1).partition(9))),
    ];
    for bad in bad {
        let transaction = producer.begin().await.unwrap();
        transaction.send(record(0)).await.unwrap();
        bad(&transaction);
        let error = transaction.commit().await.unwrap_err();
        assert!(error.requires_abort() && !error.is_retriable(), "{error:?}");
        let cause = error.error().source().expect("the record's error");
        let cause = cause.downcast_ref::<KafkaError>().unwrap();
        assert!(matches!(
            cause.code(),
            Some(RDKafkaErrorCode::InvalidArgument | RDKafkaErrorCode::UnknownPartition)
        ));
        let (transaction, _) = error.into_parts();
        transaction.unwrap().abort().await.unwrap();
        let outcome = producer.outcome().await;
        assert_eq!(outcome, Some(TransactionOutcome::Aborted));
        assert_works(&mut producer).await;
    }
}

#[tokio::test]
async fn a_lack_of_room_is_no_failure() {
    let cluster = cluster("t", 1);
    let mut config = transactional(&cluster);
    config.set("queue.buffering.max.messages", "1");
    let mut producer = initialized(&config).await;
    let transaction = producer.begin().await.unwrap();
    let permit = transaction.reserve().await.unwrap();
    let error = transaction.try_enqueue(record(1)).unwrap_err();
    assert!(error.is_queue_full());
    permit.send(error.into_record()).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn dropping_a_transaction_aborts_it() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    for _ in 0..3 {
        let transaction = producer.begin().await.unwrap();
        transaction.send(record(0)).await.unwrap();
        drop(transaction);
        // Without a begin.
        let outcome = producer.outcome().await;
        assert_eq!(outcome, Some(TransactionOutcome::Aborted));
    }
    assert_works(&mut producer).await;
}

async fn send_offsets<C: ProducerContext>(
    transaction: &Transaction<'_, C>,
) -> Result<(), KafkaError> {
    let offsets = [TopicPartitionOffset::new("t", 0, 7)];
    let group = ConsumerGroupMetadata::new("group");
    transaction.send_offsets(&offsets, &group).await
}

#[tokio::test]
async fn offsets_are_part_of_it() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let transaction = producer.begin().await.unwrap();
    send_offsets(&transaction).await.unwrap();
    let bad = [TopicPartitionOffset::new("t", 0, -7)];
    let group = ConsumerGroupMetadata::new("group");
    let error = transaction.send_offsets(&bad, &group).await.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::InvalidArgument));
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn run_commits_or_aborts() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let count = producer
        .run(async |transaction| {
            transaction.send_all((0..3).map(record)).count().await;
            Ok::<_, KafkaError>(3)
        })
        .await;
    assert_eq!(count.unwrap(), 3);
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Committed));

    let error = producer
        .run(async |transaction| {
            let _sent = transaction.send(record(3)).await;
            Err::<(), Box<dyn Error + Send + Sync>>("no".into())
        })
        .await;
    assert_eq!(error.unwrap_err().to_string(), "no");
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Aborted));

    // A record that failed, which the function has overlooked.
    let error = producer
        .run(async |transaction| {
            let _overlooked = transaction.send(record(4).partition(9)).await;
            Ok::<_, KafkaError>(())
        })
        .await
        .unwrap_err();
    assert!(error.requires_abort() && error.source().is_some());
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Aborted));
    assert_works(&mut producer).await;
}

#[tokio::test]
async fn a_panic_in_run_aborts() {
    let cluster = cluster("t", 1);
    let producer = initialized(&transactional(&cluster)).await;
    let producer = std::sync::Arc::new(tokio::sync::Mutex::new(producer));
    let shared = std::sync::Arc::clone(&producer);
    let panicked = tokio::spawn(async move {
        let mut producer = shared.lock().await;
        producer
            .run(async |transaction| {
                transaction.send(record(0)).await.unwrap();
                if transaction.in_flight_count() == 0 {
                    panic!("on purpose");
                }
                Ok::<_, KafkaError>(())
            })
            .await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    let mut producer = producer.lock().await;
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Aborted));
    assert_works(&mut producer).await;
}

/// That its future is `Send` where the function's is.
#[tokio::test]
async fn run_can_be_spawned() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let offset = tokio::spawn(async move {
        producer
            .run(async |transaction| {
                let payload = String::from("borrowed");
                let sent = transaction.send(ProducerRecord::to("t").payload(&payload));
                let delivery = sent.await?;
                Ok::<_, KafkaError>(delivery.offset())
            })
            .await
    });
    assert_eq!(offset.await.unwrap().unwrap(), Some(0));
}

/// What may have become of a transaction whose future was dropped after so many polls.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dropped {
    Begin,
    SendOffsets,
    Commit,
    Abort,
    Run,
}

#[tokio::test]
async fn futures_dropped_at_any_poll_point_leave_no_trace() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let mut arrived = 0;
    for which in [
        Dropped::Begin,
        Dropped::SendOffsets,
        Dropped::Commit,
        Dropped::Abort,
        Dropped::Run,
    ] {
        let mut outcomes = Vec::new();
        for polls in 0.. {
            assert!(polls < 50, "{which:?} is never done");
            let mut is_done = false;
            for how in [Drop::WhenWoken, Drop::AtOnce] {
                is_done = match which {
                    Dropped::Begin => poll_then_drop(producer.begin(), polls, how).await.is_some(),
                    Dropped::Run => {
                        let run = producer.run(async |transaction| {
                            transaction.send(record(0)).await?;
                            Ok::<_, SendErrorOrNot>(())
                        });
                        poll_then_drop(run, polls, how).await.is_some()
                    }
                    _ => {
                        let transaction = producer.begin().await.unwrap();
                        transaction.send(record(0)).await.unwrap();
                        match which {
                            Dropped::SendOffsets => {
                                poll_then_drop(send_offsets(&transaction), polls, how)
                                    .await
                                    .is_some()
                            }
                            Dropped::Commit => poll_then_drop(transaction.commit(), polls, how)
                                .await
                                .is_some(),
                            _ => poll_then_drop(transaction.abort(), polls, how)
                                .await
                                .is_some(),
                        }
                    }
                };
                outcomes.push(producer.outcome().await);
                assert_works(&mut producer).await;
                arrived += 1;
            }
            if is_done {
                break;
            }
        }
        // What was dropped in its commit is committed, and what before, is not.
        let first = outcomes.first().copied().flatten();
        assert_ne!(first, Some(TransactionOutcome::Unknown));
        if matches!(which, Dropped::Commit | Dropped::Run) {
            let last = outcomes.last().copied().flatten();
            assert_eq!(last, Some(TransactionOutcome::Committed), "{which:?}");
        }
        assert!(!outcomes.contains(&Some(TransactionOutcome::Unknown)));
    }
    assert!(arrived > 0);
    assert_eq!(producer.close().await.failed, 0);
}

/// Either.
#[derive(Debug)]
struct SendErrorOrNot;

impl From<KafkaError> for SendErrorOrNot {
    fn from(_: KafkaError) -> Self {
        Self
    }
}

impl From<SendError> for SendErrorOrNot {
    fn from(_: SendError) -> Self {
        Self
    }
}

/// Broker 1 leads the topic's partition, and broker 2 is the coordinator.
fn with_coordinator_of_the_transactions() -> (MockCluster, ClientConfig) {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    let id = MockCoordinator::Transaction("tests".to_owned());
    cluster.coordinator(id, 2).unwrap();
    let config = transactional(&cluster);
    (cluster, config)
}

/// The same, with a producer.
async fn with_coordinator_of_its_own() -> (MockCluster, TransactionalProducer) {
    let (cluster, config) = with_coordinator_of_the_transactions();
    let producer = initialized(&config).await;
    (cluster, producer)
}

/// Broker 1 leads the topic's partition and coordinates the transactions, broker 2 the group.
fn with_coordinator_of_the_group() -> (MockCluster, ClientConfig) {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    let group = MockCoordinator::Group("group".to_owned());
    cluster.coordinator(group, 2).unwrap();
    let id = MockCoordinator::Transaction("tests".to_owned());
    cluster.coordinator(id, 1).unwrap();
    let config = transactional(&cluster);
    (cluster, config)
}

/// The group's coordinator leaves the cluster, and librdkafka still waits for it: without connections
/// that are closed when they are idle, it would do so for ever.
#[tokio::test]
async fn offsets_reach_the_next_coordinator_of_the_group() {
    let (cluster, mut config) = with_coordinator_of_the_group();
    // Sooner than by default.
    config.set("connections.max.idle.ms", "2000");
    let mut producer = initialized(&config).await;
    let transaction = producer.begin().await.unwrap();
    send_offsets(&transaction).await.unwrap();
    transaction.commit().await.unwrap();

    cluster.broker_decommission(2).unwrap();
    let group = MockCoordinator::Group("group".to_owned());
    cluster.coordinator(group, 1).unwrap();
    // Until then, the wait is for a broker that may come back.
    while producer.cluster(DEADLINE).await.unwrap().brokers().len() > 1 {}
    let transaction = producer.begin().await.unwrap();
    send_offsets(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Committed));
}

/// librdkafka waits without a limit for a coordinator of the group: nobody has to wait with it.
#[tokio::test]
async fn a_group_without_a_coordinator_holds_nobody() {
    let (cluster, mut config) = with_coordinator_of_the_group();
    config.set("transaction.timeout.ms", "3000");
    let mut producer = initialized(&config).await;
    cluster.broker_down(2).unwrap();
    let transaction = producer.begin().await.unwrap();
    let error = send_offsets(&transaction).await.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::OperationTimedOut));
    assert!(error.is_retriable() && !error.is_fatal(), "{error:?}");

    let waits = Some(RDKafkaErrorCode::PreviousInProgress);
    let error = send_offsets(&transaction).await.unwrap_err();
    assert_eq!(error.code(), waits);
    let (transaction, error) = transaction.commit().await.unwrap_err().into_parts();
    assert_eq!(error.code(), waits);
    assert!(error.is_retriable(), "{error:?}");
    let error = transaction.unwrap().abort().await.unwrap_err();
    assert_eq!(error.code(), waits);
    let error = producer.begin().await.unwrap_err();
    assert_eq!(error.code(), waits);
    assert!(error.is_retriable(), "{error:?}");
    assert_eq!(producer.outcome().await, None);

    // Those who try again at once leave the one thread that there is to others.
    let other = tokio::spawn(tokio::task::yield_now());
    while !other.is_finished() {
        assert!(producer.begin().await.is_err());
    }
    cluster.broker_up(2).unwrap();
    let started = std::time::Instant::now();
    while producer.begin().await.is_err() {
        assert!(started.elapsed() < DEADLINE);
    }
    assert_works(&mut producer).await;
}

#[tokio::test]
async fn a_close_does_not_wait_for_offsets_that_are_overdue() {
    let (cluster, mut config) = with_coordinator_of_the_group();
    config.set("transaction.timeout.ms", "3000");
    let context = Arc::new(Counting::default());
    let mut producer: TransactionalProducer<_> =
        config.create_with_context(Arc::clone(&context)).unwrap();
    producer.init(DEADLINE).await.unwrap();
    cluster.broker_down(2).unwrap();
    let transaction = producer.begin().await.unwrap();
    let sent = transaction.enqueue(ProducerRecord::with_opaque_to("t", 0));
    let sent = sent.await.unwrap();
    send_offsets(&transaction).await.unwrap_err();
    sent.await.unwrap();
    drop(transaction);
    for _ in 0..2 {
        let closed = tokio::time::timeout(DEADLINE, producer.close()).await;
        assert_eq!(closed.unwrap().undelivered, 0);
    }
    drop(producer);
    // The client is still there, and goes when the call has ended.
    assert!(Arc::strong_count(&context) > 1);
    cluster.broker_up(2).unwrap();
    until(|| Arc::strong_count(&context) == 1).await;
}

/// The coordinator is away: nothing blocks the runtime's one thread, and the commit is resumed.
#[tokio::test]
async fn a_commit_that_is_stuck_holds_nothing_and_is_resumed() {
    let (cluster, mut producer) = with_coordinator_of_its_own().await;
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    cluster.broker_down(2).unwrap();

    let ticks = std::rc::Rc::new(std::cell::Cell::new(0));
    let local = tokio::task::LocalSet::new();
    let counted = std::rc::Rc::clone(&ticks);
    local.spawn_local(async move {
        loop {
            tokio::task::yield_now().await;
            counted.set(counted.get() + 1);
        }
    });
    let commit = transaction.commit_timeout(Duration::from_millis(500));
    let error = local.run_until(commit).await.unwrap_err();
    assert!(ticks.get() >= 100, "{}", ticks.get());
    assert!(error.is_retriable() && !error.requires_abort(), "{error:?}");
    let transaction = error.into_parts().0.unwrap();
    // Too late for them.
    let error = send_offsets(&transaction).await.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::State));
    assert!(!error.is_retriable(), "{error:?}");
    cluster.broker_up(2).unwrap();
    transaction.commit().await.unwrap();
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Committed));
    assert_works(&mut producer).await;
}

/// A commit that was given up is carried to its end by the next begin.
#[tokio::test]
async fn a_commit_that_is_given_up_is_resumed_by_the_next_begin() {
    let (cluster, mut producer) = with_coordinator_of_its_own().await;
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    cluster.broker_down(2).unwrap();
    let commit = transaction.commit_timeout(Duration::from_millis(200));
    drop(commit.await.unwrap_err());
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Unknown));
    cluster.broker_up(2).unwrap();
    assert_works(&mut producer).await;
    assert_eq!(payloads(&cluster, "t").await.len(), 2);
}

#[tokio::test]
async fn begin_asks_for_an_init_that_has_succeeded() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let mut producer: TransactionalProducer = transactional(&cluster).create().unwrap();
    let error = producer.init(Duration::from_millis(300)).await.unwrap_err();
    assert!(error.is_retriable(), "{error:?}");
    cluster.broker_up(1).unwrap();
    let error = producer.begin().await.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::State));
    assert!(!error.is_retriable() && error.to_string().contains("init"));
    producer.init(DEADLINE).await.unwrap();
    assert_works(&mut producer).await;
}

#[tokio::test]
async fn begin_waits_for_an_init_whose_future_was_dropped() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let mut producer: TransactionalProducer = transactional(&cluster).create().unwrap();
    let dropped = poll_then_drop(producer.init(DEADLINE), 1, Drop::AtOnce).await;
    assert!(dropped.is_none());
    cluster.broker_up(1).unwrap();
    assert_works(&mut producer).await;
}

/// Nobody would hear that the offsets are not in it.
#[tokio::test]
async fn offsets_whose_future_is_dropped_are_in_the_transaction_or_fail_it() {
    let cluster = cluster("t", 1);
    let mut config = transactional(&cluster);
    config.set("transaction.timeout.ms", "3000");
    let mut producer = initialized(&config).await;
    let assert_fails = async |transaction: Transaction<'_>, text: &str| {
        let error = transaction.commit().await.unwrap_err();
        assert!(error.requires_abort(), "{error:?}");
        let cause = error.error().source().expect("that of the offsets");
        assert!(cause.to_string().contains(text), "{cause}");
        error.into_parts().0.unwrap().abort().await.unwrap();
    };

    // It fails when its time is over.
    let busy = [RDKafkaErrorCode::CoordinatorNotAvailable; 1_000];
    cluster.request_errors(ApiKey::AddOffsetsToTxn, &busy);
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    let dropped = poll_then_drop(send_offsets(&transaction), 1, Drop::AtOnce).await;
    assert!(dropped.is_none());
    assert_fails(transaction, "").await;
    cluster.clear_request_errors(ApiKey::AddOffsetsToTxn);

    // It has to wait for another, and never begins.
    cluster.broker_round_trip_time(1, DEADLINE).unwrap();
    let transaction = producer.begin().await.unwrap();
    let mut first = Box::pin(send_offsets(&transaction));
    assert!(futures::poll!(first.as_mut()).is_pending());
    let dropped = poll_then_drop(send_offsets(&transaction), 1, Drop::AtOnce).await;
    assert!(dropped.is_none());
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    first.await.unwrap();
    assert_fails(transaction, "before it began").await;

    // It is done.
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    let dropped = poll_then_drop(send_offsets(&transaction), 1, Drop::AtOnce).await;
    assert!(dropped.is_none());
    transaction.commit().await.unwrap();
}

/// They could be written into the next one.
#[tokio::test]
async fn what_is_in_flight_in_a_transaction_is_not_purged() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    assert_works(&mut producer).await;
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(1)).await.unwrap();
    cluster.start_request_tracking();
    cluster.broker_round_trip_time(1, DEADLINE).unwrap();
    let sent = transaction.enqueue(record(2)).await.unwrap();
    until(|| produce_requests(&cluster) == 1).await;
    let inflight = PurgeConfig::default().inflight();
    assert_eq!(transaction.purge(inflight).await, 0);
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    sent.await.unwrap();
    transaction.commit().await.unwrap();
}

/// Whether a record was refused meanwhile is not asked: librdkafka alone knows how it ends.
#[tokio::test]
async fn a_record_that_is_refused_while_a_commit_is_stuck_is_not_of_it() {
    let (cluster, mut producer) = with_coordinator_of_its_own().await;
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    let left = Producer::clone(&transaction);
    cluster.broker_down(2).unwrap();
    let commit = transaction.commit_timeout(Duration::from_millis(200));
    let (transaction, _) = commit.await.unwrap_err().into_parts();
    left.try_enqueue(record(1).partition(-7)).unwrap_err();
    cluster.broker_up(2).unwrap();
    transaction.unwrap().commit().await.unwrap();
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Committed));
}

/// The records were purged because of an error, which is the one to tell.
#[tokio::test]
async fn a_commit_tells_why_records_were_purged() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    cluster.request_errors(
        ApiKey::AddPartitionsToTxn,
        &[RDKafkaErrorCode::TopicAuthorizationFailed],
    );
    let transaction = producer.begin().await.unwrap();
    let failed = transaction.send(record(0)).await.unwrap_err();
    assert_eq!(failed.code(), Some(RDKafkaErrorCode::PurgeQueue));
    let error = transaction.commit().await.unwrap_err();
    let code = Some(RDKafkaErrorCode::TopicAuthorizationFailed);
    assert_eq!(error.error().code(), code, "{error:?}");
    assert!(error.requires_abort(), "{error:?}");
    let cause = error.error().source().expect("the record's error");
    let cause = cause.downcast_ref::<KafkaError>().unwrap();
    assert_eq!(cause.code(), failed.code());
    error.into_parts().0.unwrap().abort().await.unwrap();
    assert_works(&mut producer).await;

    // Those that the user has purged fail it too.
    let error = producer
        .run(async |transaction| {
            let sent = transaction.enqueue(record(1).partition(9)).await;
            transaction
                .purge(PurgeConfig::default().queue().inflight())
                .await;
            drop(sent);
            Ok::<_, KafkaError>(())
        })
        .await
        .unwrap_err();
    assert!(
        error.requires_abort() && error.source().is_some(),
        "{error:?}"
    );
    assert_works(&mut producer).await;
}

/// The coordinator is not done with the transaction before, see the same of `BaseProducer`.
#[tokio::test]
async fn an_abort_waits_until_the_coordinator_has_taken_the_transaction() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    for is_dropped in [false, true] {
        assert_works(&mut producer).await;
        let busy = [RDKafkaErrorCode::ConcurrentTransactions; 100];
        cluster.request_errors(ApiKey::AddPartitionsToTxn, &busy);
        cluster.start_request_tracking();
        let transaction = producer.begin().await.unwrap();
        let sent = transaction.enqueue(record(0)).await.unwrap();
        if is_dropped {
            drop(transaction);
        } else {
            transaction.abort().await.unwrap();
        }
        sent.await.unwrap();
        let outcome = producer.outcome().await;
        assert_eq!(outcome, Some(TransactionOutcome::Aborted));
        let requests = cluster.requests();
        let asked = |key| requests.iter().filter(|one| one.api_key() == key).count();
        assert_eq!(asked(ApiKey::AddPartitionsToTxn), busy.len() + 1);
        assert_eq!(asked(ApiKey::EndTxn), 1);
    }
}

#[tokio::test]
async fn an_abort_that_fails_after_a_drop_is_made_again() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let error = RDKafkaErrorCode::GroupAuthorizationFailed;
    cluster.request_errors(ApiKey::EndTxn, &[error]);
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    drop(transaction);
    let outcome = tokio::time::timeout(DEADLINE, producer.outcome()).await;
    assert_eq!(outcome.unwrap(), None);
    assert_works(&mut producer).await;
    assert_eq!(producer.close().await.undelivered, 0);
}

/// Through the transaction it is used as a producer, also for that.
#[tokio::test]
async fn closed_within_a_transaction_it_ends() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    assert_eq!(transaction.close().await.failed, 0);
    let error = transaction.commit().await.unwrap_err();
    assert!(error.error().is_closed(), "{error:?}");
    drop(error);
    let closed = tokio::time::timeout(DEADLINE, producer.close()).await;
    assert_eq!(closed.unwrap().undelivered, 0);
    assert!(producer.begin().await.unwrap_err().is_closed());
}

#[tokio::test]
async fn a_commit_that_is_stuck_stays_unknown_when_the_producer_is_closed() {
    let (cluster, mut config) = with_coordinator_of_the_transactions();
    config.set("transaction.timeout.ms", "3000");
    let mut producer = initialized(&config).await;
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    cluster.broker_down(2).unwrap();
    let commit = transaction.commit_timeout(Duration::from_millis(200));
    drop(commit.await.unwrap_err());
    for _ in 0..2 {
        assert_eq!(producer.close().await.undelivered, 0);
        let outcome = producer.outcome().await;
        assert_eq!(outcome, Some(TransactionOutcome::Unknown));
    }
    assert!(producer.begin().await.unwrap_err().is_closed());
}

#[tokio::test]
async fn an_init_that_was_given_up_holds_no_close() {
    const HOUR: Duration = Duration::from_secs(3600);
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let context = Arc::new(Counting::default());
    let mut producer: TransactionalProducer<_> = transactional(&cluster)
        .create_with_context(Arc::clone(&context))
        .unwrap();
    let given_up = poll_then_drop(producer.init(HOUR), 1, Drop::AtOnce).await;
    assert!(given_up.is_none());
    let closed = tokio::time::timeout(DEADLINE, producer.close()).await;
    assert_eq!(closed.unwrap().undelivered, 0);
    drop(producer);
    until(|| Arc::strong_count(&context) == 1).await;
}

#[tokio::test]
async fn dropped_with_a_transaction_it_goes_by_itself() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let transaction = producer.begin().await.unwrap();
    transaction.enqueue_detached(record(0)).await.unwrap();
    drop(transaction);
    let context = std::sync::Arc::downgrade(producer.context());
    drop(producer);
    // The client has been destroyed, with all that it held.
    until(|| context.strong_count() == 0).await;
}
