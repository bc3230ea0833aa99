//! What became of a message.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::error::KafkaError;
use crate::error_code::RDKafkaErrorCode;
use crate::ffi::BorrowedMessage;
use crate::headers::{Header, Headers};
use crate::record::ProducerRecord;
use crate::timestamp::{Timestamp, TimestampKind};

/// What librdkafka knows of a message's place in the log, whether it succeeded or failed.
/// `enable.idempotence` keeps a record from being written twice for as long as no message of the
/// producer times out. After a time-out librdkafka goes on as if it were a new producer, and records
/// that had been written without an answer may be written again; with a `message.timeout.ms` of a
/// second and brokers that are killed, `tests/kafka/chaos.rs` sees it happen.
///
/// Source: `rd_kafka_message_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// librdkafka saw no sign that it was written: sending again is safe as far as it can tell.
    /// It is not a proof: a leader that was deposed may have appended the message and answered
    /// that it is no longer the leader.
    NotPersisted,
    /// It was sent, and no answer says whether it was written; always so with `acks=0`.
    PossiblyPersisted,
    /// The broker has acknowledged it as `acks` asks.
    Persisted,
}

impl fmt::Display for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Persistence::NotPersisted => "not persisted",
            Persistence::PossiblyPersisted => "possibly persisted",
            Persistence::Persisted => "persisted",
        })
    }
}

/// A message that was delivered: what an awaited send resolves to.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    // Small, because each message in flight has room for it.
    partition: i32,
    /// −1: no broker answered.
    broker_id: i32,
    /// −1: no broker told one.
    offset: i64,
    timestamp_millis: i64,
    timestamp_kind: TimestampKind,
    latency_micros: u64,
    persistence: Persistence,
}

impl Delivery {
    /// The partition it is in.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset, where the broker told one: not with `acks=0`, nor where an idempotent
    /// producer learned of the success without a response to that very request. librdkafka itself
    /// counts up from −1001 there.
    pub fn offset(&self) -> Option<i64> {
        (self.offset >= 0).then_some(self.offset)
    }

    /// The timestamp in the log.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp_kind.of(self.timestamp_millis)
    }

    /// [`Persisted`](Persistence::Persisted), or, with `acks=0`,
    /// [`PossiblyPersisted`](Persistence::PossiblyPersisted).
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// The time from the enqueue to the delivery report (`rd_kafka_message_latency`).
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_micros)
    }

    /// The broker that answered, where one did (`rd_kafka_message_broker_id`).
    pub fn broker_id(&self) -> Option<i32> {
        (self.broker_id >= 0).then_some(self.broker_id)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .field("timestamp", &self.timestamp())
            .field("persistence", &self.persistence())
            .field("latency", &self.latency())
            .field("broker_id", &self.broker_id())
            .finish()
    }
}

/// What the delivery callback gets: the message, delivered or failed, on loan from librdkafka.
pub type DeliveryResult<'a> = Result<DeliveredMessage<'a>, DeliveryError<'a>>;

/// A message that was delivered, on loan from librdkafka for the length of the delivery callback.
#[derive(Clone, Copy)]
pub struct DeliveredMessage<'a>(BorrowedMessage<'a>);

/// A message that failed, on loan from librdkafka for the length of the delivery callback.
#[derive(Clone, Copy)]
pub struct DeliveryError<'a>(BorrowedMessage<'a>);

impl<'a> BorrowedMessage<'a> {
    #[inline]
    pub(crate) fn into_result(self) -> DeliveryResult<'a> {
        if self.code() == 0 {
            Ok(DeliveredMessage(self))
        } else {
            Err(DeliveryError(self))
        }
    }
}

impl DeliveredMessage<'_> {
    #[inline]
    pub(crate) fn to_delivery(self) -> Delivery {
        let persistence = self.0.persistence();
        let (timestamp_kind, timestamp_millis) = self.0.timestamp();
        Delivery {
            partition: self.0.partition(),
            offset: self.0.offset_if(persistence).unwrap_or(-1),
            timestamp_millis,
            timestamp_kind,
            persistence,
            latency_micros: self.0.latency_micros(),
            broker_id: self.0.raw_broker_id(),
        }
    }
}

impl DeliveryError<'_> {
    /// Why it failed.
    pub fn code(&self) -> RDKafkaErrorCode {
        self.0.code().into()
    }

    /// Why it failed, with librdkafka's description.
    pub fn error(&self) -> KafkaError {
        KafkaError::from_code(self.code())
    }

    /// The record as the caller gave it: the report has the *assigned* partition and no
    /// timestamp, so those come from the message's opaque.
    pub(crate) fn to_record(
        self,
        partition: i32,
        timestamp: Option<i64>,
    ) -> ProducerRecord<'static> {
        let record = ProducerRecord::to(self.0.topic().to_owned())
            .key(self.0.key().map(<[u8]>::to_vec))
            .payload(self.0.payload().map(<[u8]>::to_vec))
            .headers(self.0.headers().collect())
            .partition(partition);
        match timestamp {
            Some(millis) => record.timestamp(millis),
            None => record,
        }
    }
}

macro_rules! message {
    ($($message:ident)*) => {
        $(
            impl<'a> $message<'a> {
                /// The topic.
                pub fn topic(&self) -> &'a str {
                    self.0.topic()
                }

                /// The partition that it was assigned to; −1 where it failed before that.
                pub fn partition(&self) -> i32 {
                    self.0.partition()
                }

                /// The offset, where the broker told one; see [`Delivery::offset`].
                pub fn offset(&self) -> Option<i64> {
                    self.0.offset()
                }

                /// The key; `None` is null.
                pub fn key(&self) -> Option<&'a [u8]> {
                    self.0.key()
                }

                /// The payload; `None` is null.
                pub fn payload(&self) -> Option<&'a [u8]> {
                    self.0.payload()
                }

                /// The headers in order.
                pub fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
                    self.0.headers()
                }

                /// The timestamp in the log; not available where it failed.
                pub fn timestamp(&self) -> Timestamp {
                    let (kind, millis) = self.0.timestamp();
                    kind.of(millis)
                }

                /// What is known of its place in the log.
                pub fn persistence(&self) -> Persistence {
                    self.0.persistence()
                }

                /// The time from the enqueue until now (`rd_kafka_message_latency`).
                pub fn latency(&self) -> Duration {
                    Duration::from_micros(self.0.latency_micros())
                }

                /// The broker that answered, where one did (`rd_kafka_message_broker_id`).
                pub fn broker_id(&self) -> Option<i32> {
                    let id = self.0.raw_broker_id();
                    (id >= 0).then_some(id)
                }

                /// Copies the message, to keep it.
                pub fn detach(&self) -> OwnedMessage {
                    OwnedMessage::copy_of(&self.0)
                }
            }

            impl fmt::Debug for $message<'_> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(stringify!($message))
                        .field("topic", &self.topic())
                        .field("partition", &self.partition())
                        .field("offset", &self.offset())
                        .field("code", &RDKafkaErrorCode::from(self.0.code()))
                        .field("persistence", &self.persistence())
                        .finish_non_exhaustive()
                }
            }
        )*
    };
}

message! { DeliveredMessage DeliveryError }

impl fmt::Display for DeliveryError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message to {:?} failed: {}", self.topic(), self.code())
    }
}

impl std::error::Error for DeliveryError<'_> {}

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
