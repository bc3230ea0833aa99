//! The result of a delivery: what a future resolves with, and what a callback is given.

use std::fmt;
use std::time::Duration;

use super::owned_message::OwnedMessage;
use super::record::ProducerRecord;
use super::send_span::Ending;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::BorrowedMessage;
use crate::values::{Header, Persistence, Timestamp, TimestampKind};

/// The result of a successful delivery, which [`Producer::send`](crate::Producer::send) returns.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    // Kept small, because it is a part of the 64 bytes that each message in flight takes.
    partition: i32,
    /// −1 if no broker answered.
    broker_id: i32,
    /// −1 if no broker returned one.
    offset: i64,
    timestamp_millis: i64,
    timestamp_kind: TimestampKind,
    latency_micros: u64,
    persistence: Persistence,
}

impl Delivery {
    /// Returns the partition that the message is in.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Returns the offset if a broker returned one.
    ///
    /// There is none with `acks=0`, nor if an idempotent producer learned of the success without a
    /// response to that very request. librdkafka reports made-up offsets then, which count up from
    /// −1001. They are not returned.
    pub fn offset(&self) -> Option<i64> {
        (self.offset >= 0).then_some(self.offset)
    }

    /// Returns the timestamp of the message in the log.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp_kind.with_millis(self.timestamp_millis)
    }

    /// Returns [`Persisted`](Persistence::Persisted), or
    /// [`PossiblyPersisted`](Persistence::PossiblyPersisted) if no broker has confirmed the message:
    ///
    /// - with `acks=0`;
    /// - with `enable.idempotence`, if librdkafka has got no answer for the message, or an error that
    ///   goes away, and concludes from the success of a later one that it was written. That is wrong
    ///   if the broker has refused it, and did not know the producer in that partition before: see
    ///   [the page](crate::docs::order#what-librdkafka-concludes).
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// Returns the time from the enqueue until the producer's task took the delivery report up.
    ///
    /// It is not the broker's response time alone. It includes `linger.ms`, retries, and the time
    /// that the report waited in the queue. A runtime whose workers were blocked for 12 s adds up
    /// to 12 s.
    ///
    /// The task takes up to 512 reports at once, before it runs their delivery callbacks, and reads
    /// the clock once for all of them.
    ///
    /// Source: the time of the enqueue that librdkafka keeps for each message
    /// (`rd_kafka_message_latency`).
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_micros)
    }

    /// Returns the id of the broker that answered, if one did (`rd_kafka_message_broker_id`).
    pub fn broker_id(&self) -> Option<i32> {
        (self.broker_id >= 0).then_some(self.broker_id)
    }
}

/// Deliveries for the tests of users (feature `mock`).
#[cfg(feature = "mock")]
impl Delivery {
    /// Returns the delivery of a record that a broker with `acks=all` has written at that place.
    ///
    /// It is [persisted](Persistence::Persisted), and has neither a timestamp nor a broker's id.
    ///
    /// ```
    /// use tokio_rdkafka::{Delivery, Timestamp};
    ///
    /// /// Returns where the record is, as the caller is told.
    /// fn receipt(delivery: &Delivery) -> String {
    ///     match delivery.offset() {
    ///         Some(offset) => format!("{}@{offset}", delivery.partition()),
    ///         None => format!("{}", delivery.partition()),
    ///     }
    /// }
    ///
    /// assert_eq!(receipt(&Delivery::mock(3, Some(42))), "3@42");
    /// assert_eq!(receipt(&Delivery::mock(3, None)), "3");
    /// let delivery = Delivery::mock(0, Some(0)).mock_timestamp(Timestamp::CreateTime(1234));
    /// assert_eq!(delivery.timestamp(), Timestamp::CreateTime(1234));
    /// ```
    pub fn mock(partition: i32, offset: Option<i64>) -> Self {
        Self {
            partition,
            broker_id: -1,
            offset: offset.unwrap_or(-1),
            timestamp_millis: 0,
            timestamp_kind: TimestampKind::NotAvailable,
            latency_micros: 0,
            persistence: Persistence::Persisted,
        }
    }

    /// Returns the same delivery with a [timestamp](Self::timestamp).
    pub fn mock_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp_millis = timestamp.to_millis().unwrap_or(0);
        self.timestamp_kind = match timestamp {
            Timestamp::NotAvailable => TimestampKind::NotAvailable,
            Timestamp::CreateTime(_) => TimestampKind::CreateTime,
            Timestamp::LogAppendTime(_) => TimestampKind::LogAppendTime,
        };
        self
    }

    /// Returns the same delivery with a [latency](Self::latency), in whole microseconds.
    pub fn mock_latency(mut self, latency: Duration) -> Self {
        self.latency_micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self
    }

    /// Returns the same delivery with another [persistence](Self::persistence).
    pub fn mock_persistence(mut self, persistence: Persistence) -> Self {
        self.persistence = persistence;
        self
    }

    /// Returns the same delivery with the [id](Self::broker_id) of a broker.
    pub fn mock_broker_id(mut self, id: i32) -> Self {
        self.broker_id = id;
        self
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

/// The message that the delivery callback is given: delivered or failed.
pub type DeliveryResult<'a> = Result<DeliveredMessage<'a>, DeliveryError<'a>>;

/// A message that was delivered, borrowed from librdkafka during the delivery callback.
///
/// [`detach`](Self::detach) copies it.
#[derive(Clone, Copy)]
pub struct DeliveredMessage<'a>(BorrowedMessage<'a>);

/// A message that failed, borrowed from librdkafka during the delivery callback.
///
/// [`detach`](Self::detach) copies it.
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

/// Returns what the span of a message shows at its end.
pub(crate) fn ending(result: &DeliveryResult<'_>) -> Ending {
    let (message, error) = match result {
        Ok(delivered) => (delivered.0, None),
        Err(failure) => (failure.0, Some(failure.error())),
    };
    Ending {
        partition: message.partition(),
        offset: message.offset(),
        latency: Duration::from_micros(message.latency_micros()),
        persistence: message.persistence(),
        error,
    }
}

impl DeliveredMessage<'_> {
    #[inline]
    pub(crate) fn latency_micros(&self) -> u64 {
        self.0.latency_micros()
    }

    #[inline]
    pub(crate) fn to_delivery(self) -> Delivery {
        let report = self.0.report();
        Delivery {
            partition: self.0.partition(),
            offset: self.0.offset_if(report.persistence).unwrap_or(-1),
            timestamp_millis: report.timestamp_millis,
            timestamp_kind: report.timestamp_kind,
            persistence: report.persistence,
            latency_micros: report.latency_micros,
            broker_id: report.broker_id,
        }
    }
}

impl DeliveryError<'_> {
    /// Returns the code of the failure.
    pub fn code(&self) -> RDKafkaErrorCode {
        self.0.code().into()
    }

    /// Returns the code of the failure as an error with librdkafka's description.
    ///
    /// If a broker refused the record, the text says whether it was alone in its batch.
    pub fn error(&self) -> KafkaError {
        KafkaError::of_verdict(self.code(), self.0.failed_together())
    }

    /// Returns true if a broker refused the whole batch of the record, so that this record may be
    /// innocent; see [`KafkaError::is_batch_refused`].
    pub fn is_batch_refused(&self) -> bool {
        self.error().is_batch_refused()
    }

    /// Copies the record as the caller passed it.
    ///
    /// A failed report has the assigned partition and no timestamp, so the requested ones are
    /// passed in.
    pub(crate) fn to_record(
        self,
        partition: i32,
        timestamp: Option<i64>,
    ) -> ProducerRecord<'static> {
        ProducerRecord::to(self.0.topic().to_owned())
            .key(self.0.key().map(<[u8]>::to_vec))
            .payload(self.0.payload().map(<[u8]>::to_vec))
            .headers(self.0.headers().collect())
            .partition(partition)
            .timestamp(timestamp.map_or(Timestamp::NotAvailable, Timestamp::CreateTime))
    }
}

macro_rules! message {
    ($($message:ident)*) => {
        $(
            impl<'a> $message<'a> {
                /// Returns the topic.
                pub fn topic(&self) -> &'a str {
                    self.0.topic()
                }

                /// Returns the partition that the message was assigned to, or −1 if it failed
                /// before that.
                pub fn partition(&self) -> i32 {
                    self.0.partition()
                }

                /// Returns the offset if a broker returned one; see [`Delivery::offset`].
                pub fn offset(&self) -> Option<i64> {
                    self.0.offset()
                }

                /// Returns the key, or `None` if it is null.
                pub fn key(&self) -> Option<&'a [u8]> {
                    self.0.key()
                }

                /// Returns the payload, or `None` if it is null.
                pub fn payload(&self) -> Option<&'a [u8]> {
                    self.0.payload()
                }

                /// Returns the headers in their order.
                pub fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
                    self.0.headers()
                }

                /// Returns the timestamp of the message in the log. Not available if it failed.
                pub fn timestamp(&self) -> Timestamp {
                    let (kind, millis) = self.0.timestamp();
                    kind.with_millis(millis)
                }

                /// Returns whether the message is in the log, as far as librdkafka knows.
                pub fn persistence(&self) -> Persistence {
                    self.0.persistence()
                }

                /// Returns the time from the enqueue until this call.
                ///
                /// It includes `linger.ms`, retries, the time that the delivery report waited in
                /// the queue, and what the callback has taken so far. A runtime whose workers were
                /// blocked for 12 s adds up to 12 s.
                ///
                /// Source: `rd_kafka_message_latency`, which compares the enqueue with the time of
                /// its call.
                pub fn latency(&self) -> Duration {
                    Duration::from_micros(self.0.latency_micros())
                }

                /// Returns the id of the broker that answered, if one did
                /// (`rd_kafka_message_broker_id`).
                pub fn broker_id(&self) -> Option<i32> {
                    let id = self.0.raw_broker_id();
                    (id >= 0).then_some(id)
                }

                /// Copies the message, to keep it after the callback.
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
