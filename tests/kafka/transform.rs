//! The loop that consumes, transforms and produces, while groups rebalance, nodes die, brokers
//! refuse records, requests are held back, and instances stop: the output has each record of the
//! input exactly once, in order per partition.
//!
//! | variable | default |
//! |---|---|
//! | `TOKIO_RDKAFKA_TRANSFORM_RECORDS` | 6000; `tests/night` has 200 000 |

use std::env;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libtest_mimic::Trial;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::join;
use tokio::task::{JoinHandle, spawn, spawn_blocking};
use tokio_rdkafka::{
    ConsumedBatch, ConsumerGroupMetadata, KafkaError, Producer, ProducerRecord, RDKafkaErrorCode,
    TopicPartitionOffset, Transaction, TransactionalProducer, TransformOptions,
    consume_transform_produce,
};
use tokio_util::sync::CancellationToken;

use crate::support::kafka::{Cluster, DEADLINE, Isolation, Read};
use crate::support::proxy::{END_TXN, PRODUCE, Proxy};
use crate::support::trials::{Module, many_threads};

const MODULE: Module = Module("transform");

const PARTITIONS: usize = 4;

/// Records of a transaction: few, so that there are many. Some take half a second.
fn batch() -> usize {
    (records() / 240).clamp(25, 100)
}

/// Each so-maniest batch has a record that a broker refuses, at its first attempt.
const REFUSED: usize = 7;

pub fn trials() -> Vec<Trial> {
    vec![
        MODULE.trial_on(
            many_threads,
            "two_instances_share_and_stop_and_each_record_counts_once",
            rebalances,
        ),
        MODULE.trial_on(
            many_threads,
            "refused_records_and_held_requests_lose_and_double_nothing",
            held_requests,
        ),
        MODULE.trial_on(
            many_threads,
            "the_older_of_two_producers_ends_fenced",
            fenced,
        ),
        MODULE.trial_on(
            many_threads,
            "a_transaction_that_times_out_in_the_function_loses_and_doubles_nothing",
            timed_out,
        ),
        MODULE.trial_on(
            many_threads,
            "a_group_that_is_deleted_doubles_nothing",
            deleted_group,
        ),
        MODULE.trial_on(
            many_threads,
            "a_rebalance_while_a_transaction_is_pending_doubles_nothing",
            pending_offsets,
        ),
        MODULE.trial_alone(
            many_threads,
            "nodes_that_die_lose_and_double_nothing",
            killed_nodes,
        ),
    ]
}

fn records() -> usize {
    match env::var("TOKIO_RDKAFKA_TRANSFORM_RECORDS") {
        Ok(number) => number.parse().expect("a number"),
        Err(_) => 6000,
    }
}

/// An input and an output, which refuses large records.
struct Pipeline {
    cluster: Cluster,
    input: String,
    output: String,
    /// Where the producers connect to, if not to the brokers themselves.
    servers: Option<String>,
    names: AtomicUsize,
}

/// A loop in a task.
struct Instance {
    stop: CancellationToken,
    done: Arc<AtomicUsize>,
    consumer: Weak<StreamConsumer>,
    task: JoinHandle<Result<u64, KafkaError>>,
}

impl Pipeline {
    async fn new(cluster: Cluster) -> Self {
        let input = cluster.create_topic(PARTITIONS as i32, 3).await;
        let output = Cluster::new_name();
        let limit = [("max.message.bytes", "2000")];
        let partitions = PARTITIONS as i32;
        cluster
            .create_topic_with(&output, partitions, 3, &limit)
            .await;
        Self {
            cluster,
            input,
            output,
            servers: None,
            names: AtomicUsize::new(0),
        }
    }

    /// Writes numbers, by turns to the partitions, in the background.
    fn write(&self, numbers: Range<usize>) -> JoinHandle<()> {
        let mut config = self.cluster.config();
        config.set("enable.idempotence", "true");
        let producer: Producer = config.create().unwrap();
        let input = self.input.clone();
        spawn(async move {
            let records = numbers.map(|number| {
                ProducerRecord::to(&input)
                    .partition((number % PARTITIONS) as i32)
                    .payload(number.to_string())
            });
            let mut results = producer.send_all(records);
            while let Some(result) = results.next().await {
                result.expect("a delivery");
            }
            drop(results);
            producer.close().await;
        })
    }

    fn consumer_config(&self) -> rdkafka::ClientConfig {
        let servers = self.cluster.config();
        let mut config = rdkafka::ClientConfig::new();
        config
            .set(
                "bootstrap.servers",
                servers.get("bootstrap.servers").unwrap(),
            )
            .set("group.id", &self.input)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("heartbeat.interval.ms", "500")
            .set("session.timeout.ms", "6000")
            .set("reconnect.backoff.max.ms", "1000")
            .set("log_level", "3");
        config
    }

    fn consumer(&self) -> StreamConsumer {
        let consumer: StreamConsumer = self.consumer_config().create().unwrap();
        consumer.subscribe(&[&self.input]).unwrap();
        consumer
    }

    /// Another member joins the group. It commits nothing.
    async fn join(&self) -> BaseConsumer {
        let member: BaseConsumer = self.consumer_config().create().unwrap();
        member.subscribe(&[&self.input]).unwrap();
        let joined = spawn_blocking(move || {
            let started = Instant::now();
            while member.assignment().unwrap().count() == 0 {
                assert!(started.elapsed() < DEADLINE, "no partitions");
                drop(member.poll(Duration::from_millis(50)));
            }
            member
        });
        joined.await.unwrap()
    }

    async fn producer(&self, id: &str) -> TransactionalProducer {
        let mut config = self.cluster.config();
        if let Some(servers) = &self.servers {
            config
                .set("bootstrap.servers", servers)
                .set("socket.timeout.ms", "1000")
                .set("request.timeout.ms", "900");
        }
        config
            .set("transactional.id", format!("{}-{id}", self.output))
            .set("reconnect.backoff.max.ms", "1000");
        let mut producer: TransactionalProducer = config.create().unwrap();
        producer.init(DEADLINE).await.unwrap();
        producer
    }

    async fn start(&self) -> Instance {
        let id = self.names.fetch_add(1, Ordering::Relaxed).to_string();
        self.start_as(&id).await
    }

    async fn start_as(&self, id: &str) -> Instance {
        let consumer = Arc::new(self.consumer());
        let weak = Arc::downgrade(&consumer);
        let mut producer = self.producer(id).await;
        let stop = CancellationToken::new();
        let done = Arc::new(AtomicUsize::new(0));
        let options = TransformOptions::new()
            .max_records(batch())
            .max_wait(Duration::from_millis(20))
            .cancellation_token(stop.clone())
            .retry_if(|error: &KafkaError| {
                error.code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
            });
        let (output, counted) = (self.output.clone(), Arc::clone(&done));
        let task = spawn(async move {
            let run = consume_transform_produce(
                &consumer,
                &mut producer,
                options,
                async move |batch, transaction| {
                    let number = counted.fetch_add(1, Ordering::Relaxed);
                    let is_spoilt = number % REFUSED == REFUSED - 1 && batch.attempt() == 1;
                    transform(batch, transaction, &output, is_spoilt).await
                },
            );
            let result = run.await;
            producer.close().await;
            spawn_blocking(move || drop(consumer)).await.unwrap();
            result
        });
        Instance {
            stop,
            done,
            consumer: weak,
            task,
        }
    }

    /// Waits until the group has committed all of the input.
    async fn await_end(&self, count: usize) {
        let (cluster, input) = (self.cluster.clone(), self.input.clone());
        let awaited = spawn_blocking(move || {
            let (mut before, mut since) = (0, Instant::now());
            loop {
                let committed = cluster.committed(&input, &input, PARTITIONS as i32);
                let offsets = committed.iter().flatten();
                let done: usize = offsets.map(|(offset, _)| *offset as usize).sum();
                if done >= count {
                    return;
                }
                if done > before {
                    (before, since) = (done, Instant::now());
                }
                assert!(since.elapsed() < DEADLINE, "{done} of {count} are done");
            }
        });
        awaited.await.unwrap();
    }

    async fn assert_each_once(&self, count: usize) {
        let producer: Producer = self.cluster.config().create().unwrap();
        for partition in 0..PARTITIONS {
            let last = ProducerRecord::to(&self.output).partition(partition as i32);
            producer.send(last.payload("last")).await.unwrap();
            let (cluster, output) = (self.cluster.clone(), self.output.clone());
            let read = spawn_blocking(move || {
                let is_last = |read: &Read| read.payload() == Some(b"last");
                cluster.read_until(&output, partition as i32, Isolation::Committed, is_last)
            });
            let read = read.await.unwrap();
            let (_, records) = read.split_last().unwrap();
            let text = |read: &Read| String::from_utf8(read.payload().unwrap().to_vec()).unwrap();
            let seen: Vec<usize> = records
                .iter()
                .map(|read| text(read).parse().expect("a number"))
                .collect();
            let expected: Vec<usize> = (partition..count).step_by(PARTITIONS).collect();
            let both = seen.iter().zip(&expected);
            let wrong = both
                .enumerate()
                .find(|(_, (seen, expected))| seen != expected);
            assert_eq!(wrong, None, "seen and expected in partition {partition}");
            assert_eq!(seen.len(), expected.len(), "in partition {partition}");
        }
        producer.close().await;
    }
}

impl Instance {
    /// Waits until it works.
    async fn await_batches(&self, count: usize) {
        let goal = self.done.load(Ordering::Relaxed) + count;
        let started = Instant::now();
        while self.done.load(Ordering::Relaxed) < goal && !self.task.is_finished() {
            assert!(started.elapsed() < DEADLINE, "no batch");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until its consumer has handed out something, for no longer than that.
    async fn await_a_record(&self, longest: Duration) {
        let consumer = self.consumer.clone();
        let awaited = spawn_blocking(move || {
            let started = Instant::now();
            while started.elapsed() < longest {
                let positions = consumer.upgrade().unwrap().position().unwrap();
                let mut found = positions.elements().into_iter();
                if found.any(|it| it.offset() != Offset::Invalid) {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        awaited.await.unwrap();
    }

    /// Stops it, perhaps within a batch.
    async fn stop(self) {
        self.ended().await.unwrap();
    }

    /// On a busy machine a transaction may take longer than `transaction.timeout.ms` while a node is
    /// down. Nobody can tell that from another producer that has taken over. Then it is for a
    /// supervisor to start it again.
    async fn assert_timed_out_if_at_all(self) {
        if let Err(error) = self.ended().await {
            println!("an instance has ended: {error}");
            assert!(error.is_fenced(), "{error:?}");
        }
    }

    async fn ended(self) -> Result<u64, KafkaError> {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("an end").unwrap()
    }
}

async fn transform(
    batch: &ConsumedBatch<'_>,
    transaction: &Transaction<'_>,
    output: &str,
    is_spoilt: bool,
) -> Result<(), KafkaError> {
    for message in batch {
        let record = ProducerRecord::to(output)
            .partition(message.partition())
            .payload(message.payload());
        transaction.enqueue_detached(record).await?;
    }
    if is_spoilt {
        let record = ProducerRecord::to(output).payload("x".repeat(3000));
        transaction.send(record).await?;
    }
    Ok(())
}

/// One goes on, others come and go, also in the middle of a batch.
async fn rebalances(cluster: Cluster) {
    let pipeline = Pipeline::new(cluster).await;
    let count = records();
    let first = pipeline.start().await;
    let written = pipeline.write(0..count);
    first.await_batches(1).await;
    for round in 0..4 {
        let other = pipeline.start().await;
        other.await_batches(2 + round).await;
        other.stop().await;
    }
    written.await.unwrap();
    pipeline.await_end(count).await;
    first.stop().await;
    pipeline.assert_each_once(count).await;
}

/// Waits for that many more batches.
async fn until(done: &AtomicUsize, count: usize, stop: &CancellationToken) {
    let goal = done.load(Ordering::Relaxed) + count;
    while done.load(Ordering::Relaxed) < goal && !stop.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Again and again a request is held until its transaction has long ended.
async fn held_requests(cluster: Cluster) {
    let mut pipeline = Pipeline::new(cluster).await;
    let proxy = Proxy::new(&pipeline.cluster);
    pipeline.servers = Some(proxy.bootstrap_servers());
    let count = records();
    pipeline.write(0..count).await.unwrap();
    let instance = pipeline.start().await;
    let stop = CancellationToken::new();
    let holding = {
        let (stop, done) = (stop.clone(), Arc::clone(&instance.done));
        spawn(async move {
            let mut held = 0;
            for api_key in [END_TXN, PRODUCE].into_iter().cycle() {
                let request = proxy.hold(api_key);
                tokio::select! {
                    () = request.is_held() => {}
                    () = stop.cancelled() => break,
                }
                // The client has given it up by then, and another batch is under way.
                until(&done, 2, &stop).await;
                drop(request);
                held += 1;
                // Each costs a second.
                until(&done, 20, &stop).await;
            }
            proxy.hold_no_more();
            held
        })
    };
    pipeline.await_end(count).await;
    stop.cancel();
    let held = holding.await.unwrap();
    println!("{held} requests held, {count} records");
    assert!(held > 0);
    instance.stop().await;
    pipeline.assert_each_once(count).await;
}

async fn fenced(cluster: Cluster) {
    let pipeline = Pipeline::new(cluster).await;
    const COUNT: usize = 2000;
    let written = pipeline.write(0..COUNT);
    let older = pipeline.start_as("same").await;
    older.await_batches(2).await;
    let newer = pipeline.start_as("same").await;
    let error = tokio::time::timeout(DEADLINE, older.task).await;
    let error = error.expect("an end").unwrap().unwrap_err();
    assert!(error.is_fenced() && error.is_fatal(), "{error:?}");
    written.await.unwrap();
    pipeline.await_end(COUNT).await;
    newer.stop().await;
    pipeline.assert_each_once(COUNT).await;
}

/// The coordinator aborts it. A new producer goes on.
async fn timed_out(cluster: Cluster) {
    let pipeline = Pipeline::new(cluster).await;
    const COUNT: usize = 200;
    pipeline.write(0..COUNT).await.unwrap();
    let consumer = Arc::new(pipeline.consumer());
    let mut config = pipeline.cluster.config();
    config
        .set("transactional.id", &pipeline.output)
        .set("transaction.timeout.ms", "5000")
        .set("message.timeout.ms", "5000");
    let mut producer: TransactionalProducer = config.create().unwrap();
    producer.init(DEADLINE).await.unwrap();
    let (brokers, output) = (&pipeline.cluster, &pipeline.output);
    let run = consume_transform_produce(
        &consumer,
        &mut producer,
        TransformOptions::new(),
        async |batch, transaction| {
            transform(batch, transaction, output, false).await?;
            transaction.flush().await.unwrap();
            let partition = batch[0].partition();
            let (brokers, output) = (brokers.clone(), output.clone());
            let is_aborted = move || {
                let started = Instant::now();
                let end = |brokers: &Cluster| brokers.end(&output, partition);
                while brokers.last_stable(&output, partition) < end(&brokers) {
                    assert!(started.elapsed() < DEADLINE, "no abort");
                }
            };
            spawn_blocking(is_aborted).await.unwrap();
            Ok(())
        },
    );
    let run = tokio::time::timeout(DEADLINE * 2, run).await;
    let error: KafkaError = run.expect("an end").unwrap_err();
    assert!(error.is_fenced() && error.is_fatal(), "{error:?}");
    assert!(
        error.to_string().contains("transaction.timeout.ms"),
        "{error}"
    );
    producer.close().await;
    spawn_blocking(move || drop(consumer)).await.unwrap();
    let next = pipeline.start().await;
    pipeline.await_end(COUNT).await;
    next.stop().await;
    pipeline.assert_each_once(COUNT).await;
}

/// A consumer with an assignment of its own leaves the group empty, so that it can be deleted.
async fn deleted_group(cluster: Cluster) {
    let pipeline = Pipeline::new(cluster).await;
    pipeline.write(0..PARTITIONS).await.unwrap();
    let consumer = pipeline.consumer();
    consumer.unsubscribe();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment
            .add_partition_offset(&pipeline.input, partition as i32, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let consumer = Arc::new(consumer);
    let mut producer = pipeline.producer("deleted").await;
    let stop = CancellationToken::new();
    let options = TransformOptions::new()
        .cancellation_token(stop.clone())
        .retry_if(|error: &KafkaError| error.code() == Some(RDKafkaErrorCode::MessageSizeTooLarge));
    let done = AtomicUsize::new(0);
    // Then one more round, of which the first batch fails.
    const COUNT: usize = 2 * PARTITIONS;
    let run = consume_transform_produce(
        &consumer,
        &mut producer,
        options,
        async |batch, transaction| {
            let before = done.load(Ordering::Relaxed);
            let fails = before == PARTITIONS && batch.attempt() == 1;
            if fails {
                pipeline.cluster.delete_group(&pipeline.input).await;
            }
            transform(batch, transaction, &pipeline.output, fails).await?;
            match done.fetch_add(batch.len(), Ordering::Relaxed) + batch.len() {
                PARTITIONS => {
                    // One after another: the first batch has one partition.
                    pipeline.write(PARTITIONS..PARTITIONS + 1).await.unwrap();
                }
                done if done == PARTITIONS + 1 => {
                    pipeline.write(PARTITIONS + 1..COUNT).await.unwrap();
                }
                done if done >= COUNT => stop.cancel(),
                _ => {}
            }
            Ok(())
        },
    );
    let run = tokio::time::timeout(DEADLINE, run).await;
    assert_eq!(run.expect("an end").unwrap(), COUNT as u64);
    producer.close().await;
    spawn_blocking(move || drop(consumer)).await.unwrap();
    pipeline.assert_each_once(COUNT).await;
}

/// librdkafka asks for the committed offsets, and has to wait for the transaction. If the group
/// rebalances then, it begins at `auto.offset.reset`, though the offsets are committed later.
async fn pending_offsets(cluster: Cluster) {
    let pipeline = Pipeline::new(cluster).await;
    const DONE: usize = 5 * PARTITIONS;
    const COUNT: usize = 2 * DONE;
    pipeline.write(0..COUNT).await.unwrap();
    // What another instance has done.
    let mut other = pipeline.producer("other").await;
    let transaction = other.begin().await.unwrap();
    for number in 0..DONE {
        let record = ProducerRecord::to(&pipeline.output)
            .partition((number % PARTITIONS) as i32)
            .payload(number.to_string());
        transaction.enqueue_detached(record).await.unwrap();
    }
    let next = |partition| TopicPartitionOffset::new(&pipeline.input, partition as i32, 5);
    let offsets: Vec<_> = (0..PARTITIONS).map(next).collect();
    let group = ConsumerGroupMetadata::new(&pipeline.input);
    transaction.send_offsets(&offsets, &group).await.unwrap();

    let instance = pipeline.start().await;
    let member = pipeline.join().await;
    instance.await_a_record(Duration::from_secs(5)).await;
    let commit = async {
        transaction.commit().await.unwrap();
    };
    join!(instance.await_batches(1), commit);
    other.close().await;
    spawn_blocking(move || drop(member)).await.unwrap();
    pipeline.await_end(COUNT).await;
    instance.stop().await;
    pipeline.assert_each_once(COUNT).await;
}

async fn killed_nodes(cluster: Cluster) {
    const NODES: [i32; 3] = [1, 2, 3];
    for node in NODES {
        // A run before this one may have left one dead.
        spawn_blocking(move || Cluster::node("start", node))
            .await
            .unwrap();
    }
    let pipeline = Pipeline::new(cluster).await;
    let count = records();
    let mut instances = vec![pipeline.start().await, pipeline.start().await];
    for (round, node) in NODES.into_iter().enumerate() {
        // Each round has something to work on.
        let part = |round| count * round / NODES.len();
        let written = pipeline.write(part(round)..part(round + 1));
        for instance in &instances {
            instance.await_batches(1).await;
        }
        let (brokers, topics) = (
            pipeline.cluster.clone(),
            [
                pipeline.input.clone(),
                pipeline.output.clone(),
                "__consumer_offsets".to_owned(),
                "__transaction_state".to_owned(),
            ],
        );
        let revived = spawn_blocking(move || {
            Cluster::node("kill", node);
            Cluster::node("start", node);
            let started = Instant::now();
            for topic in topics {
                while !brokers.is_whole_for(node, &topic) {
                    assert!(started.elapsed() < DEADLINE, "node {node} is not back");
                }
            }
        });
        revived.await.unwrap();
        written.await.unwrap();
        for instance in &mut instances {
            if instance.task.is_finished() {
                let before = std::mem::replace(instance, pipeline.start().await);
                before.assert_timed_out_if_at_all().await;
            }
        }
    }
    pipeline.await_end(count).await;
    for instance in instances {
        instance.assert_timed_out_if_at_all().await;
    }
    pipeline.assert_each_once(count).await;
}
