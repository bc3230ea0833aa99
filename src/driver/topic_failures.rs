//! Why records to a topic failed first, for those that are refused later because of that.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::sync::lock;

/// The topics that are remembered at most.
const MOST_TOPICS: usize = 1_024;

/// The first failure of each topic that does not exist or may not be used.
///
/// After it, librdkafka refuses the records of the topic with `_UNKNOWN_TOPIC`, whatever the broker
/// said (`rd_kafka_msg_partitioner`).
#[derive(Debug, Default)]
pub(super) struct TopicFailures(Mutex<HashMap<Box<str>, KafkaError>>);

impl TopicFailures {
    /// Keeps the failure of a record if it is the topic's.
    pub(super) fn record(&self, topic: &str, error: &KafkaError) {
        let is_topics = matches!(
            error.code(),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::InvalidTopic
                    | RDKafkaErrorCode::TopicAuthorizationFailed
            )
        );
        if is_topics {
            let mut failures = lock(&self.0);
            if failures.len() >= MOST_TOPICS {
                failures.clear();
            }
            failures.insert(topic.into(), error.clone());
        }
    }

    /// Returns the error of a refused record, with the topic's failure as its source.
    pub(super) fn with_cause(&self, error: KafkaError, topic: &str) -> KafkaError {
        if error.code() != Some(RDKafkaErrorCode::UnknownTopic) {
            return error;
        }
        let cause = lock(&self.0).get(topic).cloned();
        error.caused_by(cause)
    }
}
