//! What a topic may be called.

use crate::error::KafkaError;

/// The longest name that Kafka allows, in bytes (`Topic.MAX_NAME_LENGTH` in its source).
const MAX_NAME_LEN: usize = 249;

/// Checks what would not even reach a broker; which characters are legal is the broker's to say.
///
/// # Errors
///
/// Names the field, `topic`, and what is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), KafkaError> {
    match problem_of_name(name) {
        Some(problem) => Err(KafkaError::record("topic", problem)),
        None => Ok(()),
    }
}

/// What is wrong with a name, as far as [`check_name`] goes.
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
