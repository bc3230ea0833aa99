//! Offsets of a consumer in a transaction.

use tokio_rdkafka::{
    ApiKey, ConsumerGroupMetadata, RDKafkaErrorCode as Code, TopicPartitionOffset,
};

use super::{begun, plain_error, requests, transactional};
use crate::support::mock::{DEADLINE, cluster};

#[test]
fn offsets_go_to_the_groups_coordinator() {
    let cluster = cluster("t", 1);
    cluster.create_topic("in", 101, 1).unwrap();
    cluster.create_topic("other", 1, 1).unwrap();
    cluster.start_request_tracking();
    let producer = begun(&transactional(&cluster));
    let group = ConsumerGroupMetadata::new("g")
        .with_member(7, "member")
        .with_group_instance_id("instance");
    producer
        .send_offsets_to_transaction(&[], &group, DEADLINE)
        .unwrap();
    assert_eq!(requests(&cluster, ApiKey::AddOffsetsToTxn), 0);

    let mut offsets: Vec<_> = (0..100)
        .map(|partition| TopicPartitionOffset::new("in", partition, 0))
        .collect();
    offsets.push(TopicPartitionOffset::new("other", 0, i64::MAX).with_metadata(""));
    offsets.push(
        TopicPartitionOffset::new("in", 100, 42)
            .with_metadata("x".repeat(4_096))
            .with_leader_epoch(0),
    );
    producer
        .send_offsets_to_transaction(&offsets, &group, DEADLINE)
        .unwrap();
    assert_eq!(requests(&cluster, ApiKey::AddOffsetsToTxn), 1);
    assert_eq!(requests(&cluster, ApiKey::TxnOffsetCommit), 1);
    // A part of it, though no record is.
    producer.commit_transaction(DEADLINE).unwrap();
    assert_eq!(requests(&cluster, ApiKey::EndTxn), 1);
}

#[test]
fn offsets_that_cannot_be_sent_are_refused_before_they_are() {
    let cluster = cluster("t", 1);
    cluster.create_topic("in", 1, 1).unwrap();
    cluster.start_request_tracking();
    let producer = begun(&transactional(&cluster));
    let good = TopicPartitionOffset::new("in", 0, 1);
    let group = ConsumerGroupMetadata::new("g");
    let long = "x".repeat(32_768);
    let rows: Vec<(Vec<TopicPartitionOffset>, ConsumerGroupMetadata, &str)> = vec![
        (
            vec![TopicPartitionOffset::new("", 0, 1)],
            group.clone(),
            "topic is empty",
        ),
        (
            vec![TopicPartitionOffset::new("a\0b", 0, 1)],
            group.clone(),
            "topic contains a NUL",
        ),
        (
            vec![TopicPartitionOffset::new(&long, 0, 1)],
            group.clone(),
            "topic is longer",
        ),
        (
            vec![TopicPartitionOffset::new("in", -1, 1)],
            group.clone(),
            "partition -1 of \"in\"",
        ),
        (
            vec![good.clone(), TopicPartitionOffset::new("in", 3, -1001)],
            group.clone(),
            "offset -1001 of \"in\" [3]",
        ),
        (
            vec![good.clone(), good.clone()],
            group.clone(),
            "\"in\" [0] is listed twice",
        ),
        (
            vec![good.clone().with_metadata(&long)],
            group.clone(),
            "metadata has 32768 bytes",
        ),
        (
            vec![good.clone()],
            ConsumerGroupMetadata::new(""),
            "group id is empty",
        ),
        (
            vec![good.clone()],
            ConsumerGroupMetadata::new("a\0b"),
            "group id contains a NUL",
        ),
        (
            vec![good.clone()],
            ConsumerGroupMetadata::new(&long),
            "group id has 32768 bytes",
        ),
        (
            vec![good.clone()],
            group.clone().with_member(1, "\0"),
            "member id contains a NUL",
        ),
        (
            vec![good.clone()],
            group.clone().with_group_instance_id("\0"),
            "group instance id contains a NUL",
        ),
    ];
    for (offsets, group, problem) in rows {
        let result = producer.send_offsets_to_transaction(&offsets, &group, DEADLINE);
        let error = plain_error(result, Code::InvalidArgument, false);
        assert!(error.to_string().contains(problem), "{error}");
    }
    assert_eq!(requests(&cluster, ApiKey::AddOffsetsToTxn), 0);
    // The transaction is as it was.
    producer
        .send_offsets_to_transaction(&[good], &group, DEADLINE)
        .unwrap();
    producer.commit_transaction(DEADLINE).unwrap();
}
