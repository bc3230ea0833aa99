//! Transactions of the async producer. What is in the log is read by rdkafka's consumer.

use std::cell::Cell;
use std::future::{poll_fn, ready};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{StreamExt, stream};
use libtest_mimic::Trial;
use rdkafka::message::Message as _;
use tokio::sync::Notify;
use tokio_rdkafka::{
    ClientConfig, ConsumerGroupMetadata, KafkaError, Persistence, ProducerRecord, SendError,
    TopicPartitionOffset, Transaction, TransactionOutcome, TransactionalProducer,
};

use crate::support::kafka::{Cluster, DEADLINE, Isolation, Read};
use crate::support::trials::{Module, one_thread};

const MANY: usize = 10_000;

const MODULE: Module = Module("transactional_producer");

pub fn trials() -> Vec<Trial> {
    vec![
        MODULE.trial("aborts_and_commits_are_seen_as_such", aborts_and_commits),
        MODULE.trial("an_abort_may_come_at_once", aborts_at_once),
        MODULE.trial("offsets_move_with_a_commit_alone", offsets),
        MODULE.trial("the_second_producer_fences_the_first", fencing),
        MODULE.trial(
            "records_of_a_fenced_producer_come_back_fenced",
            fencing_with_records_waiting,
        ),
        MODULE.trial("a_producer_is_fenced_while_it_sends", fencing_while_sending),
        MODULE.trial("what_is_dropped_is_whole_or_invisible", drops),
        MODULE.trial_alone(one_thread, "a_stuck_commit_holds_no_worker", stuck),
    ]
}

/// A topic of one partition, and a producer whose transactional id is its name.
async fn setting(cluster: &Cluster) -> (String, TransactionalProducer) {
    let topic = cluster.create_topic(1, 3).await;
    let producer = producer(cluster, &topic).await;
    (topic, producer)
}

async fn producer(cluster: &Cluster, topic: &str) -> TransactionalProducer {
    initialized(cluster.config().set("transactional.id", topic)).await
}

async fn initialized(config: &ClientConfig) -> TransactionalProducer {
    let mut producer: TransactionalProducer = config.create().unwrap();
    producer.init(DEADLINE).await.unwrap();
    producer
}

fn record(topic: &str, number: usize) -> ProducerRecord<'_> {
    ProducerRecord::to(topic).payload(number.to_string())
}

async fn send_numbers(
    transaction: &Transaction<'_>,
    topic: &str,
    numbers: std::ops::Range<usize>,
) -> Result<(), SendError> {
    let mut results = transaction.send_all(numbers.map(|number| record(topic, number)));
    while let Some(result) = results.next().await {
        result?;
    }
    Ok(())
}

/// The numbers that are seen, up to a last record, which this sends.
async fn numbers(
    cluster: &Cluster,
    producer: &mut TransactionalProducer,
    topic: &str,
    isolation: Isolation,
) -> Vec<usize> {
    let transaction = producer.begin().await.unwrap();
    let last = ProducerRecord::to(topic).payload("last");
    transaction.send(last).await.unwrap();
    transaction.commit().await.unwrap();
    let is_last = |read: &Read| read.payload() == Some(b"last");
    let read = cluster.read_until(topic, 0, isolation, is_last);
    let texts = read
        .iter()
        .map(|read| std::str::from_utf8(read.payload().unwrap()).unwrap());
    texts.filter_map(|text| text.parse().ok()).collect()
}

async fn aborts_and_commits(cluster: Cluster) {
    let (topic, mut producer) = setting(&cluster).await;
    let transaction = producer.begin().await.unwrap();
    send_numbers(&transaction, &topic, 0..MANY).await.unwrap();
    transaction.abort().await.unwrap();
    let seen = numbers(&cluster, &mut producer, &topic, Isolation::Committed).await;
    assert!(seen.is_empty(), "{} of an abort", seen.len());

    let (topic, mut producer) = setting(&cluster).await;
    let transaction = producer.begin().await.unwrap();
    send_numbers(&transaction, &topic, 0..MANY).await.unwrap();
    transaction.abort().await.unwrap();
    let seen = numbers(&cluster, &mut producer, &topic, Isolation::Uncommitted).await;
    assert_eq!(seen, (0..MANY).collect::<Vec<_>>());

    let (topic, mut producer) = setting(&cluster).await;
    // With everything in flight at the commit.
    let transaction = producer.begin().await.unwrap();
    let mut futures = Vec::new();
    for number in 0..MANY {
        futures.push(transaction.enqueue(record(&topic, number)).await.unwrap());
    }
    transaction.commit().await.unwrap();
    for delivery in join_all(futures).await {
        delivery.unwrap();
    }
    let seen = numbers(&cluster, &mut producer, &topic, Isolation::Committed).await;
    assert_eq!(seen, (0..MANY).collect::<Vec<_>>());
    producer.close().await;
}

/// The coordinator may not be done with the one before.
async fn aborts_at_once(cluster: Cluster) {
    let (topic, mut producer) = setting(&cluster).await;
    for round in 0..20 {
        let transaction = producer.begin().await.unwrap();
        transaction.send(record(&topic, round)).await.unwrap();
        transaction.commit().await.unwrap();
        let transaction = producer.begin().await.unwrap();
        for _ in 0..100 {
            let late = record(&topic, MANY);
            transaction.enqueue_detached(late).await.unwrap();
        }
        if round % 2 == 0 {
            transaction.abort().await.unwrap();
        }
    }
    let seen = numbers(&cluster, &mut producer, &topic, Isolation::Committed).await;
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

async fn offsets(cluster: Cluster) {
    let (topic, mut producer) = setting(&cluster).await;
    let group = ConsumerGroupMetadata::new(&topic);
    for (offset, commits) in [(10, false), (20, true)] {
        let transaction = producer.begin().await.unwrap();
        let offsets = [TopicPartitionOffset::new(&topic, 0, offset)];
        transaction.send_offsets(&offsets, &group).await.unwrap();
        if commits {
            assert_eq!(cluster.committed(&topic, &topic, 1), [None]);
            transaction.commit().await.unwrap();
        } else {
            transaction.abort().await.unwrap();
        }
    }
    cluster.until_committed(&topic, &topic, &[Some((20, String::new()))]);
}

async fn fencing(cluster: Cluster) {
    let (topic, mut first) = setting(&cluster).await;
    let transaction = first.begin().await.unwrap();
    send_numbers(&transaction, &topic, 0..10).await.unwrap();
    let mut second = producer(&cluster, &topic).await;
    let error = transaction.send(record(&topic, 10)).await.unwrap_err();
    let payload = error.record().get_payload().map(<[u8]>::to_vec);
    assert_eq!(payload.as_deref(), Some(&b"10"[..]));
    assert!(error.is_fatal() && error.is_fenced(), "{error:?}");
    let error = transaction.commit().await.unwrap_err();
    assert!(error.is_fatal() && error.is_fenced(), "{error:?}");
    assert!(error.into_parts().0.is_none());
    let error = first.begin().await.unwrap_err();
    assert!(error.is_fatal() && error.is_fenced(), "{error:?}");
    first.close().await;

    let seen = numbers(&cluster, &mut second, &topic, Isolation::Committed).await;
    assert!(seen.is_empty(), "{seen:?}");
}

/// The record of that number came back, with an error that says that another producer has taken
/// over.
fn assert_fenced(error: &SendError, number: usize) {
    assert!(error.is_fatal() && error.is_fenced(), "{error:?}");
    assert!(!error.is_retriable(), "{error:?}");
    let payload = error.record().get_payload();
    assert_eq!(payload, Some(number.to_string().as_bytes()));
}

/// Some are in librdkafka's queue, some wait for capacity in it.
async fn fencing_with_records_waiting(cluster: Cluster) {
    const CAPACITY: usize = 10;
    let topic = cluster.create_topic(1, 3).await;
    let mut config = cluster.config();
    config
        .set("transactional.id", &topic)
        .set("queue.buffering.max.messages", CAPACITY.to_string())
        // Only a whole batch goes out before a flush.
        .set("batch.num.messages", CAPACITY.to_string())
        .set("linger.ms", "50000");
    let mut first = initialized(&config).await;
    let transaction = first.begin().await.unwrap();
    send_numbers(&transaction, &topic, 0..CAPACITY)
        .await
        .unwrap();
    let one_permit = transaction.reserve().await.unwrap();
    let numbers_left = CAPACITY..4 * CAPACITY;
    let mut sends: Vec<_> = numbers_left
        .clone()
        .map(|number| Box::pin(transaction.send(record(&topic, number))))
        .collect();
    for send in &mut sends {
        assert!(futures::poll!(send).is_pending());
    }
    assert_eq!(transaction.in_flight_count(), CAPACITY - 1);

    let mut second = producer(&cluster, &topic).await;
    assert_eq!(transaction.in_flight_count(), CAPACITY - 1);
    let (flushed, results) = futures::join!(transaction.flush(), join_all(sends));
    assert_eq!(flushed.unwrap().failed, CAPACITY as u64 - 1);
    for (number, result) in numbers_left.zip(results) {
        let error = result.unwrap_err();
        assert_fenced(&error, number);
        assert_eq!(error.persistence(), Persistence::NotPersisted);
    }
    let number = 4 * CAPACITY;
    let error = one_permit.send(record(&topic, number)).await.unwrap_err();
    assert_fenced(&error, number);
    assert_eq!(transaction.in_flight_count(), 0);
    let error = transaction.abort().await.unwrap_err();
    assert!(error.is_fatal() && error.is_fenced(), "{error:?}");
    assert_eq!(first.close().await.undelivered, 0);

    // Those that failed are not in the log.
    let seen = numbers(&cluster, &mut second, &topic, Isolation::Uncommitted).await;
    assert_eq!(seen, (0..CAPACITY).collect::<Vec<_>>());
    let seen = numbers(&cluster, &mut second, &topic, Isolation::Committed).await;
    assert_eq!(seen, [0; 0]);
}

/// Requests are on their way when the second producer comes.
async fn fencing_while_sending(cluster: Cluster) {
    const WINDOW: usize = 100;
    let (topic, mut first) = setting(&cluster).await;
    let transaction = first.begin().await.unwrap();
    let topic = &*topic;
    let transaction = &transaction;
    let send = |number| async move { (number, transaction.send(record(topic, number)).await) };
    let (is_on_its_way, is_fenced) = (Notify::new(), Cell::new(false));
    let sending = async {
        let started = Instant::now();
        let (mut delivered, mut failed) = (0, 0);
        let numbers = stream::iter(0..).take_while(|_| ready(!is_fenced.get()));
        let mut ends = numbers.map(send).buffer_unordered(WINDOW);
        while let Some((number, end)) = ends.next().await {
            assert!(started.elapsed() < DEADLINE, "it is never fenced");
            match end {
                Ok(_) => {
                    delivered += 1;
                    is_on_its_way.notify_one();
                }
                Err(error) => {
                    assert_fenced(&error, number);
                    failed += 1;
                    is_fenced.set(true);
                }
            }
        }
        (delivered, failed)
    };
    let second = async {
        is_on_its_way.notified().await;
        producer(&cluster, topic).await
    };
    let ((delivered, failed), mut second) = futures::join!(sending, second);
    println!("{delivered} delivered, {failed} failed");
    assert_eq!(transaction.in_flight_count(), 0);
    let seen = numbers(&cluster, &mut second, topic, Isolation::Committed).await;
    assert_eq!(seen, [0; 0]);
}

/// Polls a future `polls` times, each time when it has been woken, and drops it if it is not done.
async fn poll_then_drop<F: Future>(future: F, mut polls: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Which future is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Which {
    Send,
    SendOffsets,
    Commit,
    Abort,
    Run,
}

async fn drops(cluster: Cluster) {
    let (topic, mut producer) = setting(&cluster).await;
    let group = ConsumerGroupMetadata::new(&topic);
    let offsets = [TopicPartitionOffset::new(&topic, 0, 1)];
    let mut expected = Vec::new();
    let mut number = 0;
    for which in [
        Which::Send,
        Which::SendOffsets,
        Which::Commit,
        Which::Abort,
        Which::Run,
    ] {
        for polls in 0.. {
            assert!(polls < 50, "{which:?} is never done");
            number += 2;
            let own = number..number + 2;
            let is_done = if which == Which::Run {
                let (topic, own) = (&topic, own.clone());
                let run = producer.run(async move |transaction| {
                    send_numbers(transaction, topic, own).await?;
                    Ok::<_, Failed>(())
                });
                poll_then_drop(run, polls).await.is_some()
            } else {
                let transaction = producer.begin().await.unwrap();
                send_numbers(&transaction, &topic, own.clone())
                    .await
                    .unwrap();
                match which {
                    Which::Send => {
                        let late = transaction.send(record(&topic, usize::MAX));
                        poll_then_drop(late, polls).await.is_some()
                    }
                    Which::SendOffsets => {
                        let sent = transaction.send_offsets(&offsets, &group);
                        poll_then_drop(sent, polls).await.is_some()
                    }
                    Which::Commit => poll_then_drop(transaction.commit(), polls).await.is_some(),
                    _ => poll_then_drop(transaction.abort(), polls).await.is_some(),
                }
            };
            match producer.outcome().await {
                Some(TransactionOutcome::Committed) => expected.extend(own),
                Some(TransactionOutcome::Aborted) => {}
                // Dropped when it was about to begin.
                None => assert_eq!(which, Which::Run, "{polls}"),
                outcome => panic!("{which:?} after {polls} polls: {outcome:?}"),
            }
            if is_done {
                break;
            }
        }
    }
    let seen = numbers(&cluster, &mut producer, &topic, Isolation::Committed).await;
    assert_eq!(seen, expected);
    assert!(!expected.is_empty());
}

/// Either.
#[derive(Debug)]
struct Failed;

impl From<KafkaError> for Failed {
    fn from(_: KafkaError) -> Self {
        Self
    }
}

impl From<SendError> for Failed {
    fn from(_: SendError) -> Self {
        Self
    }
}

/// All nodes are stopped, the coordinator among them.
async fn stuck(cluster: Cluster) {
    let (topic, mut producer) = setting(&cluster).await;
    let transaction = producer.begin().await.unwrap();
    send_numbers(&transaction, &topic, 0..10).await.unwrap();
    for id in 1..=3 {
        Cluster::node("pause", id);
    }
    let mut ticks = 0;
    let mut commit = Box::pin(transaction.commit_timeout(Duration::from_secs(2)));
    let committed = loop {
        tokio::select! {
            committed = &mut commit => break committed,
            () = tokio::time::sleep(Duration::from_millis(1)) => ticks += 1,
        }
    };
    drop(commit);
    for id in 1..=3 {
        Cluster::node("resume", id);
    }
    assert!(ticks >= 100, "{ticks}");
    let error = committed.unwrap_err();
    assert!(error.is_retriable(), "{error:?}");
    let (transaction, _) = error.into_parts();
    transaction.unwrap().commit().await.unwrap();
    let seen = numbers(&cluster, &mut producer, &topic, Isolation::Committed).await;
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
}
