//! What brokers refuse, and what they do not know yet.

use std::error::Error as _;
use std::time::Instant;

use futures::StreamExt;
use futures::future::join_all;
use libtest_mimic::Trial;
use rdkafka::message::Message as _;
use tokio::task::spawn_blocking;
use tokio_rdkafka::{Persistence, Producer, ProducerRecord, RDKafkaErrorCode as Code, SendError};

use crate::support::kafka::{Cluster, DEADLINE};
use crate::support::proxy::{PRODUCE, Proxy};
use crate::support::trials::{Module, many_threads};

const MODULE: Module = Module("verdicts");

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![trial(
        "partitions_that_are_added_are_found_by_the_first_send",
        partitions_that_are_added,
    )];
    for idempotence in ["false", "true"] {
        let suffix = if idempotence == "true" {
            "_with_idempotence"
        } else {
            ""
        };
        let name = |name: &str| format!("{name}{suffix}");
        trials.extend([
            trial(
                &name("a_record_without_a_key_alone_is_refused_by_a_compacted_topic"),
                move |cluster| one_without_a_key(cluster, idempotence),
            ),
            trial(
                &name("a_timestamp_out_of_range_alone_is_refused"),
                move |cluster| one_timestamp(cluster, idempotence),
            ),
            trial(
                &name("a_batch_that_is_too_large_arrives_record_by_record"),
                move |cluster| a_large_batch(cluster, idempotence),
            ),
        ]);
    }
    trials.push(MODULE.trial_alone(
        many_threads,
        "what_no_broker_has_confirmed_is_not_persisted",
        what_no_broker_has_confirmed,
    ));
    trials
}

fn trial<F>(name: &str, test: impl FnOnce(Cluster) -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    MODULE.trial_on(many_threads, name, test)
}

async fn topic(cluster: &Cluster, property: &str, value: &str) -> String {
    let topic = Cluster::new_name();
    let properties = [(property, value)];
    cluster.create_topic_with(&topic, 1, 3, &properties).await;
    topic
}

/// A producer that knows the topic, and whose next records go into one batch.
async fn batching(cluster: &Cluster, topic: &str, idempotence: &str) -> Producer {
    let producer: Producer = cluster
        .config()
        .set("linger.ms", "100")
        .set("enable.idempotence", idempotence)
        .create()
        .unwrap();
    let first = ProducerRecord::to(topic).key("k").payload("first");
    producer.send(first).await.unwrap();
    producer
}

fn refused(results: &[Result<tokio_rdkafka::Delivery, SendError>]) -> Vec<usize> {
    let all = results.iter().enumerate();
    all.filter_map(|(index, result)| result.is_err().then_some(index))
        .collect()
}

fn read(cluster: &Cluster, topic: &str, count: usize) -> Vec<String> {
    let read = cluster.read(topic, 0, 0, count);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    read.iter()
        .map(|message| text(message.payload().unwrap()))
        .collect()
}

async fn one_without_a_key(cluster: Cluster, idempotence: &str) {
    let topic = topic(&cluster, "cleanup.policy", "compact").await;
    let producer = batching(&cluster, &topic, idempotence).await;
    let records = || {
        [Some("a"), None, Some("c")].map(|key| {
            let payload = key.unwrap_or("keyless");
            ProducerRecord::to(&topic).key(key).payload(payload)
        })
    };
    let results: Vec<_> = producer.send_all(records()).collect().await;
    assert_eq!(refused(&results), [0, 1, 2]);
    for result in &results {
        let error = result.as_ref().unwrap_err();
        assert!(error.is_batch_refused(), "{error}");
    }
    let results = producer.send_all(records()).resend_refused_batches();
    let results: Vec<_> = results.collect().await;
    assert_eq!(refused(&results), [1]);
    let error = results[1].as_ref().unwrap_err();
    assert_eq!(error.code(), Some(Code::InvalidRecord), "{error}");
    assert!(!error.is_batch_refused(), "{error}");
    assert_eq!(read(&cluster, &topic, 3), ["first", "a", "c"]);
}

async fn one_timestamp(cluster: Cluster, idempotence: &str) {
    let topic = topic(&cluster, "message.timestamp.before.max.ms", "3600000").await;
    let producer = batching(&cluster, &topic, idempotence).await;
    let records = (0..10).map(|index| {
        let record = ProducerRecord::to(&topic).payload(index.to_string());
        if index == 4 || index == 7 {
            record.timestamp(1_000_000)
        } else {
            record
        }
    });
    let results: Vec<_> = producer.send_all(records.clone()).collect().await;
    assert_eq!(refused(&results), Vec::from_iter(0..10));
    for (index, result) in results.iter().enumerate() {
        let error = result.as_ref().unwrap_err();
        // Two are named, so the others are told apart.
        let is_guilty = index == 4 || index == 7;
        assert!(error.is_batch_refused(), "{error}");
        assert_eq!(error.is_retriable(), !is_guilty, "{error}");
    }
    let results = producer.send_all(records).resend_refused_batches();
    let results: Vec<_> = results.collect().await;
    assert_eq!(refused(&results), [4, 7]);
    for index in [4, 7] {
        let error = results[index].as_ref().unwrap_err();
        assert_eq!(error.code(), Some(Code::InvalidTimestamp), "{error}");
        assert!(!error.is_batch_refused(), "{error}");
    }
    let expected = ["first", "0", "1", "2", "3", "5", "6", "8", "9"];
    assert_eq!(read(&cluster, &topic, 9), expected);
}

async fn a_large_batch(cluster: Cluster, idempotence: &str) {
    let topic = topic(&cluster, "max.message.bytes", "20000").await;
    let producer = batching(&cluster, &topic, idempotence).await;
    let payload = |index: usize| {
        let size = if index == 50 { 30_000 } else { 1_000 };
        format!("{index:0size$}")
    };
    let records = (0..100).map(|index| ProducerRecord::to(&topic).payload(payload(index)));
    let results = producer.send_all(records).resend_refused_batches();
    let results: Vec<_> = results.collect().await;
    assert_eq!(refused(&results), [50]);
    let error = results[50].as_ref().unwrap_err();
    assert_eq!(error.code(), Some(Code::MessageSizeTooLarge));
    assert!(!error.is_batch_refused(), "{error}");
    assert!(error.to_string().contains("max.message.bytes of the topic"));
    let mut expected = vec!["first".to_owned()];
    expected.extend((0..100).filter(|index| *index != 50).map(payload));
    assert!(read(&cluster, &topic, 100) == expected);
}

async fn partitions_that_are_added(cluster: Cluster) {
    let topic = cluster.create_topic(2, 3).await;
    let producer: Producer = cluster.config().create().unwrap();
    let to = |partition| ProducerRecord::to(&topic).partition(partition).payload("v");
    producer.send(to(1)).await.unwrap();
    cluster.add_partitions(&topic, 4).await;
    assert_eq!(producer.send(to(3)).await.unwrap().partition(), 3);

    // One that never comes, and many that ask for it.
    let started = Instant::now();
    let results = join_all((0..1_000).map(|_| producer.send(to(9)))).await;
    // Each after the other, they would take 3000 s.
    assert!(started.elapsed() < DEADLINE);
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(Code::UnknownPartition));
        assert_eq!(error.persistence(), Persistence::NotPersisted);
    }
    // An answer that was late tells of no partitions.
    loop {
        let error = producer.send(to(9)).await.unwrap_err();
        if error.to_string().contains("4 partitions") {
            break;
        }
        assert!(error.source().is_some(), "{error}");
        assert!(started.elapsed() < DEADLINE, "{error}");
    }
}

/// The leader refuses the first request, because a replica is down, and then accepts the second: it
/// does not know the producer yet. librdkafka takes both for written.
async fn what_no_broker_has_confirmed(cluster: Cluster) {
    let topic = topic(&cluster, "min.insync.replicas", "3").await;
    let node = {
        let (cluster, topic) = (cluster.clone(), topic.clone());
        let killed = spawn_blocking(move || {
            let leader = cluster.leader(&topic, 0);
            let node = (1..=3).find(|node| *node != leader).unwrap();
            Cluster::node("kill", node);
            let started = Instant::now();
            while cluster.in_sync(&topic, 0) == 3 {
                assert!(started.elapsed() < DEADLINE, "still in sync");
            }
            node
        });
        killed.await.unwrap()
    };
    let proxy = Proxy::new(&cluster);
    let mut config = cluster.config();
    config
        .set("bootstrap.servers", proxy.bootstrap_servers())
        .set("enable.idempotence", "true")
        .set("batch.num.messages", "1")
        // The second goes first.
        .set("retry.backoff.ms", "5000")
        .set("retry.backoff.max.ms", "5000");
    let producer: Producer = config.create().unwrap();
    producer.partitions_for(&topic, DEADLINE).await.unwrap();
    let requests = [proxy.hold(PRODUCE), proxy.hold(PRODUCE)];
    let enqueue = |payload| producer.try_enqueue(ProducerRecord::to(&topic).payload(payload));
    let sent = ["first", "second"].map(|payload| enqueue(payload).unwrap());
    requests[0].is_held().await;
    requests[0].deliver().await;
    requests[1].is_held().await;
    cluster
        .set_property(&topic, "min.insync.replicas", "2")
        .await;
    let other: Producer = cluster.config().create().unwrap();
    let confirmed = other.send(ProducerRecord::to(&topic)).await.unwrap();
    assert_eq!(confirmed.persistence(), Persistence::Persisted);
    requests[1].deliver().await;

    let results = join_all(sent).await;
    let read = {
        let (cluster, topic) = (cluster.clone(), topic.clone());
        spawn_blocking(move || cluster.read_all(&topic, 0))
    };
    let read = read.await.unwrap();
    for (payload, result) in ["first", "second"].into_iter().zip(results) {
        let delivery = result.unwrap();
        let is_there = read
            .iter()
            .any(|it| it.payload() == Some(payload.as_bytes()));
        println!("{payload}: {delivery:?}, in the log: {is_there}");
        let is_confirmed = delivery.persistence() == Persistence::Persisted;
        assert_eq!(is_confirmed, delivery.broker_id().is_some(), "{delivery:?}");
        assert_eq!(is_confirmed, delivery.offset().is_some(), "{delivery:?}");
        assert!(is_there || !is_confirmed, "{payload} is lost");
    }
    producer.close().await;
    other.close().await;
    let revived = spawn_blocking(move || {
        Cluster::node("start", node);
        let started = Instant::now();
        while !cluster.is_whole_for(node, &topic) {
            assert!(started.elapsed() < DEADLINE, "node {node} is not back");
        }
    });
    revived.await.unwrap();
}
