//! The record to be produced.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::error::KafkaError;
use crate::headers::Headers;
use crate::payload::{IntoPayload, Payload};
use crate::topic::{self, Topic};

/// The partition of a record that names none: the partitioner chooses.
pub(crate) const PARTITION_UNASSIGNED: i32 = -1;

/// A record for any of the producers: topic, key, payload, headers, timestamp, partition, and the
/// value `D` that comes back in the delivery callback.
///
/// Borrowed or owned parts mix freely; sending copies the bytes into librdkafka's queue, so
/// borrowed ones need to live only until then.
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
    topic: TopicName<'a>,
    partition: i32,
    key: Option<Payload<'a>>,
    payload: Option<Payload<'a>>,
    timestamp: Option<i64>,
    headers: Headers,
    opaque: D,
}

impl<'a> ProducerRecord<'a, ()> {
    /// A record to that topic, with neither key nor payload. Sending by a [`Topic`] handle saves
    /// the look-up.
    pub fn to(topic: impl Into<TopicName<'a>>) -> Self {
        Self::with_opaque_to(topic, ())
    }
}

impl<'a, D> ProducerRecord<'a, D> {
    /// A record to that topic with a value for the delivery callback.
    pub fn with_opaque_to(topic: impl Into<TopicName<'a>>, opaque: D) -> Self {
        Self {
            topic: topic.into(),
            partition: PARTITION_UNASSIGNED,
            key: None,
            payload: None,
            timestamp: None,
            headers: Headers::new(),
            opaque,
        }
    }

    /// Sets the key: it decides the partition where none is set, and what compaction keeps.
    #[must_use]
    pub fn key(self, key: impl IntoPayload<'a>) -> Self {
        Self {
            key: key.into_payload(),
            ..self
        }
    }

    /// Sets the payload (the value).
    #[must_use]
    pub fn payload(self, payload: impl IntoPayload<'a>) -> Self {
        Self {
            payload: payload.into_payload(),
            ..self
        }
    }

    /// Sets the partition; −1 leaves it to the partitioner.
    #[must_use]
    pub fn partition(self, partition: i32) -> Self {
        Self { partition, ..self }
    }

    /// Sets the timestamp, in milliseconds since the Unix epoch; without one librdkafka takes the
    /// time of the enqueue.
    #[must_use]
    pub fn timestamp(self, millis: i64) -> Self {
        Self {
            timestamp: Some(millis),
            ..self
        }
    }

    /// Sets the headers.
    #[must_use]
    pub fn headers(self, headers: Headers) -> Self {
        Self { headers, ..self }
    }

    /// Sets the value that the delivery callback gets, whatever type it had.
    #[must_use]
    pub fn opaque<E>(self, opaque: E) -> ProducerRecord<'a, E> {
        self.split().0.with_opaque(opaque)
    }

    /// Copies what is borrowed.
    pub fn into_owned(self) -> ProducerRecord<'static, D> {
        ProducerRecord {
            topic: self.topic.into_owned(),
            partition: self.partition,
            key: self.key.map(Payload::into_owned),
            payload: self.payload.map(Payload::into_owned),
            timestamp: self.timestamp,
            headers: self.headers,
            opaque: self.opaque,
        }
    }

    /// The topic's name.
    pub fn get_topic(&self) -> &str {
        self.topic.as_str()
    }

    /// The partition; `None` where the partitioner chooses.
    pub fn get_partition(&self) -> Option<i32> {
        (self.partition != PARTITION_UNASSIGNED).then_some(self.partition)
    }

    /// The key; `None` is null.
    pub fn get_key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// The payload; `None` is null.
    pub fn get_payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    /// The timestamp that was set, in milliseconds since the Unix epoch.
    pub fn get_timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    /// The headers.
    pub fn get_headers(&self) -> &Headers {
        &self.headers
    }

    /// The value for the delivery callback.
    pub fn get_opaque(&self) -> &D {
        &self.opaque
    }

    /// The record without its opaque, and the opaque.
    pub(crate) fn split(self) -> (ProducerRecord<'a>, D) {
        let Self {
            topic,
            partition,
            key,
            payload,
            timestamp,
            headers,
            opaque,
        } = self;
        (
            ProducerRecord {
                topic,
                partition,
                key,
                payload,
                timestamp,
                headers,
                opaque: (),
            },
            opaque,
        )
    }

    pub(crate) fn topic_name(&self) -> &TopicName<'a> {
        &self.topic
    }

    /// What the queue's limit of bytes counts: the payload alone, as librdkafka does.
    pub(crate) fn payload_len(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.len())
    }

    /// Checks all fields for what would not even reach a broker.
    ///
    /// # Errors
    ///
    /// Names the field that is wrong.
    pub(crate) fn check(&self) -> Result<(), KafkaError> {
        if self.topic.handle().is_none() {
            topic::check_name(self.get_topic())?;
        }
        if self.partition < PARTITION_UNASSIGNED {
            return Err(KafkaError::record("partition", "is below -1"));
        }
        if self.timestamp.is_some_and(|millis| millis <= 0) {
            return Err(KafkaError::record("timestamp", "is not positive"));
        }
        if self.headers.iter().any(|header| header.name.contains('\0')) {
            return Err(KafkaError::record("headers", "have a name with a NUL byte"));
        }
        Ok(())
    }
}

impl<'a> ProducerRecord<'a> {
    pub(crate) fn with_opaque<D>(self, opaque: D) -> ProducerRecord<'a, D> {
        let Self {
            topic,
            partition,
            key,
            payload,
            timestamp,
            headers,
            opaque: (),
        } = self;
        ProducerRecord {
            topic,
            partition,
            key,
            payload,
            timestamp,
            headers,
            opaque,
        }
    }
}

impl<D> fmt::Debug for ProducerRecord<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerRecord")
            .field("topic", &self.get_topic())
            .field("partition", &self.partition)
            .field("key", &self.key)
            .field("payload", &self.payload)
            .field("timestamp", &self.timestamp)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// The topic of a record: a name, borrowed, owned or shared, or a [`Topic`] handle.
#[derive(Clone)]
pub struct TopicName<'a>(Name<'a>);

#[derive(Clone)]
enum Name<'a> {
    Borrowed(&'a str),
    Owned(String),
    Shared(Arc<str>),
    HandleRef(&'a Topic),
    Handle(Topic),
}

impl TopicName<'_> {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Borrowed(name) => name,
            Name::Owned(name) => name,
            Name::Shared(name) => name,
            Name::HandleRef(topic) => topic.name(),
            Name::Handle(topic) => topic.name(),
        }
    }

    pub(crate) fn handle(&self) -> Option<&Topic> {
        match &self.0 {
            Name::HandleRef(topic) => Some(topic),
            Name::Handle(topic) => Some(topic),
            Name::Borrowed(_) | Name::Owned(_) | Name::Shared(_) => None,
        }
    }

    fn into_owned(self) -> TopicName<'static> {
        TopicName(match self.0 {
            Name::Borrowed(name) => Name::Owned(name.to_owned()),
            Name::Owned(name) => Name::Owned(name),
            Name::Shared(name) => Name::Shared(name),
            Name::HandleRef(topic) => Name::Handle(topic.clone()),
            Name::Handle(topic) => Name::Handle(topic),
        })
    }
}

impl fmt::Debug for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<'a> From<&'a str> for TopicName<'a> {
    fn from(name: &'a str) -> Self {
        Self(Name::Borrowed(name))
    }
}

impl<'a> From<&'a String> for TopicName<'a> {
    fn from(name: &'a String) -> Self {
        Self(Name::Borrowed(name))
    }
}

impl From<String> for TopicName<'_> {
    fn from(name: String) -> Self {
        Self(Name::Owned(name))
    }
}

impl<'a> From<Cow<'a, str>> for TopicName<'a> {
    fn from(name: Cow<'a, str>) -> Self {
        match name {
            Cow::Borrowed(name) => name.into(),
            Cow::Owned(name) => name.into(),
        }
    }
}

impl From<Arc<str>> for TopicName<'_> {
    fn from(name: Arc<str>) -> Self {
        Self(Name::Shared(name))
    }
}

impl<'a> From<&'a Topic> for TopicName<'a> {
    fn from(topic: &'a Topic) -> Self {
        Self(Name::HandleRef(topic))
    }
}

impl From<Topic> for TopicName<'_> {
    fn from(topic: Topic) -> Self {
        Self(Name::Handle(topic))
    }
}
