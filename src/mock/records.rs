//! Reads the records of a topic. Blocks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::conf::conf;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::mock::Consumer;
use crate::message::OwnedMessage;

/// The time after which the reader checks again whether the caller still waits for the result.
const SLICE: Duration = Duration::from_millis(100);

/// The consumer's configuration. It has no group, so it needs no coordinator and commits no
/// offsets.
const CONFIG: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "false"),
    ("auto.offset.reset", "earliest"),
    ("client.id", "tokio-rdkafka-mock"),
    ("enable.auto.commit", "false"),
    ("enable.metrics.push", "false"),
    ("enable.partition.eof", "true"),
    ("fetch.error.backoff.ms", "10"),
    ("fetch.wait.max.ms", "10"),
    ("isolation.level", "read_uncommitted"),
    // Failures are returned as errors.
    ("log_level", "0"),
];

/// Returns the messages that are in the topic now, ordered by partition, then by offset.
///
/// Stops early once `is_cancelled` returns true.
pub(super) fn read(
    bootstrap_servers: &str,
    topic: &str,
    limit: Duration,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Vec<OwnedMessage>, KafkaError> {
    let deadline = Instant::now() + limit;
    let left = || deadline.saturating_duration_since(Instant::now());

    let config = [("bootstrap.servers", bootstrap_servers)];
    let consumer = Consumer::new(conf(config.iter().chain(CONFIG))?)?;
    let partitions = consumer.partitions(topic, left())?;
    if let Some(partition) = partitions.iter().find(|partition| !partition.has_leader) {
        return Err(KafkaError::with_text(
            RDKafkaErrorCode::LeaderNotAvailable,
            format!(
                "topic {topic:?}: partition {} has no leader, or its leader is down",
                partition.id
            ),
        ));
    }

    let mut reader = consumer.reader(topic)?;
    // The end offset of each partition that has not been read to its end.
    let mut ends = BTreeMap::new();
    for partition in partitions {
        let (low, high) = consumer.watermarks(topic, partition.id, left())?;
        if low < high {
            ends.insert(partition.id, high);
            reader.start(partition.id, low)?;
        }
    }

    let mut messages = Vec::new();
    while !ends.is_empty() && !is_cancelled() {
        let left = left();
        if left.is_zero() {
            return Err(KafkaError::with_text(
                RDKafkaErrorCode::OperationTimedOut,
                format!("topic {topic:?} was not read to its end within {limit:?}"),
            ));
        }
        let Some(message) = reader.next(left.min(SLICE)) else {
            continue;
        };
        let message = message.get();
        let partition = message.partition();
        match RDKafkaErrorCode::from(message.code()) {
            RDKafkaErrorCode::NoError => {
                let (Some(&end), Some(offset)) = (ends.get(&partition), message.offset()) else {
                    continue;
                };
                if offset < end {
                    messages.push(OwnedMessage::copy_of(&message));
                }
                if offset >= end - 1 {
                    ends.remove(&partition);
                }
            }
            RDKafkaErrorCode::PartitionEOF => {
                ends.remove(&partition);
            }
            code => return Err(KafkaError::from_code(code)),
        }
    }
    messages.sort_by_key(|message| (message.partition(), message.offset()));
    Ok(messages)
}
