//! Consumed offsets in transactions while the group changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libtest_mimic::Trial;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::topic_partition_list::Offset;
use tokio::runtime::Runtime;
use tokio_rdkafka::{
    ConsumedOffsets, ConsumerGroupMetadata, Producer, ProducerRecord, RDKafkaErrorCode,
    TransactionOutcome, TransactionalProducer, rewind,
};

use crate::support::kafka::{Cluster, DEADLINE, Isolation};
use crate::support::trials::Module;

/// Records in each of the two partitions.
const RECORDS: usize = 20;

const POLL: Duration = Duration::from_millis(50);

pub fn trials() -> Vec<Trial> {
    let name = "a_rebalance_within_a_transaction_loses_and_doubles_nothing";
    vec![
        Module("consumed").blocking_trial(name, rebalance),
        Module("consumed").blocking_trial("after_an_abort_a_rewound_consumer_reads_again", rewound),
    ]
}

/// Copies half of the input twice: the first transaction is aborted.
fn rewound(cluster: Cluster) {
    let runtime = Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let input = runtime.block_on(cluster.create_topic(1, 3));
    let output = runtime.block_on(cluster.create_topic(1, 3));
    let producer: Producer = cluster.config().create().unwrap();
    for number in 0..2 * RECORDS {
        let record = ProducerRecord::to(&input).payload(number.to_string());
        runtime.block_on(producer.send(record)).unwrap();
    }
    let Worker {
        consumer,
        mut producer,
    } = runtime.block_on(Worker::new(&cluster, &input, "only"));
    let consumer = Arc::new(consumer);
    // The first without committed offsets.
    for (first, commits) in [(0, false), (0, true), (RECORDS, false), (RECORDS, true)] {
        let transaction = runtime.block_on(producer.begin()).unwrap();
        let mut consumed = ConsumedOffsets::new();
        for offset in first..first + RECORDS {
            let message = next(&consumer);
            assert_eq!(message.offset(), offset as i64);
            consumed.add(&*consumer, &message).unwrap();
            let sent = transaction.send(copy(&output, &message));
            runtime.block_on(sent).unwrap();
        }
        let sent = transaction.send_consumed(&consumed);
        runtime.block_on(sent).unwrap();
        if commits {
            runtime.block_on(transaction.commit()).unwrap();
        } else {
            runtime.block_on(transaction.abort()).unwrap();
            runtime
                .block_on(rewind(Arc::clone(&consumer), DEADLINE))
                .unwrap();
        }
    }
    let read = runtime.block_on(numbers(&cluster, &output));
    assert!(read.iter().copied().eq(0..2 * RECORDS), "{read:?}");
}

fn rebalance(cluster: Cluster) {
    let runtime = Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let input = runtime.block_on(cluster.create_topic(2, 3));
    let output = runtime.block_on(cluster.create_topic(1, 3));
    runtime.block_on(write(&cluster, &input));
    let mut first = runtime.block_on(Worker::new(&cluster, &input, "first"));

    // In the middle of a transaction of the first, which has both partitions, a second joins.
    let transaction = runtime.block_on(first.producer.begin()).unwrap();
    let mut consumed = ConsumedOffsets::new();
    for _ in 0..RECORDS {
        let message = next(&first.consumer);
        consumed.add(&first.consumer, &message).unwrap();
        runtime
            .block_on(transaction.send(copy(&output, &message)))
            .unwrap();
    }
    let before = consumed.group().expect("a member").generation_id();
    assert_eq!(assigned(&first.consumer), 2);
    let mut second = runtime.block_on(Worker::new(&cluster, &input, "second"));
    let started = Instant::now();
    while (assigned(&first.consumer), assigned(&second.consumer)) != (1, 1) {
        assert!(started.elapsed() < DEADLINE, "the group does not share");
        // What they hand out meanwhile is read again.
        first.consumer.poll(POLL);
        second.consumer.poll(POLL);
    }
    let now = ConsumerGroupMetadata::from_consumer(&first.consumer).unwrap();
    assert!(now.generation_id() > before, "{now:?}, {before} before");

    // The offsets are those of a member of the generation before.
    let error = runtime.block_on(transaction.send_consumed(&consumed));
    let error = error.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::IllegalGeneration));
    assert!(error.requires_abort() && !error.is_fatal(), "{error:?}");
    let failed = runtime.block_on(transaction.commit()).unwrap_err();
    assert!(failed.requires_abort(), "{failed:?}");
    let (transaction, _) = failed.into_parts();
    let aborted = runtime.block_on(transaction.expect("it can be aborted").abort());
    aborted.unwrap();
    let outcome = runtime.block_on(first.producer.outcome());
    assert_eq!(outcome, Some(TransactionOutcome::Aborted));

    // With the group's metadata of now, offsets of a partition that is another's are taken: it has
    // to be fetched before what is sent is consumed, as `ConsumedOffsets` does.
    let transaction = runtime.block_on(first.producer.begin()).unwrap();
    let sent = runtime.block_on(transaction.send_offsets(consumed.offsets(), &now));
    sent.unwrap();
    runtime.block_on(transaction.abort()).unwrap();
    let committed = cluster.committed(&input, &input, 2);
    assert_eq!(committed, [None, None]);

    for worker in [&mut first, &mut second] {
        runtime.block_on(worker.work(&output));
    }
    let end = Some((RECORDS as i64, String::new()));
    cluster.until_committed(&input, &input, &[end.clone(), end]);
    let mut numbers = runtime.block_on(numbers(&cluster, &output));
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..2 * RECORDS), "{numbers:?}");
}

/// A member of the group that has the name of the input, with a producer of its own.
struct Worker {
    consumer: BaseConsumer,
    producer: TransactionalProducer,
}

impl Worker {
    async fn new(cluster: &Cluster, input: &str, name: &str) -> Self {
        let mut config = cluster.config();
        let brokers = config.get("bootstrap.servers").expect("brokers");
        let consumer: BaseConsumer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", input)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            // Members learn of a rebalance by their heartbeats.
            .set("heartbeat.interval.ms", "500")
            .create()
            .expect("a consumer");
        consumer.subscribe(&[input]).expect("a subscription");
        config.set("transactional.id", format!("{input}-{name}"));
        let mut producer: TransactionalProducer = config.create().unwrap();
        producer.init(DEADLINE).await.unwrap();
        Self { consumer, producer }
    }

    /// Copies its partition, from the committed offsets on.
    async fn work(&mut self, output: &str) {
        let assignment = self.consumer.assignment().expect("an assignment");
        let committed = self.consumer.committed_offsets(assignment, DEADLINE);
        let mut offsets = committed.expect("the group's offsets");
        for mut partition in offsets.elements() {
            assert_eq!(partition.offset(), Offset::Invalid);
            partition.set_offset(Offset::Beginning).expect("an offset");
        }
        offsets = self
            .consumer
            .seek_partitions(offsets, DEADLINE)
            .expect("an answer");
        for partition in offsets.elements() {
            partition.error().expect("a seek");
        }
        let consumer = &self.consumer;
        let worked = self.producer.run(async |transaction| {
            let mut consumed = ConsumedOffsets::new();
            for _ in 0..RECORDS {
                let message = next(consumer);
                consumed.add(consumer, &message)?;
                let copy = copy(output, &message);
                transaction.enqueue_detached(copy).await?;
            }
            transaction.send_consumed(&consumed).await
        });
        worked.await.unwrap();
    }
}

/// Numbers, by turns to the two partitions.
async fn write(cluster: &Cluster, input: &str) {
    let producer: Producer = cluster.config().create().expect("a producer");
    let records = (0..2 * RECORDS).map(|number| {
        let record = ProducerRecord::to(input).payload(number.to_string());
        record.partition((number % 2) as i32)
    });
    let mut results = producer.send_all(records);
    while let Some(result) = results.next().await {
        result.expect("a delivery");
    }
}

fn copy<'a>(output: &'a str, message: &'a OwnedMessage) -> ProducerRecord<'a> {
    ProducerRecord::to(output).payload(message.payload())
}

/// The numbers that are seen as committed.
async fn numbers(cluster: &Cluster, output: &str) -> Vec<usize> {
    let producer: Producer = cluster.config().create().expect("a producer");
    let last = ProducerRecord::to(output).payload("last");
    producer.send(last).await.expect("a delivery");
    let mut read = cluster.read_until(output, 0, Isolation::Committed, |read| {
        read.payload() == Some(b"last")
    });
    read.pop();
    let texts = read
        .iter()
        .map(|read| std::str::from_utf8(read.payload().expect("a payload")).expect("text"));
    texts.map(|text| text.parse().expect("a number")).collect()
}

/// Blocks; errors are of connections, which it goes on after.
fn next(consumer: &BaseConsumer) -> OwnedMessage {
    let started = Instant::now();
    loop {
        if let Some(Ok(message)) = consumer.poll(POLL) {
            return message.detach();
        }
        assert!(started.elapsed() < DEADLINE, "no message");
    }
}

fn assigned(consumer: &BaseConsumer) -> usize {
    consumer.assignment().expect("an assignment").count()
}
