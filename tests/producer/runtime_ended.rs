//! A handle whose runtime has ended, for instance one in a static that two `#[tokio::test]`s share.

use std::fmt::Display;
use std::future::poll_fn;

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use tokio::runtime::{Builder, Runtime};
use tokio_rdkafka::{
    KafkaError, MockCluster, ProduceExt, Producer, ProducerRecord, PurgeConfig,
    TransactionalProducer,
};
use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{DEADLINE, cluster, config};

/// Its tasks are dropped on the thread that drops it.
fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn record() -> ProducerRecord<'static> {
    ProducerRecord::to("t").payload("v")
}

fn producer(runtime: &Runtime, cluster: &MockCluster) -> Producer {
    let handle = runtime.handle().clone();
    let config = config(cluster);
    Producer::builder(&config).runtime(handle).create().unwrap()
}

/// The error says what has happened.
#[track_caller]
fn assert_ended(call: &str, is_closed: bool, error: &impl Display) {
    assert!(is_closed, "{call}: {error}");
    let text = error.to_string();
    assert!(
        text.contains("its tokio runtime has ended"),
        "{call}: {text}"
    );
}

#[track_caller]
fn assert_kafka_error<T>(call: &str, result: Result<T, KafkaError>) {
    let error = result.err().unwrap_or_else(|| panic!("{call}: no error"));
    assert_ended(call, error.is_closed(), &error);
}

/// The same for the errors that carry a record, which is there.
macro_rules! assert_refused {
    ($call:expr) => {{
        let Err(error) = $call else {
            panic!("{}: no error", stringify!($call));
        };
        assert_ended(stringify!($call), error.is_closed(), &error);
        assert_eq!(error.record().get_payload(), Some(&b"v"[..]));
    }};
}

#[test]
fn every_call_says_that_the_runtime_has_ended() {
    let cluster = cluster("t", 1);
    let runtime = one_thread();
    let mut producer = producer(&runtime, &cluster);
    // Its handle is cached.
    let topic = producer.topic("t").unwrap();
    let permit_before = producer.clone();
    let permit_before = permit_before.try_reserve().unwrap();
    let mut sink_before = producer.sink();
    drop(runtime);

    assert!(producer.is_closed());
    assert_refused!(block_on(producer.send(record())));
    assert_refused!(block_on(
        producer.send(ProducerRecord::to(&topic).payload("v"))
    ));
    assert_refused!(block_on(producer.send_timeout(record(), DEADLINE)));
    assert_refused!(block_on(producer.enqueue(record())));
    assert_refused!(block_on(producer.enqueue_timeout(record(), DEADLINE)));
    assert_refused!(block_on(producer.enqueue_detached(record())));
    assert_refused!(producer.try_enqueue(record()));
    assert_refused!(producer.try_enqueue_detached(record()));
    assert_refused!(block_on(permit_before.send(record())));

    assert_kafka_error("reserve", block_on(producer.reserve()));
    assert_kafka_error("reserve_bytes", block_on(producer.reserve_bytes(1)));
    assert_kafka_error("reserve_owned", block_on(producer.reserve_owned()));
    assert_kafka_error("try_reserve", producer.try_reserve());
    let reserved = block_on(poll_fn(|cx| producer.poll_reserve(cx)));
    assert_kafka_error("poll_reserve", reserved);

    let error = block_on(sink_before.send(record())).unwrap_err();
    assert_ended("sink before", error.is_closed(), &error);
    let error = block_on(producer.sink().send(record())).unwrap_err();
    assert_ended("sink", error.is_closed(), &error);
    let mut results = producer.send_all([record()]);
    assert_refused!(block_on(results.next()).unwrap());
    let mut results = futures::stream::iter([((), record())]).produce_each(&producer);
    assert_refused!(block_on(results.next()).unwrap().1);

    let error = block_on(producer.flush()).unwrap_err();
    assert_ended("flush", error.error().is_closed(), error.error());
    let error = block_on(producer.flush_timeout(DEADLINE)).unwrap_err();
    assert_ended("flush_timeout", error.error().is_closed(), error.error());
    assert_kafka_error("ready", block_on(producer.ready(DEADLINE)));
    assert_kafka_error("cluster", block_on(producer.cluster(DEADLINE)));
    assert_kafka_error(
        "partitions_for",
        block_on(producer.partitions_for("t", DEADLINE)),
    );
    assert_kafka_error("topics", block_on(producer.topics(DEADLINE)));
    assert_kafka_error("topic", producer.topic("t"));
    assert_kafka_error("topic", producer.topic("other"));

    // These two have no error to return.
    let everything = PurgeConfig::default().queue().inflight();
    assert_eq!(block_on(producer.purge(everything)), 0);
    assert_eq!(block_on(producer.close()).delivered, 0);
    // The same after the client has been destroyed.
    assert_refused!(block_on(producer.send(record())));
    assert_kafka_error("topics", block_on(producer.topics(DEADLINE)));
}

#[test]
fn every_call_of_a_transaction_says_so() {
    let cluster = cluster("t", 1);
    let runtime = one_thread();
    let mut config = config(&cluster);
    config.set("transactional.id", "tests");
    let handle = runtime.handle().clone();
    let builder = || TransactionalProducer::builder(&config).runtime(handle.clone());
    let mut idle = builder().create_transactional().unwrap();
    let mut producer = builder().create_transactional().unwrap();
    runtime.block_on(producer.init(DEADLINE)).unwrap();
    let transaction = runtime.block_on(producer.begin()).unwrap();
    drop(runtime);

    assert_kafka_error("init", block_on(idle.init(DEADLINE)));
    assert_kafka_error("begin", block_on(idle.begin()).map(drop));
    assert_refused!(block_on(transaction.send(record())));
    let offsets = [tokio_rdkafka::TopicPartitionOffset::new("in", 0, 1)];
    let group = tokio_rdkafka::ConsumerGroupMetadata::new("g");
    let sent = block_on(transaction.send_offsets(&offsets, &group));
    assert_kafka_error("send_offsets", sent);
    let error = block_on(transaction.commit()).unwrap_err();
    let (transaction, error) = error.into_parts();
    assert_ended("commit", error.is_closed(), &error);
    assert_kafka_error("abort", block_on(transaction.unwrap().abort()));
    assert_kafka_error("begin", block_on(producer.begin()).map(drop));
    block_on(producer.close());
}

#[test]
fn no_producer_is_created_on_a_runtime_that_has_ended() {
    let cluster = cluster("t", 1);
    for runtime in [one_thread(), Runtime::new().unwrap()] {
        let handle = runtime.handle().clone();
        drop(runtime);
        let config = config(&cluster);
        let created = Producer::builder(&config).runtime(handle).create();
        let error = created.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("runtime of the Producer has ended"), "{text}");
        assert!(!error.is_closed());
    }
}

#[test]
fn the_number_of_messages_given_up_is_logged_when_the_runtime_ends() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let runtime = one_thread();
    let producer = producer(&runtime, &cluster);
    let futures: Vec<_> = (0..100)
        .map(|_| producer.try_enqueue(record()).unwrap())
        .collect();
    let (guard, log) = captured(Level::WARN);
    drop(runtime);
    drop(guard);
    let log = log();
    assert!(log.contains("in_flight=100"), "{log}");
    assert!(log.contains("call close().await before"), "{log}");
    for future in futures {
        block_on(future).unwrap_err();
    }
}
