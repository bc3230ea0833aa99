//! The record to be produced.

use std::fmt;

use super::topic::TopicName;
use crate::error::KafkaError;
use crate::ffi::{PARTITION_UNASSIGNED, PayloadGuard};
use crate::values::{Headers, IntoPayload, Payload};

/// From how many bytes on an owned payload is lent to librdkafka instead of being copied. A loan
/// takes an allocation; 1 KiB is the smallest size at which it was measured to pay (`--work window`
/// of the benches, `ours-bytes` beside `ours`).
pub(crate) const ZERO_COPY_FROM: usize = 1024;

/// A record for any of the producers: topic, key, payload, headers, timestamp, partition, and the
/// value `D` that comes back in the delivery callback.
///
/// Borrowed or owned parts mix freely. Sending copies what is borrowed into librdkafka's queue, so
/// it needs to live only until then; keys and headers are always copied.
///
/// A [`Producer`](crate::Producer) lends owned payloads of 1 KiB and more (`Bytes`, `Vec<u8>`,
/// `String`, …) to librdkafka instead of copying them. With `message.copy.max.bytes=0` they are not
/// copied into the request either. Such a payload is dropped after its delivery has been reported,
/// on the driver's task or a thread at teardown: a custom owner of `Bytes` must not block there. What
/// it keeps alive is the whole allocation, while the queue's limit counts the payload's length alone:
/// a short slice of a long `Bytes` is better copied.
///
/// ```
/// use tokio_rdkafka::{Headers, ProducerRecord};
///
/// let payload = vec![1, 2, 3];
/// let record = ProducerRecord::to("orders")
///     .key("customer-7")
///     .payload(&payload)
///     .headers(Headers::new().insert("source", Some("shop")))
///     .timestamp(1_700_000_000_000);
/// assert_eq!(record.get_key(), Some(&b"customer-7"[..]));
///
/// // Of one's own, for a channel or a task.
/// let owned: ProducerRecord<'static> = record.into_owned();
/// ```
///
/// No payload is a tombstone (null), an empty one an empty value; keys alike.
///
/// What is wrong with a record shows when it is sent, as an error that names the field and gives
/// the record back: an empty topic, one of more than 249 bytes or with a NUL byte, a partition
/// below −1, a timestamp that is not positive, a header name with a NUL byte.
///
/// `Debug` shows lengths instead of bytes.
#[derive(Clone)]
pub struct ProducerRecord<'a, D = ()> {
    pub(crate) fields: Fields<'a>,
    pub(crate) opaque: D,
}

/// All of a record but its opaque.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    pub(crate) topic: TopicName<'a>,
    /// −1: the partitioner chooses.
    pub(crate) partition: i32,
    pub(crate) key: Option<Payload<'a>>,
    pub(crate) payload: Option<Payload<'a>>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: Headers,
}

/// A record that can be produced in one call with others of its topic, whose [`Fields`] are otherwise
/// empty.
#[derive(Debug)]
pub(crate) struct Plain<'a> {
    pub(crate) key: Option<Payload<'a>>,
    pub(crate) payload: Option<Payload<'a>>,
}

impl Plain<'_> {
    /// The key and the payload, as the produce call takes them.
    #[inline]
    pub(crate) fn as_bytes(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        (self.key.as_deref(), self.payload.as_deref())
    }

    #[inline]
    pub(crate) fn payload_len(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.len())
    }
}

impl<'a> ProducerRecord<'a, ()> {
    /// A record to that topic, with neither key nor payload. Sending by a [`Topic`](crate::Topic) handle saves
    /// the look-up.
    #[inline]
    pub fn to(topic: impl Into<TopicName<'a>>) -> Self {
        Self::with_opaque_to(topic, ())
    }
}

impl<'a, D> ProducerRecord<'a, D> {
    /// A record to that topic with a value for the delivery callback.
    #[inline]
    pub fn with_opaque_to(topic: impl Into<TopicName<'a>>, opaque: D) -> Self {
        let fields = Fields {
            topic: topic.into(),
            partition: PARTITION_UNASSIGNED,
            key: None,
            payload: None,
            timestamp: None,
            headers: Headers::new(),
        };
        Self { fields, opaque }
    }

    /// Sets the key: it decides the partition where none is set, and what compaction keeps.
    #[must_use]
    #[inline]
    pub fn key(mut self, key: impl IntoPayload<'a>) -> Self {
        self.fields.key = key.into_payload();
        self
    }

    /// Sets the payload (the value).
    #[must_use]
    #[inline]
    pub fn payload(mut self, payload: impl IntoPayload<'a>) -> Self {
        self.fields.payload = payload.into_payload();
        self
    }

    /// Sets the partition; −1 leaves it to the partitioner.
    #[must_use]
    #[inline]
    pub fn partition(mut self, partition: i32) -> Self {
        self.fields.partition = partition;
        self
    }

    /// Sets the timestamp, in milliseconds since the Unix epoch; without one librdkafka takes the
    /// time of the enqueue.
    #[must_use]
    #[inline]
    pub fn timestamp(mut self, millis: i64) -> Self {
        self.fields.timestamp = Some(millis);
        self
    }

    /// Sets the headers.
    #[must_use]
    #[inline]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.fields.headers = headers;
        self
    }

    /// Sets the value that the delivery callback gets, whatever type it had.
    #[must_use]
    #[inline]
    pub fn opaque<E>(self, opaque: E) -> ProducerRecord<'a, E> {
        ProducerRecord {
            fields: self.fields,
            opaque,
        }
    }

    /// Copies what is borrowed.
    pub fn into_owned(self) -> ProducerRecord<'static, D> {
        ProducerRecord {
            fields: self.fields.into_owned(),
            opaque: self.opaque,
        }
    }

    /// The topic's name.
    pub fn get_topic(&self) -> &str {
        self.fields.topic.as_str()
    }

    /// The partition; `None` where the partitioner chooses.
    pub fn get_partition(&self) -> Option<i32> {
        let partition = self.fields.partition;
        (partition != PARTITION_UNASSIGNED).then_some(partition)
    }

    /// The key; `None` is null.
    pub fn get_key(&self) -> Option<&[u8]> {
        self.fields.key.as_deref()
    }

    /// The payload; `None` is null.
    pub fn get_payload(&self) -> Option<&[u8]> {
        self.fields.payload.as_deref()
    }

    /// The timestamp that was set, in milliseconds since the Unix epoch.
    pub fn get_timestamp(&self) -> Option<i64> {
        self.fields.timestamp
    }

    /// The headers.
    pub fn get_headers(&self) -> &Headers {
        &self.fields.headers
    }

    /// The value for the delivery callback.
    pub fn get_opaque(&self) -> &D {
        &self.opaque
    }
}

impl Fields<'_> {
    /// What the queue's limit of bytes counts: the payload alone, as librdkafka does.
    #[inline]
    pub(crate) fn payload_len(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.len())
    }

    /// Whether a key and a payload that would not be lent is all that it has: a [`Plain`] one.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.partition == PARTITION_UNASSIGNED
            && self.timestamp.is_none()
            && self.headers.is_empty()
            && self.payload_len() < ZERO_COPY_FROM
    }

    /// Whether there are [`Bytes`](bytes::Bytes) in it, whose owner's drop is the user's code.
    #[inline]
    pub(crate) fn has_bytes(&self) -> bool {
        let mut payloads = [&self.key, &self.payload].into_iter().flatten();
        payloads.any(Payload::is_bytes) || !self.headers.is_empty()
    }

    /// Checks all but the topic's name for what would not even reach a broker; the name is checked
    /// where its handle is made.
    ///
    /// # Errors
    ///
    /// Names the field that is wrong.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), KafkaError> {
        if self.partition < PARTITION_UNASSIGNED {
            return Err(KafkaError::record("partition", "is below -1"));
        }
        if self.timestamp.is_some_and(|millis| millis <= 0) {
            return Err(KafkaError::record("timestamp", "is not positive"));
        }
        if self.headers.is_empty() {
            return Ok(());
        }
        self.check_headers()
    }

    fn check_headers(&self) -> Result<(), KafkaError> {
        if self.headers.iter().any(|header| header.name.contains('\0')) {
            return Err(KafkaError::record("headers", "have a name with a NUL byte"));
        }
        Ok(())
    }

    /// Takes the payload out, where it can be lent.
    pub(crate) fn lend(&mut self) -> Option<PayloadGuard> {
        match self.payload.take()?.try_into_owned() {
            Ok(owned) => Some(PayloadGuard::new(owned)),
            Err(borrowed) => {
                self.payload = Some(borrowed);
                None
            }
        }
    }

    fn into_owned(self) -> Fields<'static> {
        Fields {
            topic: self.topic.into_owned(),
            partition: self.partition,
            key: self.key.map(Payload::into_owned),
            payload: self.payload.map(Payload::into_owned),
            timestamp: self.timestamp,
            headers: self.headers,
        }
    }
}

impl<D> fmt::Debug for ProducerRecord<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerRecord")
            .field("topic", &self.fields.topic)
            .field("partition", &self.fields.partition)
            .field("key", &self.fields.key)
            .field("payload", &self.fields.payload)
            .field("timestamp", &self.fields.timestamp)
            .field("headers", &self.fields.headers)
            .finish_non_exhaustive()
    }
}
