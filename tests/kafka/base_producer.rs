//! Transactions of the synchronous producer. What is in the log is read by rdkafka's consumer, in
//! both isolation levels.

use std::sync::Mutex;
use std::time::Duration;

use futures::executor::block_on;
use libtest_mimic::Trial;
use rdkafka::message::Message as _;
use tokio_rdkafka::{
    BaseProducer, ClientContext, ConsumerGroupMetadata, DeliveryResult, KafkaError, Persistence,
    ProducerContext, ProducerRecord, RDKafkaErrorCode as Code, TopicPartitionOffset,
};

use crate::support::kafka::{Cluster, DEADLINE, Isolation, Read};
use crate::support::trials::Module;

const PARTITIONS: i32 = 3;
const MANY: usize = 10_000;

type Test = fn(&Cluster);

const MODULE: Module = Module("base_producer");

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 7] = [
        (
            "an_aborted_transaction_is_seen_by_nobody_who_reads_committed",
            an_aborted_transaction_is_seen_by_nobody_who_reads_committed,
        ),
        (
            "a_committed_transaction_is_seen_whole",
            a_committed_transaction_is_seen_whole,
        ),
        (
            "a_transaction_may_be_aborted_at_once",
            a_transaction_may_be_aborted_at_once,
        ),
        (
            "offsets_move_with_a_commit_alone",
            offsets_move_with_a_commit_alone,
        ),
        (
            "offsets_of_a_member_that_is_not_in_the_group_are_refused",
            offsets_of_a_member_that_is_not_in_the_group_are_refused,
        ),
        (
            "the_second_of_two_producers_fences_the_first",
            the_second_of_two_producers_fences_the_first,
        ),
        (
            "what_a_producer_left_open_is_aborted_by_the_next",
            what_a_producer_left_open_is_aborted_by_the_next,
        ),
    ];
    tests
        .map(|(name, test)| MODULE.blocking_trial(name, move |cluster| test(&cluster)))
        .into()
}

/// Keeps what became of the messages.
#[derive(Default)]
struct Ends(Mutex<Vec<(usize, Result<Persistence, KafkaError>)>>);

impl Ends {
    fn take(&self) -> Vec<(usize, Result<Persistence, KafkaError>)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl ClientContext for Ends {}

impl ProducerContext for Ends {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let end = match result {
            Ok(message) => Ok(message.persistence()),
            Err(message) => Err(message.error()),
        };
        self.0.lock().unwrap().push((number, end));
    }
}

type Producer = BaseProducer<Ends>;

/// A producer that is ready for transactions; its id is the topic's name.
fn producer(cluster: &Cluster, topic: &str) -> Producer {
    let producer: Producer = cluster
        .config()
        .set("linger.ms", "5")
        .set("transactional.id", topic)
        .create_with_context(Ends::default())
        .unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    producer
}

fn topic(cluster: &Cluster) -> String {
    block_on(cluster.create_topic(PARTITIONS, 3))
}

/// Sends the numbers, each to a partition of its own choice.
fn send(producer: &Producer, topic: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let record = ProducerRecord::with_opaque_to(topic, number)
            .partition((number % PARTITIONS as usize) as i32)
            .payload(number.to_string());
        producer.send(record).unwrap();
    }
}

/// A transaction as everybody has to make one: done again where it must be aborted, as one that
/// comes after an abort may have to be.
fn transact(producer: &Producer, work: impl Fn()) {
    loop {
        producer.context().take();
        producer.begin_transaction().unwrap();
        work();
        match producer.commit_transaction(Duration::MAX) {
            Ok(()) => return,
            Err(error) => assert!(error.requires_abort(), "{error:?}"),
        }
        producer.abort_transaction(Duration::MAX).unwrap();
    }
}

/// A committed record in each partition, behind everything before: a transaction can only be begun
/// on the broker when the markers of the one before have been written.
fn send_last(producer: &Producer, topic: &str) {
    transact(producer, || {
        for partition in 0..PARTITIONS {
            let record = ProducerRecord::with_opaque_to(topic, usize::MAX)
                .partition(partition)
                .payload("last");
            producer.send(record).unwrap();
        }
    });
}

/// The numbers in the topic, sorted, before the last records.
fn numbers(cluster: &Cluster, topic: &str, isolation: Isolation) -> Vec<usize> {
    let mut numbers = Vec::new();
    for partition in 0..PARTITIONS {
        let is_last = |read: &Read| read.payload() == Some(b"last");
        let mut read = cluster.read_until(topic, partition, isolation, is_last);
        assert!(read.pop().is_some_and(|last| is_last(&last)));
        let number = |read: &Read| -> usize {
            let text = std::str::from_utf8(read.payload().unwrap()).unwrap();
            text.parse().unwrap()
        };
        numbers.extend(read.iter().map(number));
    }
    numbers.sort_unstable();
    numbers
}

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

fn an_aborted_transaction_is_seen_by_nobody_who_reads_committed(cluster: &Cluster) {
    let topic = topic(cluster);
    let producer = producer(cluster, &topic);
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0..MANY);
    // So that all of them are in the log.
    producer.flush(DEADLINE).unwrap();
    let ends = producer.context().take();
    assert!(
        ends.iter()
            .all(|(_, end)| *end.as_ref().unwrap() == Persistence::Persisted)
    );
    producer.abort_transaction(DEADLINE).unwrap();
    send_last(&producer, &topic);
    assert_eq!(numbers(cluster, &topic, Isolation::Committed), all(0));
    assert_eq!(numbers(cluster, &topic, Isolation::Uncommitted), all(MANY));
}

fn a_committed_transaction_is_seen_whole(cluster: &Cluster) {
    let topic = topic(cluster);
    let producer = producer(cluster, &topic);
    // On this thread alone, with everything in flight; the one between is aborted in the middle.
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0..MANY / 2);
    producer.commit_transaction(Duration::MAX).unwrap();
    assert_eq!(producer.context().take().len(), MANY / 2);

    producer.begin_transaction().unwrap();
    send(&producer, &topic, MANY..2 * MANY);
    producer.abort_transaction(Duration::MAX).unwrap();
    assert_eq!(producer.context().take().len(), MANY);

    transact(&producer, || send(&producer, &topic, MANY / 2..MANY));
    let ends = producer.context().take();
    assert_eq!(ends.len(), MANY / 2);
    assert!(
        ends.iter()
            .all(|(_, end)| *end.as_ref().unwrap() == Persistence::Persisted)
    );
    assert_eq!(producer.in_flight_count(), 0);

    send_last(&producer, &topic);
    assert_eq!(numbers(cluster, &topic, Isolation::Committed), all(MANY));
}

/// The coordinator may not be done with the one before.
fn a_transaction_may_be_aborted_at_once(cluster: &Cluster) {
    let topic = topic(cluster);
    let producer = producer(cluster, &topic);
    for round in 0..30 {
        transact(&producer, || send(&producer, &topic, round..round + 1));
        producer.begin_transaction().unwrap();
        send(&producer, &topic, MANY..MANY + 100);
        producer.abort_transaction(DEADLINE).unwrap();
    }
    send_last(&producer, &topic);
    assert_eq!(numbers(cluster, &topic, Isolation::Committed), all(30));
}

fn offsets_move_with_a_commit_alone(cluster: &Cluster) {
    let topic = topic(cluster);
    let producer = producer(cluster, &topic);
    let group = ConsumerGroupMetadata::new(&topic);
    let offset = |partition, offset| TopicPartitionOffset::new(&topic, partition, offset);
    let send_offsets = |offsets: &[TopicPartitionOffset]| {
        producer
            .send_offsets_to_transaction(offsets, &group, DEADLINE)
            .unwrap();
    };

    producer.begin_transaction().unwrap();
    send_offsets(&[offset(0, 10), offset(1, 11)]);
    producer.abort_transaction(DEADLINE).unwrap();

    // Behind the marker of the abort: only what this one has is there, with its metadata.
    producer.begin_transaction().unwrap();
    send_offsets(&[offset(2, 22)
        .with_metadata("by a test")
        .with_leader_epoch(0)]);
    producer.commit_transaction(DEADLINE).unwrap();
    let mut expected = vec![None, None, Some((22, "by a test".to_owned()))];
    cluster.until_committed(&topic, &topic, &expected);

    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0..1);
    send_offsets(&[offset(0, 30)]);
    producer.flush(DEADLINE).unwrap();
    assert_eq!(cluster.committed(&topic, &topic, PARTITIONS), expected);
    // Later ones of the same transaction stand.
    send_offsets(&[offset(0, 31)]);
    producer.commit_transaction(DEADLINE).unwrap();
    expected[0] = Some((31, String::new()));
    cluster.until_committed(&topic, &topic, &expected);
}

fn offsets_of_a_member_that_is_not_in_the_group_are_refused(cluster: &Cluster) {
    let topic = topic(cluster);
    let producer = producer(cluster, &topic);
    let offsets = [TopicPartitionOffset::new(&topic, 0, 1)];
    let stranger = ConsumerGroupMetadata::new(&topic).with_member(7, "nobody");
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0..1);
    let error = producer
        .send_offsets_to_transaction(&offsets, &stranger, DEADLINE)
        .unwrap_err();
    assert!(error.requires_abort(), "{error:?}");
    assert!(
        matches!(
            error.code(),
            Some(Code::IllegalGeneration | Code::UnknownMemberId)
        ),
        "{error:?}"
    );
    assert!(
        producer
            .commit_transaction(DEADLINE)
            .unwrap_err()
            .requires_abort()
    );
    producer.abort_transaction(DEADLINE).unwrap();
    send_last(&producer, &topic);
    assert_eq!(numbers(cluster, &topic, Isolation::Committed), all(0));
    assert_eq!(cluster.committed(&topic, &topic, 1), [None]);
}

fn the_second_of_two_producers_fences_the_first(cluster: &Cluster) {
    let topic = topic(cluster);
    let first = producer(cluster, &topic);
    first.begin_transaction().unwrap();
    send(&first, &topic, 0..100);
    first.flush(DEADLINE).unwrap();
    first.context().take();

    let second = producer(cluster, &topic);
    // To partitions that are in the transaction: their leaders refuse.
    send(&first, &topic, 100..200);
    let error = first.commit_transaction(DEADLINE).unwrap_err();
    let fenced = |error: &KafkaError| {
        assert!(error.is_fatal() && error.is_fenced(), "{error:?}");
        assert!(
            !error.is_retriable() && !error.requires_abort(),
            "{error:?}"
        );
        assert!(error.to_string().contains("fenced"), "{error}");
    };
    fenced(&error);
    fenced(&first.fatal_error().unwrap());
    fenced(&first.abort_transaction(DEADLINE).unwrap_err());
    fenced(&first.begin_transaction().unwrap_err());
    // Its records come back: those on their way by their reports, later ones at once.
    let ends = first.context().take();
    assert_eq!(ends.len(), 100);
    for (number, end) in ends {
        let error = end.unwrap_err();
        assert!(
            error.is_fenced() || error.code() == Some(Code::PurgeQueue),
            "{number}: {error:?}"
        );
    }
    let record = ProducerRecord::with_opaque_to(topic.as_str(), 7).payload("late");
    let refused = first.send(record).unwrap_err();
    fenced(refused.error());
    let record = refused.into_record();
    assert_eq!(
        (record.get_opaque(), record.get_payload()),
        (&7, Some(&b"late"[..]))
    );

    second.begin_transaction().unwrap();
    send(&second, &topic, 0..10);
    second.commit_transaction(DEADLINE).unwrap();
    send_last(&second, &topic);
    assert_eq!(numbers(cluster, &topic, Isolation::Committed), all(10));
}

/// As after a crash: its drop ends no transaction.
fn what_a_producer_left_open_is_aborted_by_the_next(cluster: &Cluster) {
    let topic = topic(cluster);
    let first = producer(cluster, &topic);
    first.begin_transaction().unwrap();
    send(&first, &topic, 0..100);
    first.flush(DEADLINE).unwrap();
    drop(first);
    let second = producer(cluster, &topic);
    send_last(&second, &topic);
    assert_eq!(numbers(cluster, &topic, Isolation::Committed), all(0));
    assert_eq!(numbers(cluster, &topic, Isolation::Uncommitted), all(100));
}
