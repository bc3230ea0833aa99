//! Functions that are run again after an abort.

use std::time::Duration;

use tokio_rdkafka::{
    ApiKey, KafkaError, MockCluster, RDKafkaErrorCode, RetryPolicy, SendError, Transaction,
    TransactionOutcome, TransactionalProducer,
};

use super::{assert_works, initialized, record, transactional};
use crate::support::mock::{Drop, cluster, payloads, poll_then_drop};

fn at_once(retries: u32) -> RetryPolicy {
    RetryPolicy::new(retries).backoff(Duration::ZERO, Duration::ZERO)
}

/// Sends a record in each try. Returns the number of tries and the result.
async fn tries(
    producer: &mut TransactionalProducer,
    policy: RetryPolicy,
) -> (u32, Result<(), SendErrorOrNot>) {
    let mut tries = 0;
    let result = producer
        .run_with_retries(policy, async |transaction| {
            tries += 1;
            transaction.send(record(0)).await?;
            Ok::<_, SendErrorOrNot>(())
        })
        .await;
    (tries, result)
}

#[derive(Debug)]
struct SendErrorOrNot(KafkaError);

impl From<KafkaError> for SendErrorOrNot {
    fn from(error: KafkaError) -> Self {
        Self(error)
    }
}

impl From<SendError> for SendErrorOrNot {
    fn from(error: SendError) -> Self {
        Self(error.into())
    }
}

async fn setting() -> (MockCluster, TransactionalProducer) {
    let cluster = cluster("t", 1);
    let producer = initialized(&transactional(&cluster)).await;
    (cluster, producer)
}

#[tokio::test]
async fn a_failure_that_may_go_away_is_tried_again_within_the_bound() {
    let (cluster, mut producer) = setting().await;
    let error = RDKafkaErrorCode::KafkaStorageError;
    for (failures, retries, expected) in [(0, 0, 1), (2, 3, 3), (2, 2, 3), (3, 2, 3)] {
        cluster.request_errors(ApiKey::AddPartitionsToTxn, &vec![error; failures]);
        let (tries, result) = tries(&mut producer, at_once(retries)).await;
        assert_eq!(tries, expected, "{result:?}");
        let is_enough = failures <= retries as usize;
        assert_eq!(result.is_ok(), is_enough, "{result:?}");
        let outcome = [TransactionOutcome::Aborted, TransactionOutcome::Committed];
        let outcome = outcome[usize::from(is_enough)];
        assert_eq!(producer.outcome().await, Some(outcome));
        assert_works(&mut producer).await;
    }
    let report = producer.close().await;
    assert_eq!(report.undelivered, 0);
}

/// An error that is retriable, but not the transaction's: its queue is full.
fn retriable(transaction: &Transaction<'_>) -> KafkaError {
    let _all = transaction.try_reserve().unwrap();
    KafkaError::from(transaction.try_enqueue(record(0)).unwrap_err().into_owned())
}

#[tokio::test]
async fn what_would_fail_again_is_tried_once() {
    let (cluster, mut producer) = setting().await;
    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::InvalidRecord]);
    let (tries, result) = tries(&mut producer, at_once(9)).await;
    assert_eq!(tries, 1, "{result:?}");
    let code = result.unwrap_err().0.code();
    assert_eq!(code, Some(RDKafkaErrorCode::InvalidRecord));

    // The function's own error is none of the transaction, whatever it looks like.
    let mut config = transactional(&cluster);
    config.set("queue.buffering.max.messages", "1");
    let mut producer = initialized(&config).await;
    let mut runs = 0;
    let own = producer
        .run_with_retries(at_once(9), async |transaction| {
            runs += 1;
            transaction
                .send(record(0))
                .await
                .map_err(KafkaError::from)?;
            Err::<(), KafkaError>(retriable(transaction))
        })
        .await;
    assert!(own.is_err());
    assert_eq!(runs, 1);
}

#[tokio::test]
async fn a_fatal_error_is_tried_again_if_nothing_was_committed() {
    let (cluster, mut producer) = setting().await;
    cluster.request_errors(
        ApiKey::EndTxn,
        &[RDKafkaErrorCode::InvalidTransactionalState],
    );
    let (tries, result) = tries(&mut producer, at_once(1)).await;
    result.unwrap();
    assert_eq!((tries, producer.renewals()), (2, 1));
    cluster.request_errors(ApiKey::EndTxn, &[RDKafkaErrorCode::ProducerFenced]);
    let (tries, result) = self::tries(&mut producer, at_once(9)).await;
    assert!(result.unwrap_err().0.is_fenced());
    assert_eq!(tries, 1);
}

#[tokio::test]
async fn a_commit_that_takes_long_is_resumed_and_not_run_again() {
    let cluster = cluster("t", 1);
    let mut config = transactional(&cluster);
    // Long enough for a record on a busy machine.
    config.set("transaction.timeout.ms", "5000");
    config.set("message.timeout.ms", "5000");
    let mut producer = initialized(&config).await;
    // librdkafka waits longer and longer between its own tries, up to a second: for longer in all.
    let busy = [RDKafkaErrorCode::CoordinatorLoadInProgress; 10];
    cluster.request_errors(ApiKey::EndTxn, &busy);
    let (tries, result) = tries(&mut producer, at_once(9)).await;
    result.unwrap();
    assert_eq!(tries, 1);
    assert_eq!(payloads(&cluster, "t").await, ["0"]);
}

#[tokio::test]
async fn it_can_be_spawned() {
    let (_cluster, mut producer) = setting().await;

    let spawned = tokio::spawn(async move {
        producer
            .run_with_retries(at_once(1), async |transaction| {
                let delivery = transaction.send(record(0)).await?;
                Ok::<_, KafkaError>(delivery.offset())
            })
            .await
    });
    assert_eq!(spawned.await.unwrap().unwrap(), Some(0));
}

#[tokio::test]
async fn dropped_in_a_try_it_leaves_no_trace() {
    let (cluster, mut producer) = setting().await;
    for polls in 0..100 {
        cluster.request_errors(
            ApiKey::AddPartitionsToTxn,
            &[RDKafkaErrorCode::KafkaStorageError],
        );
        let mut has_run = false;
        let run = producer.run_with_retries(at_once(9), async |transaction| {
            let sent = transaction.send(record(0)).await;
            has_run = true;
            sent.map(std::mem::drop).map_err(KafkaError::from)
        });
        let ended = poll_then_drop(run, polls, Drop::WhenWoken).await;
        cluster.clear_request_errors(ApiKey::AddPartitionsToTxn);
        assert_works(&mut producer).await;
        // In its second try, it succeeds.
        if let Some(result) = ended {
            result.unwrap();
            assert!(has_run && polls > 1);
            return;
        }
    }
    panic!("it never ended");
}
