//! A topic's handle.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::error::KafkaError;
use crate::ffi::TopicHandle;

/// The longest name that Kafka allows, in bytes (`Topic.MAX_NAME_LENGTH` in its source).
const MAX_NAME_LEN: usize = 249;

/// A topic's name with a weak reference to its producer's handle, from
/// [`Producer::topic`](crate::Producer::topic): sending by it saves the look-up by name.
///
/// It keeps neither the producer nor librdkafka's handle alive. With another producer, or after
/// its own has closed, it counts as its name.
#[derive(Clone)]
pub struct Topic {
    name: Arc<str>,
    handle: Weak<TopicHandle>,
}

impl Topic {
    pub(crate) fn new(name: Arc<str>, handle: &Arc<TopicHandle>) -> Self {
        Self {
            name,
            handle: Arc::downgrade(handle),
        }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    #[inline]
    pub(crate) fn upgrade(&self) -> Option<Arc<TopicHandle>> {
        self.handle.upgrade()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.name).finish()
    }
}

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
