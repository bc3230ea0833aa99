//! Metadata and partitioners.

use std::time::{Duration, Instant};

use futures::future::join_all;
use libtest_mimic::Trial;
use rdkafka::message::Message as _;
use tokio_rdkafka::{
    Broker, ClientContext, DeliveryResult, KafkaError, PartitionInfo, PartitionRequest,
    Partitioner, Producer, ProducerContext, ProducerRecord, RDKafkaErrorCode,
};

use crate::support::kafka::{Cluster, DEADLINE};
use crate::support::logins::{GUARDED, Locked, READER, WRITER};
use crate::support::trials::{Module, one_thread};

const MODULE: Module = Module("metadata");

pub fn trials() -> Vec<Trial> {
    vec![
        MODULE.trial("a_cluster_tells_of_itself", a_cluster),
        MODULE.trial("asking_for_a_topic_does_not_make_it", unknown_topics),
        MODULE
            .trial(
                "a_topic_that_a_user_must_not_see_differs_from_one_that_does_not_exist",
                rights,
            )
            .with_ignored_flag(!Locked::is_there()),
        MODULE.trial("a_partitioner_of_the_users_own_chooses", a_partitioner),
        MODULE.trial_alone(
            one_thread,
            "without_a_node_the_others_answer",
            without_a_node,
        ),
    ]
}

/// The partitions, once all brokers know of the topic.
async fn partitions(producer: &Producer, topic: &str) -> Vec<PartitionInfo> {
    let started = Instant::now();
    loop {
        match producer.partitions_for(topic, DEADLINE).await {
            Ok(partitions) if partitions.iter().all(|found| found.isr().len() == 3) => {
                return partitions;
            }
            Ok(_) => {}
            Err(error) => assert_eq!(error.code(), unknown(), "{error}"),
        }
        assert!(started.elapsed() < DEADLINE, "{topic} never came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn unknown() -> Option<RDKafkaErrorCode> {
    Some(RDKafkaErrorCode::UnknownTopicOrPartition)
}

async fn a_cluster(cluster: Cluster) {
    let topic = cluster.create_topic(4, 3).await;
    let producer: Producer = cluster.config().create().unwrap();
    let info = producer.cluster(DEADLINE).await.unwrap();
    let ids: Vec<_> = info.brokers().iter().map(Broker::id).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(!info.id().is_empty());
    let controller = info.controller().expect("a controller");
    assert_eq!(controller.host(), "127.0.0.1");

    let found = partitions(&producer, &topic).await;
    let ids: Vec<_> = found.iter().map(PartitionInfo::id).collect();
    assert_eq!(ids, [0, 1, 2, 3]);
    for partition in &found {
        let leader = partition.leader().expect("a leader");
        assert_eq!(leader, cluster.leader(&topic, partition.id()));
        assert!(partition.replicas().contains(&leader));
        assert_eq!(partition.replicas().len(), 3);
    }
    let topics = producer.topics(DEADLINE).await.unwrap();
    let listed = topics.iter().find(|found| found.name() == topic);
    let listed = listed.expect("the topic");
    assert!(listed.error().is_none());
    assert_eq!(listed.partitions().len(), 4);
    // Those that other tests have deleted meanwhile may be named in vain.
    let mut names: Vec<_> = topics.iter().map(|topic| topic.name()).collect();
    names.dedup();
    assert!(names.is_sorted() && names.len() == topics.len());
    producer.close().await;
}

/// The brokers would make it for whoever asks otherwise: `auto.create.topics.enable`.
async fn unknown_topics(cluster: Cluster) {
    let producer: Producer = cluster.config().create().unwrap();
    let topic = format!("nowhere-{}", std::process::id());
    for _ in 0..3 {
        let error = producer.partitions_for(&topic, DEADLINE).await.unwrap_err();
        assert_eq!(error.code(), unknown(), "{error}");
    }
    let topics = producer.topics(DEADLINE).await.unwrap();
    assert!(topics.iter().all(|found| found.name() != topic));
    let invalid = producer.partitions_for("no/such:name", DEADLINE).await;
    let code = invalid.as_ref().err().and_then(KafkaError::code);
    assert_eq!(code, Some(RDKafkaErrorCode::InvalidTopic), "{invalid:?}");
}

/// Describe, which comes with every other right, is what a user needs.
async fn rights(cluster: Cluster) {
    let locked = Locked::from_env();
    let there = format!("{GUARDED}seen-{}", std::process::id());
    let missing = format!("{GUARDED}missing-{}", std::process::id());
    let nowhere = format!("seen-nowhere-{}", std::process::id());
    cluster.create_topic_named(&there, 2, 3).await;
    let code_of = async |producer: &Producer, topic: &str| {
        let found = producer.partitions_for(topic, DEADLINE).await;
        let error = found.expect_err(topic);
        assert!(!error.is_fatal() && !error.is_timed_out(), "{error:?}");
        error.code()
    };

    let writer: Producer = locked.login_unsecured(WRITER).create().unwrap();
    assert_eq!(partitions(&writer, &there).await.len(), 2);
    assert_eq!(code_of(&writer, &missing).await, unknown());
    assert_eq!(code_of(&writer, &nowhere).await, unknown());
    let reader: Producer = locked.login_unsecured(READER).create().unwrap();
    assert_eq!(partitions(&reader, &there).await.len(), 2);

    let stranger: Producer = locked.login_unsecured("stranger").create().unwrap();
    let forbidden = Some(RDKafkaErrorCode::TopicAuthorizationFailed);
    // Brokers do not even tell whether it is there.
    for topic in [&there, &missing] {
        assert_eq!(code_of(&stranger, topic).await, forbidden, "{topic}");
    }
    assert_eq!(code_of(&stranger, &nowhere).await, unknown());
    let listed = async |producer: &Producer| {
        let topics = producer.topics(DEADLINE).await.unwrap();
        topics.iter().any(|found| found.name() == there)
    };
    assert!(listed(&writer).await && listed(&reader).await);
    assert!(!listed(&stranger).await);
    // It is let in, and goes on.
    stranger.cluster(DEADLINE).await.unwrap();
    for producer in [writer, reader, stranger] {
        producer.close().await;
    }
}

/// By the payload's length.
struct ByLength;

impl Partitioner for ByLength {
    fn partition(&self, record: &PartitionRequest<'_>) -> i32 {
        record.payload_len() as i32 % record.partition_count()
    }
}

impl ClientContext for ByLength {}

impl ProducerContext for ByLength {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}

    fn partitioner(&self) -> Option<&dyn Partitioner> {
        Some(self)
    }
}

async fn a_partitioner(cluster: Cluster) {
    const RECORDS: usize = 300;
    let topic = cluster.create_topic(3, 3).await;
    let producer: Producer<ByLength> = cluster
        .config()
        .set("linger.ms", "5")
        .set("enable.idempotence", "true")
        .create_with_context(ByLength)
        .unwrap();
    // The first ones before the partitions are known; every other one has no key.
    let mut futures = Vec::new();
    for length in 0..RECORDS {
        let record = ProducerRecord::to(&*topic).payload(vec![b'v'; length]);
        let record = if length % 2 == 0 {
            record.key("key")
        } else {
            record
        };
        futures.push(producer.enqueue(record).await.unwrap());
    }
    for (length, delivery) in join_all(futures).await.into_iter().enumerate() {
        assert_eq!(delivery.unwrap().partition(), length as i32 % 3);
    }
    for partition in 0..3 {
        let read = cluster.read_all(&topic, partition);
        assert_eq!(read.len(), RECORDS / 3);
        for message in read {
            let length = message.payload().map_or(0, <[u8]>::len);
            assert_eq!(length as i32 % 3, partition);
            assert_eq!(message.key().is_some(), length % 2 == 0);
        }
    }
    producer.close().await;
}

async fn without_a_node(cluster: Cluster) {
    let topic = cluster.create_topic(3, 3).await;
    let producer: Producer = cluster.config().create().unwrap();
    partitions(&producer, &topic).await;
    let brokers = async |count: usize| {
        let started = Instant::now();
        loop {
            let info = producer.cluster(Duration::from_secs(20)).await.unwrap();
            if info.brokers().len() == count {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{info:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    for node in 1..=3 {
        Cluster::node("stop", node);
        brokers(2).await;
        let found = producer.partitions_for(&topic, DEADLINE).await.unwrap();
        assert!(found.iter().all(|found| found.leader() != Some(node)));
        assert!(found.iter().all(|found| found.replicas().len() == 3));
        Cluster::node("start", node);
        brokers(3).await;
        partitions(&producer, &topic).await;
    }
    producer.close().await;
}
