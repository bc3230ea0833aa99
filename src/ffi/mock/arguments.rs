//! Checks of arguments that librdkafka's mock does not check itself.

use std::ffi::{CString, c_int};

use crate::error::{KafkaError, RDKafkaErrorCode};

/// The most partitions that librdkafka accepts in a Metadata response (`RD_KAFKAP_PARTITIONS_MAX`).
pub(super) const MAX_PARTITIONS: i32 = 100_000;

/// The longest topic name in bytes (`Topic.MAX_NAME_LENGTH` in Kafka's source).
const MAX_NAME_LEN: usize = 249;

pub(super) fn invalid(text: String) -> KafkaError {
    KafkaError::with_text(RDKafkaErrorCode::InvalidArgument, text)
}

pub(super) fn check(code: c_int) -> Result<(), KafkaError> {
    if code == 0 {
        Ok(())
    } else {
        Err(KafkaError::from_code(code))
    }
}

pub(super) fn check_partition(partition: i32) -> Result<(), KafkaError> {
    if (0..MAX_PARTITIONS).contains(&partition) {
        Ok(())
    } else {
        Err(invalid(format!(
            "partition: {partition} is not between 0 and {}",
            MAX_PARTITIONS - 1
        )))
    }
}

pub(super) fn topic_name(topic: &str) -> Result<CString, KafkaError> {
    if topic.is_empty() || topic.len() > MAX_NAME_LEN {
        return Err(invalid(format!(
            "topic: a name must have 1 to {MAX_NAME_LEN} bytes, and this one has {}",
            topic.len()
        )));
    }
    CString::new(topic).map_err(|_| invalid("topic: the name contains a NUL byte".to_owned()))
}
