//! The rules for a topic's name.

use crate::error::KafkaError;

/// The longest name that Kafka allows, in bytes (`Topic.MAX_NAME_LENGTH` in its source).
const MAX_NAME_LEN: usize = 249;

/// Checks for names that librdkafka or the protocol cannot carry. Brokers check the characters.
///
/// # Errors
///
/// Names the field, `topic`, and its problem.
pub(crate) fn check_name(name: &str) -> Result<(), KafkaError> {
    match problem_of_name(name) {
        Some(problem) => Err(KafkaError::record("topic", problem)),
        None => Ok(()),
    }
}

/// Returns why [`check_name`] refuses a name, or `None` if it does not.
pub(crate) fn problem_of_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > MAX_NAME_LEN {
        Some("is longer than 249 bytes")
    } else if name.contains('\0') {
        Some("contains a NUL byte")
    } else {
        None
    }
}
