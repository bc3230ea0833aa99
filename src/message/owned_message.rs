//! A copy of a message.

use std::fmt;

use bytes::Bytes;

use crate::ffi::BorrowedMessage;
use crate::values::{Headers, Timestamp};

/// A message of one's own: a copy of a delivered, failed or consumed one.
///
/// `Debug` shows lengths instead of bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedMessage {
    topic: String,
    partition: i32,
    offset: Option<i64>,
    key: Option<Bytes>,
    payload: Option<Bytes>,
    headers: Headers,
    timestamp: Timestamp,
}

impl OwnedMessage {
    pub(crate) fn copy_of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(Bytes::copy_from_slice),
            payload: message.payload().map(Bytes::copy_from_slice),
            headers: message.headers().collect(),
            timestamp: {
                let (kind, millis) = message.timestamp();
                kind.of(millis)
            },
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

    /// The offset, where it is known; see [`Delivery::offset`].
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// The key; `None` is null.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// The payload; `None` is null.
    pub fn payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The timestamp.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }
}

impl fmt::Debug for OwnedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedMessage")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("key_len", &self.key.as_ref().map(Bytes::len))
            .field("payload_len", &self.payload.as_ref().map(Bytes::len))
            .field("headers", &self.headers)
            .field("timestamp", &self.timestamp)
            .finish()
    }
}
