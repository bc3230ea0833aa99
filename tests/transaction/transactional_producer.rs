//! Transactions of the async producer.

mod renewal;
mod retries;
mod stuck;

use std::error::Error;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures::{SinkExt, StreamExt, stream};
use tokio_rdkafka::{
    Access, ApiKey, ClientConfig, ConsumerGroupMetadata, DefaultProducerContext, KafkaError,
    MockCluster, ProduceExt, Producer, ProducerContext, ProducerRecord, RDKafkaErrorCode,
    SendError, SendOnly, TopicPartitionOffset, Transaction, TransactionOutcome,
    TransactionalProducer,
};
use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{DEADLINE, Drop, cluster, config, payloads, poll_then_drop, until};

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

/// Sends with either kind of handle. Returns the number of records.
async fn send_by_each<A: Access>(producer: &Producer<DefaultProducerContext, A>) -> usize {
    let permit = producer.try_reserve().unwrap();
    permit.send(record(6)).await.unwrap();
    producer.sink().send(record(7)).await.unwrap();
    let items = stream::iter([((), [record(8)])]);
    let mut results = items.produce(producer);
    results.next().await.unwrap().1.unwrap();
    let mut results = producer.send_all([record(9)]);
    results.next().await.unwrap().unwrap();
    4
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

    // So are the handles that it hands out, in other tasks too.
    let handle = transaction.handle();
    let task = tokio::spawn(async move { send_by_each(&handle).await });
    assert_eq!(task.await.unwrap(), 4);
    let permit = transaction.reserve_owned().await.unwrap();
    permit.producer().send(record(10)).await.unwrap();
    permit.send(record(11)).await.unwrap();
    sink.producer().send(record(12)).await.unwrap();
    let detached = transaction.enqueue_detached(record(13));
    detached.await.unwrap();
    assert_eq!(transaction.flush().await.unwrap().delivered, 1);
    transaction.commit().await.unwrap();
    assert_eq!(payloads(&cluster, "t").await.len(), 14);
}

/// Handles, permits and sinks that outlive their transaction.
#[tokio::test]
async fn what_is_left_of_a_transaction_sends_nothing() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    for commits in [true, false] {
        let transaction = producer.begin().await.unwrap();
        let clone = transaction.handle();
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
async fn a_full_queue_is_no_failure() {
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

/// Nobody would learn that the offsets are not in it.
#[tokio::test]
async fn offsets_whose_future_is_dropped_are_in_the_transaction_or_fail_it() {
    let cluster = cluster("t", 1);
    let mut config = transactional(&cluster);
    config.set("transaction.timeout.ms", "6000");
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
}

/// Calls a transaction's handle when it is woken or dropped, and panics when it is woken.
struct Calling {
    handle: Producer<DefaultProducerContext, SendOnly>,
    calls: Arc<AtomicUsize>,
}

impl Calling {
    fn call(&self) {
        let _ = self.handle.topic("t");
        drop(self.handle.try_reserve());
        drop(self.handle.try_enqueue(record(9)));
        let _ = self.handle.in_flight_count();
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wake for Calling {
    fn wake(self: Arc<Self>) {
        self.call();
        resume_unwind(Box::new("as asked"));
    }
}

impl std::ops::Drop for Calling {
    fn drop(&mut self) {
        self.call();
    }
}

#[tokio::test]
async fn wakers_that_call_a_transactions_handle_and_panic_stop_nothing() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    for commits in [true, false] {
        let transaction = producer.begin().await.unwrap();
        let handle = transaction.handle();
        let calls = Arc::new(AtomicUsize::new(0));
        let waker = || {
            Waker::from(Arc::new(Calling {
                handle: handle.clone(),
                calls: Arc::clone(&calls),
            }))
        };
        transaction.enqueue_detached(record(0)).await.unwrap();
        let mut flush = Box::pin(transaction.flush());
        let _ = flush.as_mut().poll(&mut Context::from_waker(&waker()));
        drop(flush);
        let mut end = Box::pin(async move {
            if commits {
                transaction.commit().await.map_err(KafkaError::from)
            } else {
                transaction.abort().await
            }
        });
        let before = calls.load(Ordering::SeqCst);
        let polled = end.as_mut().poll(&mut Context::from_waker(&waker()));
        assert!(polled.is_pending());
        // It is woken, and dropped.
        until(|| calls.load(Ordering::SeqCst) >= before + 2).await;
        end.await.unwrap();
        assert_works(&mut producer).await;
    }
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

/// The commit returns the failure, so somebody awaits it.
#[tokio::test]
async fn a_failure_in_a_transaction_is_the_commits_and_is_not_logged() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let (_guard, log) = captured(Level::WARN);
    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::InvalidRecord]);
    let transaction = producer.begin().await.unwrap();
    drop(transaction.enqueue(record(0)).await.unwrap());
    transaction.enqueue_detached(record(1)).await.unwrap();
    transaction.flush().await.unwrap();
    transaction.commit().await.unwrap_err();
    assert!(!log().contains("nobody awaits"), "{}", log());
    assert_eq!(producer.close().await.failed_before, 0);
}
