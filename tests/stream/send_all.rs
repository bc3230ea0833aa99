//! `send_all` and its batches: records that librdkafka takes in one call are what they would be one
//! by one.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Mutex, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::SystemTime;

use bytes::Bytes;
use futures::future::maybe_done;
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::oneshot;
use tokio_rdkafka::{
    Access, ApiKey, ClientContext, DefaultProducerContext, DeliveryResult, Headers, MockCluster,
    PartitionRequest, Partitioner, Producer, ProducerContext, ProducerRecord, RDKafkaErrorCode,
    SendError, Timestamp, Topic, TransactionalProducer,
};
use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{
    Counting, DEADLINE, Drop, assert_capacity_is_whole, blocking_until, cluster, config, payloads,
    poll_then_drop, until,
};

/// Longer than the longest run.
const COUNT: usize = 100;

fn record(index: usize) -> ProducerRecord<'static> {
    ProducerRecord::to("t").payload(index.to_string())
}

fn numbers(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|number| number.to_string())
        .collect()
}

fn producer_with_capacity(cluster: &MockCluster, capacity: usize) -> Producer {
    let mut config = config(cluster);
    config.set("queue.buffering.max.messages", capacity.to_string());
    config.create().unwrap()
}

/// Records of all kinds, to two topics.
fn mixed<'a>(topic: &'a Topic, large: &'a [u8]) -> Vec<ProducerRecord<'a>> {
    let mut random = 1_usize;
    let kinds = (0..1_000).map(|index| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let text = index.to_string();
        let to = match random >> 40 & 31 {
            0 => ProducerRecord::to("u"),
            1 => ProducerRecord::to("u".to_owned()),
            2..=15 => ProducerRecord::to(topic),
            _ => ProducerRecord::to("t"),
        };
        match random >> 50 & 63 {
            0 => to
                .payload(text)
                .headers(Headers::new().append("h", Some("v"))),
            1 => to.payload(text).timestamp(1_700_000_000_000 + index),
            2 => to.payload(vec![b'v'; 2_000]),
            3 => to.payload(large),
            4 => to.payload(text).partition(0),
            5 => to.key(text),
            6 => to.key("").payload(""),
            7 => to,
            8..=30 => to.key(vec![b'k'; 100]).payload(text),
            _ => to.payload(text),
        }
    });
    kinds.collect()
}

#[tokio::test]
async fn records_of_all_kinds_arrive_in_order_as_they_were() {
    let cluster = cluster("t", 1);
    cluster.create_topic("u", 1, 1).unwrap();
    for capacity in [10_000, 100, 40] {
        let producer = producer_with_capacity(&cluster, capacity);
        let topic = producer.topic("t").unwrap();
        let large = [7; 3_000];
        let mut arrived = [
            cluster.records("t").await.unwrap().len(),
            cluster.records("u").await.unwrap().len(),
        ];
        let records = mixed(&topic, &large);
        let which = |record: &ProducerRecord| usize::from(record.get_topic() == "u");
        let mut results = producer.send_all(records.clone()).max_in_flight(300);
        let before = arrived;
        for record in &records {
            let delivery = results.next().await.unwrap().unwrap();
            let place = &mut arrived[which(record)];
            assert_eq!(delivery.offset(), i64::try_from(*place).ok());
            *place += 1;
        }
        assert!(results.next().await.is_none());
        for (topic, before) in ["t", "u"].iter().zip(before) {
            let found = cluster.records(topic).await.unwrap().split_off(before);
            let sent: Vec<_> = records
                .iter()
                .filter(|sent| sent.get_topic() == *topic)
                .collect();
            assert_eq!(found.len(), sent.len());
            for (found, sent) in found.iter().zip(sent) {
                assert_eq!(found.key(), sent.get_key());
                assert_eq!(found.payload(), sent.get_payload());
                assert_eq!(found.headers(), sent.get_headers());
                if let Some(millis) = sent.get_timestamp() {
                    assert_eq!(found.timestamp(), Timestamp::CreateTime(millis));
                }
            }
        }
        assert_capacity_is_whole(&producer, capacity);
    }
}

/// Waits for another millisecond.
fn tick() {
    let now = || {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis()
    };
    let before = now();
    while now() == before {}
}

#[tokio::test]
async fn those_of_a_run_have_one_timestamp() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    // A run of 32, one of 5, one that is alone, and one of 2.
    let records = (0..40).map(|index| {
        tick();
        match index {
            37 => record(index).headers(Headers::new().append("h", Some("v"))),
            _ => record(index),
        }
    });
    assert_eq!(producer.send_all(records).count().await, 40);
    let found = cluster.records("t").await.unwrap();
    let timestamps: Vec<_> = found.iter().map(|found| found.timestamp()).collect();
    for run in [&timestamps[..32], &timestamps[32..37], &timestamps[38..]] {
        assert!(run.iter().all(|timestamp| *timestamp == run[0]), "{run:?}");
    }
    assert_ne!(timestamps[0], timestamps[32]);
    assert_ne!(timestamps[37], timestamps[38]);
}

/// Chooses by the key, and keeps the opaques that its callback has had.
#[derive(Default)]
struct ByKey {
    delivered: Mutex<Vec<usize>>,
    lengths: Mutex<Vec<usize>>,
}

impl ClientContext for ByKey {}

impl ProducerContext for ByKey {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        assert!(result.is_ok());
        self.delivered.lock().unwrap().push(opaque);
    }

    fn partitioner(&self) -> Option<&dyn Partitioner> {
        Some(self)
    }
}

impl Partitioner for ByKey {
    fn partition(&self, request: &PartitionRequest<'_>) -> i32 {
        self.lengths.lock().unwrap().push(request.payload_len());
        match request.key() {
            Some(b"none") => -1,
            Some(b"panic") => panic!("cannot choose"),
            key => i32::from(key.is_some()),
        }
    }
}

/// What is refused within a batch, by the partitioner or for its size, has the error that it has
/// alone.
#[tokio::test]
async fn those_that_are_refused_in_a_run_fail_alone() {
    let cluster = cluster("t", 2);
    let producer: Producer<ByKey> = config(&cluster)
        .set("message.max.bytes", "1000")
        .set("queue.buffering.max.messages", "1000")
        .create_with_context(ByKey::default())
        .unwrap();
    let record = |index: usize| {
        let record = ProducerRecord::with_opaque_to("t", index).payload(vec![b'v'; index]);
        match index % 10 {
            3 => record.key("none"),
            5 => record.key("panic"),
            7 => record.payload(vec![b'v'; 1_000]),
            _ if index % 2 == 0 => record.key(index.to_string()),
            _ => record,
        }
    };
    // Until the topic is known, nobody chooses.
    producer.send(record(0)).await.unwrap();
    let mut alone = Vec::new();
    for index in [3, 5, 7] {
        alone.push(producer.send(record(index)).await.unwrap_err().to_string());
    }
    producer.context().delivered.lock().unwrap().clear();
    producer.context().lengths.lock().unwrap().clear();

    let results = producer.send_all((0..COUNT).map(record));
    let results: Vec<_> = results.collect().await;
    let mut delivered = Vec::new();
    for (index, result) in results.into_iter().enumerate() {
        let Some(which) = [3, 5, 7].iter().position(|digit| index % 10 == *digit) else {
            assert_eq!(result.unwrap().partition(), i32::from(index % 2 == 0));
            delivered.push(index);
            continue;
        };
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), alone[which]);
        assert_eq!(error.record().get_key(), record(index).get_key());
        assert_eq!(error.record().get_payload(), record(index).get_payload());
        assert_eq!(error.into_parts().1, Some(index));
    }
    let mut seen = producer.context().delivered.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, delivered);
    let asked: Vec<_> = (0..COUNT).filter(|index| index % 10 != 7).collect();
    assert_eq!(*producer.context().lengths.lock().unwrap(), asked);
    assert_capacity_is_whole(&producer, 1_000);
    assert_eq!(producer.close().await.undelivered, 0);
}

#[tokio::test]
async fn failures_between_runs_stay_in_their_places() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 1_000);
    let records = (0..COUNT).map(|index| match index % 10 {
        5 => record(index).partition(9),
        6 => record(index).partition(-2),
        7 => ProducerRecord::to("").payload("to nowhere"),
        8 => ProducerRecord::to("a\0b").payload("to nowhere"),
        _ => record(index),
    });
    producer.send(record(COUNT)).await.unwrap();
    let mut results = producer.send_all(records);
    for index in 0..COUNT {
        let field = match (index % 10, results.next().await.unwrap()) {
            (0..=4 | 9, result) => {
                result.unwrap();
                continue;
            }
            (5, result) => {
                let error = result.unwrap_err();
                assert_eq!(error.code(), Some(RDKafkaErrorCode::UnknownPartition));
                continue;
            }
            (_, result) => result.unwrap_err().error().field().map(str::to_owned),
        };
        let expected = if index % 10 == 6 {
            "partition"
        } else {
            "topic"
        };
        assert_eq!(field.as_deref(), Some(expected));
    }
    let arrived = [COUNT]
        .into_iter()
        .chain((0..COUNT).filter(|index| matches!(index % 10, 0..=4 | 9)));
    assert_eq!(payloads(&cluster, "t").await, numbers(arrived));
    assert_capacity_is_whole(&producer, 1_000);
}

/// Polls a stream once.
fn poll_once<S: StreamExt + Unpin>(stream: &mut S) -> Option<Option<S::Item>> {
    stream.next().now_or_never()
}

#[tokio::test]
async fn a_batch_acquires_what_capacity_there_is_and_overtakes_nobody() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 10);
    let mut permits: Vec<_> = (0..7).map(|_| producer.try_reserve().unwrap()).collect();
    let taken = RefCell::new(0);
    let records = (0..20).map(|index| {
        *taken.borrow_mut() += 1;
        record(index)
    });
    let mut results = producer.send_all(records);
    // Nothing is served before the first await: what is in flight is what was enqueued.
    assert!(poll_once(&mut results).is_none());
    assert_eq!((producer.in_flight_count(), *taken.borrow()), (3, 4));
    let mut other = pin!(producer.enqueue(record(100)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(other.as_mut().poll(&mut cx).is_pending());
    // For the stream's next record, for the other, and none for the stream's next but one.
    drop(permits.pop());
    drop(permits.pop());
    assert!(poll_once(&mut results).is_none());
    assert_eq!((producer.in_flight_count(), *taken.borrow()), (4, 5));
    drop(other.await.unwrap());
    drop(permits);
    assert_eq!(results.count().await, 20);
    let expected = (0..4).chain([100]).chain(4..20);
    assert_eq!(payloads(&cluster, "t").await, numbers(expected));
    assert_capacity_is_whole(&producer, 10);
}

#[tokio::test]
async fn while_others_wait_no_run_is_begun() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.kbytes", "1000")
        .create()
        .unwrap();
    // For all but one of 600 000 bytes.
    let permit = producer.reserve_bytes(500_000).await.unwrap();
    let mut large = pin!(producer.enqueue(ProducerRecord::to("t").payload(vec![b'v'; 600_000])));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(large.as_mut().poll(&mut cx).is_pending());
    let mut results = producer.send_all((0..COUNT).map(record));
    assert!(poll_once(&mut results).is_none());
    assert_eq!(producer.in_flight_count(), 0);
    drop(permit);
    large.await.unwrap().await.unwrap();
    assert_eq!(results.count().await, COUNT);
    assert_eq!(cluster.records("t").await.unwrap().len(), COUNT + 1);
}

/// The capacity that is acquired for a whole batch is not missed by who asks meanwhile.
#[tokio::test]
async fn the_iterator_finds_the_capacity_that_its_records_leave() {
    let cluster = cluster("t", 1);
    for capacity in [10, 32, 40, 70] {
        let producer = producer_with_capacity(&cluster, capacity);
        let records = (1..capacity).map(|index| {
            drop(producer.try_reserve().expect("capacity for one more"));
            record(index)
        });
        let mut results = producer.send_all(records);
        assert!(poll_once(&mut results).is_none());
        assert_eq!(producer.in_flight_count(), capacity - 1);
        assert_eq!(results.count().await, capacity - 1);
    }
}

#[tokio::test]
async fn while_results_are_returned_most_of_the_window_is_in_use() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    // In all fewer than it takes to have others take their turn.
    for max_in_flight in [1, 7, 16, 100] {
        let taken = RefCell::new(0);
        let records = (0..200).map(|index| {
            *taken.borrow_mut() += 1;
            record(index)
        });
        let mut results = producer.send_all(records).max_in_flight(max_in_flight);
        for returned in 1..=200 {
            results.next().await.unwrap().unwrap();
            until(|| producer.in_flight_count() == 0).await;
            let unused = (returned + max_in_flight).min(200) - *taken.borrow();
            assert!(
                unused <= (max_in_flight / 8).max(1),
                "{unused} of {max_in_flight}"
            );
        }
    }
}

#[tokio::test]
async fn dropped_at_any_poll_point_it_loses_nothing() {
    for (capacity, max_in_flight) in [(40, 1_000), (1_000, 40)] {
        let cluster = cluster("t", 1);
        let producer: Producer<Counting> = config(&cluster)
            .set("queue.buffering.max.messages", capacity.to_string())
            .create_with_context(Counting::default())
            .unwrap();
        for polls in 0.. {
            assert!(polls < 200, "it is never done");
            let mut is_done = false;
            for how in [Drop::WhenWoken, Drop::AtOnce] {
                let records = (0..COUNT).map(|index| {
                    let record = ProducerRecord::with_opaque_to("t", index);
                    record.payload(index.to_string())
                });
                let results = producer.send_all(records).max_in_flight(max_in_flight);
                let output = poll_then_drop(results.count(), polls, how).await;
                is_done = output.is_some();
                until(|| producer.in_flight_count() == 0).await;
                assert_capacity_is_whole(&producer, capacity);
            }
            if is_done {
                break;
            }
        }
        assert_eq!(producer.context().failed(), 0);
        let seen = producer.context().seen();
        assert!(!seen.is_empty());
        assert_eq!(payloads(&cluster, "t").await, numbers(seen));
    }
}

/// The records of a run have numbers, by which those who wait for earlier ones tell them apart.
#[tokio::test]
async fn a_flush_does_not_wait_for_a_later_run() {
    let cluster = MockCluster::new(2).unwrap();
    for (topic, leader) in [("t", 1), ("down", 2)] {
        cluster.create_topic(topic, 1, 1).unwrap();
        cluster.partition_leader(topic, 0, Some(leader)).unwrap();
    }
    let producer: Producer = config(&cluster).create().unwrap();
    producer.send(ProducerRecord::to("down")).await.unwrap();
    cluster.broker_down(2).unwrap();
    let late = producer.try_enqueue(ProducerRecord::to("down")).unwrap();
    let mut flush = pin!(producer.flush());
    assert!(flush.as_mut().now_or_never().is_none());
    assert_eq!(
        producer.send_all((0..COUNT).map(record)).count().await,
        COUNT
    );
    assert!(flush.as_mut().now_or_never().is_none());
    cluster.broker_up(2).unwrap();
    assert_eq!(flush.await.unwrap().delivered, 1);
    late.await.unwrap();
}

#[tokio::test]
async fn when_the_iterator_panics_nothing_is_lost() {
    let cluster = cluster("t", 1);
    let producer = producer_with_capacity(&cluster, 1_000);
    let records = (0..COUNT + 1).map(|index| match index {
        40 => panic!("the iterator's"),
        index => record(index),
    });
    let mut results = producer.send_all(records);
    let panicked = catch_unwind(AssertUnwindSafe(|| poll_once(&mut results)));
    assert!(panicked.is_err());
    assert_eq!(producer.in_flight_count(), 40);
    // It goes on behind the one that was not made.
    assert_eq!(results.size_hint().0, COUNT);
    let results: Vec<_> = results.collect().await;
    assert_eq!(results.len(), COUNT);
    for (index, result) in results.into_iter().enumerate() {
        assert_eq!(result.unwrap().offset(), i64::try_from(index).ok());
    }
    let others = (0..COUNT + 1).filter(|&index| index != 40);
    assert_eq!(payloads(&cluster, "t").await, numbers(others));
    assert_capacity_is_whole(&producer, 1_000);
}

/// A payload whose drop panics.
struct Panics(String);

impl AsRef<[u8]> for Panics {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::ops::Drop for Panics {
    fn drop(&mut self) {
        // Without the message of the hook.
        resume_unwind(Box::new("as asked"));
    }
}

#[tokio::test]
async fn payloads_whose_drop_panics_are_logged_and_nothing_is_lost() {
    let (_guard, log) = captured(Level::INFO);
    let cluster = cluster("t", 1);
    cluster.create_topic("u", 1, 1).unwrap();
    let producer = producer_with_capacity(&cluster, 1_000);
    let records = (0..COUNT).map(|index| {
        let topic = if index % 50 < 25 { "t" } else { "u" };
        let text = index.to_string();
        let record = ProducerRecord::to(topic);
        match index % 10 {
            3 | 4 => record.payload(Bytes::from_owner(Panics(text))),
            // It goes by itself.
            5 => record.partition(0).payload(Bytes::from_owner(Panics(text))),
            _ => record.payload(text),
        }
    });
    let results: Vec<_> = producer.send_all(records).collect().await;
    assert_eq!(
        results.iter().filter(|result| result.is_ok()).count(),
        COUNT
    );
    let (t, u) = (0..COUNT).partition::<Vec<_>, _>(|index| index % 50 < 25);
    assert_eq!(payloads(&cluster, "t").await, numbers(t));
    assert_eq!(payloads(&cluster, "u").await, numbers(u));
    assert_capacity_is_whole(&producer, 1_000);
    assert_eq!(log().matches("the drop of a payload panicked").count(), 30);
}

/// All results of records of which some were in a run when something happened in the iterator: they
/// come back as they were, with an error.
async fn refused<A: Access>(
    producer: &Producer<DefaultProducerContext, A>,
    mut happens: impl FnMut(),
) -> Vec<SendError> {
    let records = (0..10).map(|index| {
        if index == 5 {
            happens();
        }
        record(index)
    });
    let results: Vec<_> = producer.send_all(records).collect().await;
    assert_eq!(results.len(), 10);
    let errors = results.into_iter().enumerate().map(|(index, result)| {
        let error = result.unwrap_err();
        let payload = index.to_string();
        assert_eq!(error.record().get_payload(), Some(payload.as_bytes()));
        error
    });
    errors.collect()
}

#[tokio::test]
async fn a_close_in_the_middle_of_a_run_refuses_it() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let close = || assert!(producer.close().now_or_never().is_none());
    for error in refused(&producer, close).await {
        assert!(error.is_closed(), "{error}");
    }
    assert_eq!(producer.close().await.undelivered, 0);
    assert!(cluster.records("t").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_fatal_error_in_the_middle_of_a_run_is_that_of_its_records() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = config(&cluster)
        .set("enable.idempotence", "true")
        .set("queue.buffering.max.messages", "1000")
        .create()
        .unwrap();
    let in_flight = producer.try_enqueue(record(0)).unwrap();
    let code = RDKafkaErrorCode::OutOfOrderSequenceNumber;
    cluster.request_errors(ApiKey::Produce, &[code]);
    let until_fatal = || {
        cluster.broker_up(1).unwrap();
        blocking_until(|| producer.fatal_error().is_some());
    };
    for error in refused(&producer, until_fatal).await {
        assert!(error.is_fatal(), "{error}");
        assert_eq!(error.code(), Some(code));
    }
    in_flight.await.unwrap_err();
    assert_capacity_is_whole(&producer, 1_000);
}

async fn transactional(cluster: &MockCluster) -> TransactionalProducer {
    let mut config = config(cluster);
    config
        .set("transactional.id", "tests")
        .set("message.max.bytes", "1000");
    config.set("queue.buffering.max.messages", "1000");
    let mut producer: TransactionalProducer = config.create().unwrap();
    producer.init(DEADLINE).await.unwrap();
    producer
}

#[tokio::test]
async fn runs_are_part_of_their_transaction() {
    let cluster = cluster("t", 1);
    let mut producer = transactional(&cluster).await;
    let transaction = producer.begin().await.unwrap();
    let results: Vec<_> = transaction.send_all((0..COUNT).map(record)).collect().await;
    assert!(results.iter().all(Result::is_ok));
    transaction.commit().await.unwrap();
    assert_eq!(payloads(&cluster, "t").await, numbers(0..COUNT));

    // One that is refused in a run is a failure of the transaction.
    let transaction = producer.begin().await.unwrap();
    let records = (0..10).map(|index| match index {
        5 => record(index).payload(vec![b'v'; 1_000]),
        _ => record(index),
    });
    let results: Vec<_> = transaction.send_all(records).collect().await;
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    assert!(transaction.commit().await.unwrap_err().requires_abort());
}

#[tokio::test]
async fn a_commit_in_the_middle_of_a_run_refuses_it() {
    let cluster = cluster("t", 1);
    let mut producer = transactional(&cluster).await;
    let transaction = producer.begin().await.unwrap();
    let clone = Producer::clone(&transaction);
    let mut commit = Box::pin(maybe_done(transaction.commit()));
    let begin_commit = || {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = commit.as_mut().poll(&mut cx);
    };
    for error in refused(&clone, begin_commit).await {
        assert_eq!(error.code(), Some(RDKafkaErrorCode::State), "{error}");
        assert!(error.to_string().contains("has been committed or aborted"));
    }
    commit.as_mut().await;
    commit.as_mut().take_output().unwrap().unwrap();
    assert_capacity_is_whole(&clone, 1_000);
    assert!(cluster.records("t").await.unwrap().is_empty());
}

/// While the iterator blocks, the queue is overbooked because of the batch, for another's record.
#[tokio::test]
async fn a_batch_that_takes_long_raises_no_limit_for_good() {
    const KBYTES: usize = 64;

    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.kbytes", KBYTES.to_string())
        .create()
        .unwrap();
    let (go_on, may_go_on) = mpsc::channel();
    let (blocks, is_blocked) = oneshot::channel();
    let mut blocks = Some(blocks);
    let slow = producer.clone();
    let sending = thread::spawn(move || {
        let records = (0..COUNT).map(|index| {
            if let Some(blocks) = blocks.take_if(|_| index == 3) {
                blocks.send(()).unwrap();
                may_go_on.recv().unwrap();
            }
            record(index)
        });
        let sent = slow.send_all(records).collect::<Vec<_>>();
        futures::executor::block_on(sent).len()
    });
    is_blocked.await.unwrap();
    let large = ProducerRecord::to("t").payload(vec![0; 50 * 1024]);
    producer.send(large).await.unwrap();
    go_on.send(()).unwrap();
    until(|| sending.is_finished()).await;
    assert_eq!(sending.join().unwrap(), COUNT);

    assert_eq!(producer.in_flight_count(), 0);
    let mut permits = Vec::new();
    while let Some(permit) = producer.reserve_bytes(1024).now_or_never() {
        permits.push(permit.unwrap());
    }
    assert_eq!(permits.len(), KBYTES);
}
