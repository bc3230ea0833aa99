//! The rules for a topic's name.

use crate::error::KafkaError;

/// The longest name that Kafka allows, in bytes (`Topic.MAX_NAME_LENGTH` in its source).
const MAX_NAME_LEN: usize = 249;

/// Checks a name by Kafka's rules (`Topic.validate` in its source).
///
/// librdkafka does not. It sends the name to the broker, which refuses it, and writes it into the
/// JSON of its statistics as it is.
///
/// # Errors
///
/// Names the field, `topic`, and its problem. The code is `InvalidTopic` for a name that could be
/// sent, as a broker would answer, and `InvalidArgument` for one that could not.
pub(crate) fn check_name(name: &str) -> Result<(), KafkaError> {
    let Some(problem) = problem_of_name(name) else {
        return Ok(());
    };
    Err(if is_sendable(name) {
        KafkaError::topic_name(problem)
    } else {
        KafkaError::record("topic", problem)
    })
}

/// Returns true if librdkafka and the protocol can carry the name.
fn is_sendable(name: &str) -> bool {
    !(name.is_empty() || name.len() > MAX_NAME_LEN || name.contains('\0'))
}

/// Returns why [`check_name`] refuses a name, or `None` if it does not.
pub(crate) fn problem_of_name(name: &str) -> Option<&'static str> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > MAX_NAME_LEN {
        Some("is longer than 249 bytes")
    } else if name.contains('\0') {
        Some("contains a NUL byte")
    } else if matches!(name, "." | "..") {
        Some("is \".\" or \"..\", which Kafka does not allow")
    } else if !name.bytes().all(is_legal) {
        Some(
            "contains a character that Kafka does not allow: use ASCII letters, digits, '.', '_' and '-'",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RDKafkaErrorCode;

    #[test]
    fn a_name_follows_the_rules_of_kafka() {
        for name in [
            "a",
            "A.b_c-9",
            "...",
            "__consumer_offsets",
            &"x".repeat(249),
        ] {
            check_name(name).unwrap();
        }
        for name in [
            "", ".", "..", "a b", "a\"b", "a\\b", "a/b", "a\n", "\0", "ü", "a:b",
        ] {
            let error = check_name(name).unwrap_err();
            assert_eq!(error.field(), Some("topic"), "{name:?}");
            let code = if is_sendable(name) {
                RDKafkaErrorCode::InvalidTopic
            } else {
                RDKafkaErrorCode::InvalidArgument
            };
            assert_eq!(error.code(), Some(code), "{name:?}");
        }
        check_name(&"x".repeat(250)).unwrap_err();
    }
}
