//! The offsets of a consumer group that are committed with a transaction.

use std::collections::HashSet;

use super::topic_name;
use crate::error::{KafkaError, RDKafkaErrorCode};

/// The longest string that the requests can carry, in bytes: its length is an `i16` there.
const MAX_STRING_LEN: usize = i16::MAX as usize;

/// How far a consumer has got in a partition: the offset that it goes on with, which is that of the
/// last record it is done with plus one.
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
    /// The next offset to consume from a partition of a topic.
    pub fn new(topic: impl Into<String>, partition: i32, offset: i64) -> Self {
        Self {
            topic: topic.into(),
            partition,
            offset,
            metadata: None,
            leader_epoch: None,
        }
    }

    /// Sets a text that is kept with the committed offset; brokers take up to
    /// `offset.metadata.max.bytes`, by default 4096 bytes.
    pub fn with_metadata(self, metadata: impl Into<String>) -> Self {
        Self {
            metadata: Some(metadata.into()),
            ..self
        }
    }

    /// Sets the leader epoch of the last record that was consumed, by which a consumer that starts
    /// from the committed offset can tell that the log was truncated (KIP-320).
    pub fn with_leader_epoch(self, leader_epoch: i32) -> Self {
        Self {
            leader_epoch: Some(leader_epoch),
            ..self
        }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset to go on with.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The text that is kept with the committed offset.
    pub fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// The leader epoch of the last record that was consumed.
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
                "partition {partition} of {topic:?}"
            )));
        }
        if *offset < 0 {
            // librdkafka would leave it out without a word.
            return Err(invalid_offsets(format!(
                "offset {offset} of {topic:?} [{partition}]"
            )));
        }
        check_len("metadata", metadata.as_deref())
    }
}

/// Checks offsets before they go to librdkafka.
///
/// # Errors
///
/// Names what is wrong.
pub(crate) fn check_offsets(offsets: &[TopicPartitionOffset]) -> Result<(), KafkaError> {
    let mut seen = HashSet::with_capacity(offsets.len());
    for offset in offsets {
        offset.check()?;
        if !seen.insert((&offset.topic, offset.partition)) {
            return Err(invalid_offsets(format!(
                "there are two for {:?} [{}]",
                offset.topic, offset.partition
            )));
        }
    }
    Ok(())
}

/// Which consumer group offsets are committed for, and as which member of it.
///
/// With the member's ids the group's coordinator refuses the offsets of a consumer that the group
/// has gone on without (KIP-447): what keeps a worker that was away for long from committing what
/// another one has taken over. The ids change with each rebalance, so take them from the consumer
/// anew for each transaction.
///
/// ```
/// use tokio_rdkafka::ConsumerGroupMetadata;
///
/// let group = ConsumerGroupMetadata::new("billing").with_member(7, "consumer-1-2f6c");
/// assert_eq!((group.generation_id(), group.member_id()), (7, "consumer-1-2f6c"));
/// // Where partitions are assigned by hand, there is no member.
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
    /// The group of that `group.id`, and no member of it: nothing is checked against the group's
    /// generation. For a consumer whose partitions are assigned by hand.
    pub fn new(group_id: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            generation_id: -1,
            member_id: String::new(),
            group_instance_id: None,
        }
    }

    /// Sets the member: the generation (with the protocol of KIP-848, the member epoch) and its id.
    pub fn with_member(self, generation_id: i32, member_id: impl Into<String>) -> Self {
        Self {
            generation_id,
            member_id: member_id.into(),
            ..self
        }
    }

    /// Sets the `group.instance.id` of a static member.
    pub fn with_group_instance_id(self, group_instance_id: impl Into<String>) -> Self {
        Self {
            group_instance_id: Some(group_instance_id.into()),
            ..self
        }
    }

    /// The `group.id`.
    pub fn group_id(&self) -> &str {
        &self.group_id
    }

    /// The generation of the group, or the member epoch; −1 without a member.
    pub fn generation_id(&self) -> i32 {
        self.generation_id
    }

    /// The member's id, which the coordinator gave it; empty without a member.
    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    /// The `group.instance.id` of a static member.
    pub fn group_instance_id(&self) -> Option<&str> {
        self.group_instance_id.as_deref()
    }

    /// Checks it before it goes to librdkafka.
    ///
    /// # Errors
    ///
    /// Names what is wrong.
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
