//! An owned copy of a message.

use std::fmt;

use bytes::Bytes;

use crate::ffi::BorrowedMessage;
use crate::values::{Headers, Timestamp};

/// An owned copy of a message that was delivered, failed or was consumed.
///
/// [`DeliveredMessage::detach`](crate::DeliveredMessage::detach) and
/// [`DeliveryError::detach`](crate::DeliveryError::detach) return one.
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
                kind.with_millis(millis)
            },
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

    /// Returns the offset if it is known; see [`Delivery::offset`](crate::Delivery::offset).
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// Returns the key, or `None` if it is null.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// Returns the payload, or `None` if it is null.
    pub fn payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    /// Returns the headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Returns the timestamp.
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
