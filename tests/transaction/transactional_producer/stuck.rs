//! Calls that wait for a coordinator: they hold nothing else up, and are resumed.

use std::sync::Arc;
use std::time::Duration;

use tokio_rdkafka::{
    ApiKey, ClientConfig, ClusterInfo, MockCluster, MockCoordinator, Producer, ProducerRecord,
    RDKafkaErrorCode, TransactionOutcome, TransactionalProducer,
};

use super::{assert_works, initialized, record, send_offsets, transactional};
use crate::support::mock::{Counting, DEADLINE, Drop, cluster, payloads, poll_then_drop, until};

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
fn with_coordinator_of_the_group(brokers: i32) -> (MockCluster, ClientConfig) {
    let cluster = MockCluster::new(brokers).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    let group = MockCoordinator::Group("group".to_owned());
    cluster.coordinator(group, 2).unwrap();
    let id = MockCoordinator::Transaction("tests".to_owned());
    cluster.coordinator(id, 1).unwrap();
    let config = transactional(&cluster);
    (cluster, config)
}

/// The group's coordinator leaves the cluster, and librdkafka still waits for it: without
/// connections that are closed when they are idle, it would do so for ever.
#[tokio::test]
async fn offsets_reach_the_next_coordinator_of_the_group() {
    let (cluster, mut config) = with_coordinator_of_the_group(2);
    // Sooner than by default.
    config.set("connections.max.idle.ms", "2000");
    let mut producer = initialized(&config).await;
    leave_the_cluster(&cluster, &mut producer).await;
}

/// Broker 2 leaves it, and the next offsets reach broker 1.
async fn leave_the_cluster(cluster: &MockCluster, producer: &mut TransactionalProducer) {
    let transaction = producer.begin().await.unwrap();
    send_offsets(&transaction).await.unwrap();
    transaction.commit().await.unwrap();

    cluster.broker_decommission(2).unwrap();
    let group = MockCoordinator::Group("group".to_owned());
    cluster.coordinator(group, 1).unwrap();
    // Until then, the wait is for a broker that may come back.
    let lists_it = |cluster: ClusterInfo| cluster.brokers().iter().any(|broker| broker.id() == 2);
    while lists_it(producer.cluster(DEADLINE).await.unwrap()) {}
    let transaction = producer.begin().await.unwrap();
    send_offsets(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Committed));
}

/// The same, with connections that are never closed. The third broker is not connected, until
/// something makes librdkafka do it.
#[tokio::test]
async fn offsets_reach_the_next_coordinator_though_no_connection_is_idle() {
    let (cluster, mut config) = with_coordinator_of_the_group(3);
    config.set("connections.max.idle.ms", "0");
    let mut producer = initialized(&config).await;
    leave_the_cluster(&cluster, &mut producer).await;
}

/// librdkafka waits without a limit for a coordinator of the group: nobody has to wait with it.
#[tokio::test]
async fn a_group_without_a_coordinator_holds_nobody() {
    let (cluster, mut config) = with_coordinator_of_the_group(2);
    config.set("transaction.timeout.ms", "6000");
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
    let (cluster, mut config) = with_coordinator_of_the_group(2);
    config.set("transaction.timeout.ms", "6000");
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
async fn begin_waits_for_an_init_whose_future_was_dropped() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let mut producer: TransactionalProducer = transactional(&cluster).create().unwrap();
    let dropped = poll_then_drop(producer.init(DEADLINE), 1, Drop::AtOnce).await;
    assert!(dropped.is_none());
    cluster.broker_up(1).unwrap();
    assert_works(&mut producer).await;
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

#[tokio::test]
async fn a_commit_that_is_stuck_stays_unknown_when_the_producer_is_closed() {
    let (cluster, mut config) = with_coordinator_of_the_transactions();
    config.set("transaction.timeout.ms", "6000");
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
