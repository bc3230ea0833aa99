//! What an rdkafka consumer tells of its group and its positions, on the mock cluster. That it
//! keeps transactions exact is tested in `tests/example/exactly_once.rs`.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio_rdkafka::{
    ApiKey, ConsumedOffsets, ConsumerGroupMetadata, MockCluster, Producer, ProducerRecord,
    RDKafkaErrorCode as Code, TopicPartitionOffset, TransactionalProducer,
};

use crate::support::mock::{DEADLINE, cluster, config};

fn consumer_config(cluster: &MockCluster) -> rdkafka::ClientConfig {
    let mut config = rdkafka::ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "group")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("log_level", "3");
    config
}

/// A cluster whose topic has `count` records, in one partition.
async fn with_records(count: usize) -> MockCluster {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    for number in 0..count {
        let record = ProducerRecord::to("t")
            .partition(0)
            .payload(number.to_string());
        producer.send(record).await.unwrap();
    }
    producer.close().await;
    cluster
}

fn next(consumer: &BaseConsumer) -> BorrowedMessage<'_> {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < DEADLINE, "no message");
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            return message;
        }
    }
}

fn assigned(cluster: &MockCluster, offset: Offset) -> BaseConsumer {
    let consumer: BaseConsumer = consumer_config(cluster).create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset("t", 0, offset).unwrap();
    consumer.assign(&assignment).unwrap();
    consumer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_member_is_that_of_the_time_of_the_call() {
    let cluster = with_records(1).await;
    let consumer: BaseConsumer = consumer_config(&cluster)
        .set("group.instance.id", "instance")
        .create()
        .unwrap();
    let before = ConsumerGroupMetadata::from_consumer(&consumer).unwrap();
    assert_eq!(
        before,
        ConsumerGroupMetadata::new("group").with_group_instance_id("instance")
    );

    consumer.subscribe(&["t"]).unwrap();
    drop(next(&consumer));
    let joined = ConsumerGroupMetadata::from_consumer(&consumer).unwrap();
    assert_eq!(joined.group_id(), "group");
    assert_eq!(joined.group_instance_id(), Some("instance"));
    assert!(joined.generation_id() >= 1, "{joined:?}");
    assert!(!joined.member_id().is_empty());
}

#[test]
fn without_a_group_there_is_no_member() {
    let cluster = MockCluster::new(1).unwrap();
    let mut config = consumer_config(&cluster);
    config.remove("group.id");
    let consumer: BaseConsumer = config.create().unwrap();
    let error = ConsumerGroupMetadata::from_consumer(&consumer).unwrap_err();
    assert_eq!(error.code(), Some(Code::UnknownGroup));
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_behind_what_was_handed_out() {
    let cluster = with_records(3).await;
    let consumer = assigned(&cluster, Offset::Offset(1));
    assert_eq!(TopicPartitionOffset::positions(&consumer).unwrap(), []);
    let message = next(&consumer);
    assert_eq!(message.offset(), 1);
    let positions = TopicPartitionOffset::positions(&consumer).unwrap();
    let places: Vec<_> = positions
        .iter()
        .map(|next| (next.topic(), next.partition(), next.offset()))
        .collect();
    assert_eq!(places, [("t", 0, 2)]);
    assert_eq!(TopicPartitionOffset::after(&message).offset(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_within_a_transaction_requires_an_abort() {
    let cluster = with_records(3).await;
    let consumer = assigned(&cluster, Offset::Beginning);
    let mut consumed = ConsumedOffsets::new();
    assert!(consumed.is_empty());
    let first = next(&consumer).detach();
    consumed.add(&consumer, &first).unwrap();
    consumed.add(&consumer, &next(&consumer)).unwrap();
    assert_eq!(consumed.offsets(), [TopicPartitionOffset::new("t", 0, 2)]);
    assert_eq!(consumed.group(), Some(&ConsumerGroupMetadata::new("group")));

    let error = consumed.add(&consumer, &first).unwrap_err();
    assert!(error.requires_abort(), "{error:?}");
    assert_eq!(error.code(), Some(Code::AssignmentLost));
    assert_eq!(consumed.offsets(), [TopicPartitionOffset::new("t", 0, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_consumed_goes_with_the_transaction() {
    let cluster = with_records(2).await;
    let consumer: StreamConsumer = consumer_config(&cluster).create().unwrap();
    consumer.subscribe(&["t"]).unwrap();
    let mut producer: TransactionalProducer = config(&cluster)
        .set("transactional.id", "tx")
        .create()
        .unwrap();
    producer.init(DEADLINE).await.unwrap();
    cluster.start_request_tracking();

    let transaction = producer.begin().await.unwrap();
    let mut consumed = ConsumedOffsets::new();
    transaction.send_consumed(&consumed).await.unwrap();
    for _ in 0..2 {
        let message = consumer.recv().await.unwrap();
        consumed.add(&consumer, &message).unwrap();
    }
    assert!(consumed.group().unwrap().generation_id() >= 1);
    transaction.send_consumed(&consumed).await.unwrap();
    transaction.commit().await.unwrap();
    let requests = cluster.requests();
    let commits = requests
        .iter()
        .filter(|request| request.api_key() == ApiKey::TxnOffsetCommit);
    assert_eq!(commits.count(), 1);
    tokio::task::spawn_blocking(move || drop(consumer))
        .await
        .unwrap();
}
