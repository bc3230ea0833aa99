//! The offsets of a consumer group, which a transaction commits.

use std::collections::HashSet;

use super::topic_name;
use crate::error::{KafkaError, RDKafkaErrorCode};

/// The longest string of the requests, in bytes: the protocol has an `i16` for its length.
const MAX_STRING_LEN: usize = i16::MAX as usize;

/// A consumer's position in a partition: the offset of the next record that it will process.
///
/// This is the offset of the last record that it has processed, plus one.
///
/// ```
/// use tokio_rdkafka::TopicPartitionOffset;
///
/// let last = 41;
/// let next = TopicPartitionOffset::new("orders", 3, last + 1).with_metadata("by worker 7");
/// assert_eq!(next.offset(), 42);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicPartitionOffset {
    topic: String,
    partition: i32,
    offset: i64,
    metadata: Option<String>,
    leader_epoch: Option<i32>,
}

impl TopicPartitionOffset {
    /// Creates the position of a consumer that will process the record at `offset` next.
    pub fn new(topic: impl Into<String>, partition: i32, offset: i64) -> Self {
        Self {
            topic: topic.into(),
            partition,
            offset,
            metadata: None,
            leader_epoch: None,
        }
    }

    /// Sets a text that the broker stores with the committed offset.
    ///
    /// Brokers accept up to `offset.metadata.max.bytes`, by default 4096 bytes.
    pub fn with_metadata(self, metadata: impl Into<String>) -> Self {
        Self {
            metadata: Some(metadata.into()),
            ..self
        }
    }

    /// Sets the leader epoch of the last record that was consumed (KIP-320).
    ///
    /// A consumer that starts from the committed offset detects by it that the log was truncated.
    pub fn with_leader_epoch(self, leader_epoch: i32) -> Self {
        Self {
            leader_epoch: Some(leader_epoch),
            ..self
        }
    }

    /// Returns the topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Returns the offset of the next record to process.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Returns the text that is stored with the committed offset.
    pub fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// Returns the leader epoch of the last consumed record, or `None` if it was not set.
    pub fn leader_epoch(&self) -> Option<i32> {
        self.leader_epoch
    }

    fn check(&self) -> Result<(), KafkaError> {
        let Self {
            topic,
            partition,
            offset,
            metadata,
            leader_epoch: _,
        } = self;
        if let Some(problem) = topic_name::problem_of_name(topic) {
            return Err(invalid_offsets(format!("the topic {problem}")));
        }
        if *partition < 0 {
            return Err(invalid_offsets(format!(
                "partition {partition} of {topic:?} is negative"
            )));
        }
        if *offset < 0 {
            // librdkafka would skip it silently.
            return Err(invalid_offsets(format!(
                "offset {offset} of {topic:?} [{partition}] is negative"
            )));
        }
        check_len("metadata", metadata.as_deref())
    }
}

/// Checks offsets before they are passed to librdkafka.
///
/// # Errors
///
/// Names the first problem.
pub(crate) fn check_offsets(offsets: &[TopicPartitionOffset]) -> Result<(), KafkaError> {
    let mut seen = HashSet::with_capacity(offsets.len());
    for offset in offsets {
        offset.check()?;
        if !seen.insert((&offset.topic, offset.partition)) {
            return Err(invalid_offsets(format!(
                "{:?} [{}] is listed twice",
                offset.topic, offset.partition
            )));
        }
    }
    Ok(())
}

/// The consumer group whose offsets are committed, and the member that commits them.
///
/// If the member is set ([`with_member`](Self::with_member)), the coordinator rejects offsets from
/// a consumer that has left the group (KIP-447). So a stalled worker cannot commit offsets of
/// partitions that another worker has taken over. The ids change with each rebalance, so read them
/// from the consumer again for each transaction.
///
/// ```
/// use tokio_rdkafka::ConsumerGroupMetadata;
///
/// let group = ConsumerGroupMetadata::new("billing").with_member(7, "consumer-1-2f6c");
/// assert_eq!((group.generation_id(), group.member_id()), (7, "consumer-1-2f6c"));
/// // If partitions are assigned by hand, there is no member.
/// let alone = ConsumerGroupMetadata::new("billing");
/// assert_eq!((alone.generation_id(), alone.member_id()), (-1, ""));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConsumerGroupMetadata {
    group_id: String,
    generation_id: i32,
    member_id: String,
    group_instance_id: Option<String>,
}

impl ConsumerGroupMetadata {
    /// Names the group with that `group.id`, without a member.
    ///
    /// The coordinator then does not check the generation. Use this for a consumer whose partitions
    /// are assigned by hand.
    pub fn new(group_id: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            generation_id: -1,
            member_id: String::new(),
            group_instance_id: None,
        }
    }

    /// Sets the member: the group's generation and the member's id.
    ///
    /// With the consumer protocol of KIP-848 the member epoch takes the place of the generation.
    pub fn with_member(self, generation_id: i32, member_id: impl Into<String>) -> Self {
        Self {
            generation_id,
            member_id: member_id.into(),
            ..self
        }
    }

    /// Sets the `group.instance.id` of a static member (KIP-345).
    pub fn with_group_instance_id(self, group_instance_id: impl Into<String>) -> Self {
        Self {
            group_instance_id: Some(group_instance_id.into()),
            ..self
        }
    }

    /// Returns the `group.id`.
    pub fn group_id(&self) -> &str {
        &self.group_id
    }

    /// Returns the group's generation or the member epoch, and −1 without a member.
    pub fn generation_id(&self) -> i32 {
        self.generation_id
    }

    /// Returns the id that the coordinator gave the member, and an empty text without a member.
    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    /// Returns the `group.instance.id` of a static member.
    pub fn group_instance_id(&self) -> Option<&str> {
        self.group_instance_id.as_deref()
    }

    /// Checks the texts before they are passed to librdkafka.
    ///
    /// # Errors
    ///
    /// Names the first problem.
    pub(crate) fn check(&self) -> Result<(), KafkaError> {
        if self.group_id.is_empty() {
            return Err(invalid_offsets("the group id is empty".to_owned()));
        }
        check_len("group id", Some(&self.group_id))?;
        check_len("member id", Some(&self.member_id))?;
        check_len("group instance id", self.group_instance_id())
    }
}

fn check_len(what: &str, text: Option<&str>) -> Result<(), KafkaError> {
    match text.map_or(0, str::len) {
        0..=MAX_STRING_LEN => Ok(()),
        len => Err(invalid_offsets(format!(
            "the {what} has {len} bytes, more than {MAX_STRING_LEN}"
        ))),
    }
}

pub(crate) fn invalid_offsets(problem: String) -> KafkaError {
    KafkaError::with_text(
        RDKafkaErrorCode::InvalidArgument,
        format!("invalid offsets: {problem}"),
    )
}
