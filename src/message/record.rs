//! The record that a producer sends.

use std::fmt;
use std::mem;

use super::attachment::{Attached, Attachment, Original};
use super::send_span::SendSpan;
use super::topic::TopicName;
use crate::error::KafkaError;
use crate::ffi::{PARTITION_UNASSIGNED, PayloadGuard};
use crate::sync::{drop_foreign, drop_payloads};
use crate::values::{Headers, IntoPayload, Payload, Timestamp};

/// The least length, in bytes, at which librdkafka borrows an owned payload instead of copying it.
///
/// A payload guard costs moving the payload twice. 1 KiB is the smallest size at which it was
/// measured to pay (`--work window` of the benches, `ours-bytes` beside `ours`).
pub(crate) const ZERO_COPY_FROM: usize = 1024;

/// A record for any of the producers.
///
/// It has a topic and, optionally, a key, a payload, headers, a timestamp and a partition. The
/// opaque, of type `D`, is a value that the delivery callback gets back.
///
/// ```
/// use std::time::SystemTime;
/// use tokio_rdkafka::ProducerRecord;
///
/// let payload = vec![1, 2, 3];
/// let record = ProducerRecord::to("orders")
///     .key("customer-7")
///     .payload(&payload)
///     .header("source", "shop")
///     .timestamp(SystemTime::now());
/// assert_eq!(record.get_key(), Some(&b"customer-7"[..]));
///
/// // Copies what the record borrows, so that it can go to a channel or a task.
/// let owned: ProducerRecord<'static> = record.into_owned();
/// ```
///
/// A record without a payload is a tombstone (null). One with an empty payload has an empty value.
/// The same holds for keys.
///
/// # Copies
///
/// Sending copies borrowed parts into librdkafka's queue, so they need to live only until the
/// record is enqueued. Keys and headers are always copied.
///
/// A [`Producer`](crate::Producer) does not copy owned payloads (`Bytes`, `Vec<u8>`, `String`, …)
/// of 1 KiB and more: librdkafka borrows them until the delivery has been reported. With
/// `message.copy.max.bytes=0` librdkafka does not copy them into the request either.
///
/// - Such a payload is dropped on the driver's task, or on a thread at teardown. A custom owner of
///   `Bytes` must not block there.
/// - It keeps its whole allocation alive, while the queue's limit counts the payload's length only.
///   Copy a short slice of a long `Bytes`.
///
/// # Invalid records
///
/// Sending fails, with an error that names the field and returns the record, if
///
/// - the topic is empty, `.`, `..`, longer than 249 bytes, or contains anything but ASCII letters,
///   digits, `.`, `_` and `-`;
/// - the partition is below −1;
/// - the timestamp is not positive;
/// - the name of a header contains a NUL byte.
///
/// `Debug` shows lengths instead of bytes.
#[derive(Clone)]
pub struct ProducerRecord<'a, D = ()> {
    pub(crate) fields: Fields<'a>,
    pub(crate) opaque: D,
}

/// A record without its opaque.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    pub(crate) topic: TopicName<'a>,
    /// −1 if the partitioner chooses.
    pub(crate) partition: i32,
    /// Whether the context's hook has seen it. Never so in a record that a caller holds.
    pub(crate) is_intercepted: bool,
    pub(crate) key: Option<Payload<'a>>,
    pub(crate) payload: Option<Payload<'a>>,
    /// In milliseconds since the Unix epoch.
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: Headers,
    pub(crate) attached: Attached,
}

/// The fields of a record that can be produced in one call with others of its topic
/// (`rd_kafka_produce_batch`): it has no partition, timestamp and headers.
#[derive(Debug)]
pub(crate) struct Plain<'a> {
    pub(crate) key: Option<Payload<'a>>,
    pub(crate) payload: Option<Payload<'a>>,
}

impl Plain<'_> {
    /// Returns the key and the payload as the produce call takes them.
    #[inline]
    pub(crate) fn as_bytes(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        (self.key.as_deref(), self.payload.as_deref())
    }

    #[inline]
    pub(crate) fn payload_len(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.len())
    }
}

/// Sets a field that is empty as a rule.
///
/// An assignment may call the drop of the old value by the field's address, which keeps the record in
/// memory: each of its moves is a copy then.
#[inline(always)]
fn set<T>(field: &mut Option<T>, value: Option<T>) {
    if let Some(old) = mem::replace(field, value) {
        drop(old);
    }
}

impl<'a> ProducerRecord<'a, ()> {
    /// Creates a record for that topic, without a key and a payload.
    ///
    /// The topic is a name or a [`Topic`](crate::Topic) handle, which saves the look-up by name.
    #[inline]
    pub fn to(topic: impl Into<TopicName<'a>>) -> Self {
        Self::with_opaque_to(topic, ())
    }
}

impl<'a, D> ProducerRecord<'a, D> {
    /// Creates a record for that topic with a value for the delivery callback.
    #[inline]
    pub fn with_opaque_to(topic: impl Into<TopicName<'a>>, opaque: D) -> Self {
        let fields = Fields {
            topic: topic.into(),
            partition: PARTITION_UNASSIGNED,
            is_intercepted: false,
            key: None,
            payload: None,
            timestamp: None,
            headers: Headers::new(),
            attached: Attached::default(),
        };
        Self { fields, opaque }
    }

    /// Sets the key.
    ///
    /// The partitioner chooses the partition by it if no partition is set, and compaction keeps the
    /// last record of each key.
    #[must_use]
    #[inline(always)] // A call would move the record there and back.
    pub fn key(mut self, key: impl IntoPayload<'a>) -> Self {
        set(&mut self.fields.key, key.into_payload());
        self
    }

    /// Sets the payload (the value).
    #[must_use]
    #[inline(always)] // A call would move the record there and back.
    pub fn payload(mut self, payload: impl IntoPayload<'a>) -> Self {
        set(&mut self.fields.payload, payload.into_payload());
        self
    }

    /// Sets the partition. With −1, as by default, the partitioner chooses one.
    #[must_use]
    #[inline(always)] // A call would move the record there and back.
    pub fn partition(mut self, partition: i32) -> Self {
        self.fields.partition = partition;
        self
    }

    /// Sets the timestamp: milliseconds since the Unix epoch, a
    /// [`SystemTime`](std::time::SystemTime) or a [`Timestamp`].
    ///
    /// Without one, or with [`Timestamp::NotAvailable`], librdkafka sets the time of the enqueue.
    /// Sending fails if the number of milliseconds is not positive, as it is for a time before the
    /// epoch.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use tokio_rdkafka::{ProducerRecord, Timestamp};
    ///
    /// let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    /// let record = ProducerRecord::to("orders").timestamp(time);
    /// assert_eq!(record.get_timestamp(), Some(1_700_000_000_000));
    ///
    /// // The one of another message, and none.
    /// let record = record.timestamp(Timestamp::LogAppendTime(1_600_000_000_000));
    /// assert_eq!(record.get_timestamp(), Some(1_600_000_000_000));
    /// assert_eq!(record.timestamp(Timestamp::NotAvailable).get_timestamp(), None);
    /// ```
    #[must_use]
    #[inline(always)] // A call would move the record there and back.
    pub fn timestamp(mut self, timestamp: impl Into<Timestamp>) -> Self {
        self.fields.timestamp = timestamp.into().to_millis();
        self
    }

    /// Adds a header at the end and keeps the others of that name: [`Headers::append`].
    #[must_use]
    pub fn header<'v>(mut self, name: impl Into<String>, value: impl IntoPayload<'v>) -> Self {
        self.fields.headers.push(name, value);
        self
    }

    /// Sets the headers in place of all that the record has.
    #[must_use]
    #[inline]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.fields.headers = headers;
        self
    }

    /// Sets the value that the delivery callback gets. It may be of another type than the present
    /// one.
    #[must_use]
    #[inline]
    pub fn opaque<E>(self, opaque: E) -> ProducerRecord<'a, E> {
        ProducerRecord {
            fields: self.fields,
            opaque,
        }
    }

    /// Copies what the record borrows.
    pub fn into_owned(self) -> ProducerRecord<'static, D> {
        ProducerRecord {
            fields: self.fields.into_owned(),
            opaque: self.opaque,
        }
    }

    /// Returns the topic's name.
    pub fn get_topic(&self) -> &str {
        self.fields.topic.as_str()
    }

    /// Returns the partition, or `None` if the partitioner chooses.
    pub fn get_partition(&self) -> Option<i32> {
        let partition = self.fields.partition;
        (partition != PARTITION_UNASSIGNED).then_some(partition)
    }

    /// Returns the key, or `None` if it is null.
    pub fn get_key(&self) -> Option<&[u8]> {
        self.fields.key.as_deref()
    }

    /// Returns the payload, or `None` if it is null.
    pub fn get_payload(&self) -> Option<&[u8]> {
        self.fields.payload.as_deref()
    }

    /// Returns the timestamp that was set, in milliseconds since the Unix epoch.
    pub fn get_timestamp(&self) -> Option<i64> {
        self.fields.timestamp
    }

    /// Returns the headers.
    pub fn get_headers(&self) -> &Headers {
        &self.fields.headers
    }

    /// Returns the headers, to change them in place by [`push`](Headers::push),
    /// [`set`](Headers::set), [`remove`](Headers::remove) and so on.
    ///
    /// [`append`](Headers::append) and [`insert`](Headers::insert) take the headers by value and
    /// do not compile here.
    ///
    /// ```
    /// use tokio_rdkafka::ProducerRecord;
    ///
    /// let mut record = ProducerRecord::to("orders").header("tries", "1");
    /// record.headers_mut().set("tries", "2");
    /// assert_eq!(record.get_headers().get("tries"), Some(Some(&b"2"[..])));
    /// ```
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.fields.headers
    }

    /// Returns the value for the delivery callback.
    pub fn get_opaque(&self) -> &D {
        &self.opaque
    }
}

impl Fields<'_> {
    /// Returns what the queue's limit of bytes counts: the payload only, as in librdkafka.
    #[inline]
    pub(crate) fn payload_len(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.len())
    }

    /// Returns true if a [`Plain`] record can hold all fields, and the payload is small enough to
    /// be copied.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.partition == PARTITION_UNASSIGNED
            && self.timestamp.is_none()
            && self.headers.is_empty()
            && self.payload_len() < ZERO_COPY_FROM
    }

    /// Returns true if dropping the record may run the user's code: the owner of
    /// [`Bytes`](bytes::Bytes) may be a type of theirs.
    fn has_bytes(&self) -> bool {
        let mut payloads = [&self.key, &self.payload].into_iter().flatten();
        payloads.any(Payload::is_bytes) || !self.headers.is_empty() || self.attached.is_some()
    }

    /// Returns true if a drop of the fields would do nothing.
    #[inline]
    fn owns_nothing(&self) -> bool {
        let owns_nothing =
            |payload: &Option<Payload<'_>>| payload.as_ref().is_none_or(Payload::owns_nothing);
        self.topic.owns_nothing()
            && owns_nothing(&self.key)
            && owns_nothing(&self.payload)
            && self.headers.owns_nothing()
    }

    /// Formats the fields as those of a struct.
    pub(super) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("key", &self.key)
            .field("payload", &self.payload)
            .field("timestamp", &self.timestamp)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }

    /// Drops the fields of a record that has been produced, which may be foreign code.
    #[inline]
    pub(crate) fn drop_produced<'c>(self, client: impl FnOnce() -> Option<&'c str>) {
        if self.owns_nothing() {
            // The drop would look at each of them, out of line.
            mem::forget(self);
        } else {
            self.drop_owned(client());
        }
    }

    /// As [`drop_produced`](Self::drop_produced), without moving them first.
    #[inline]
    pub(crate) fn drop_produced_in<'c>(
        fields: &mut Option<Self>,
        client: impl FnOnce() -> Option<&'c str>,
    ) {
        match fields {
            Some(it) if it.owns_nothing() => mem::forget(fields.take()),
            _ => {
                if let Some(fields) = fields.take() {
                    fields.drop_owned(client());
                }
            }
        }
    }

    #[inline(never)]
    fn drop_owned(self, client: Option<&str>) {
        if self.has_bytes() {
            drop_payloads(client, || drop(self));
        }
    }

    /// Checks for values that librdkafka or the protocol cannot carry. The topic's name is checked
    /// where its handle is created.
    ///
    /// # Errors
    ///
    /// Names the invalid field.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), KafkaError> {
        if self.partition < PARTITION_UNASSIGNED {
            return Err(invalid_partition(self.partition));
        }
        if let Some(millis) = self.timestamp {
            if millis <= 0 {
                return Err(invalid_timestamp(millis));
            }
        }
        if self.headers.is_empty() {
            return Ok(());
        }
        self.check_headers()
    }

    fn check_headers(&self) -> Result<(), KafkaError> {
        if self.headers.iter().any(|header| header.name.contains('\0')) {
            return Err(KafkaError::record(
                "headers",
                "contain a name with a NUL byte",
            ));
        }
        Ok(())
    }

    /// Takes the payload out as a guard, from which librdkafka borrows it. Returns `None` if the
    /// bytes have no allocation of their own.
    pub(crate) fn take_payload_guard(&mut self) -> Option<PayloadGuard> {
        match self.payload.take()?.try_into_allocated() {
            Ok(payload) => Some(PayloadGuard::new(payload)),
            Err(payload) => {
                self.payload = Some(payload);
                None
            }
        }
    }

    fn into_owned(self) -> Fields<'static> {
        Fields {
            topic: self.topic.into_owned(),
            partition: self.partition,
            is_intercepted: self.is_intercepted,
            key: self.key.map(Payload::into_owned),
            payload: self.payload.map(Payload::into_owned),
            timestamp: self.timestamp,
            headers: self.headers,
            attached: self.attached,
        }
    }

    /// Sets the span that ends when the delivery is known.
    #[cold]
    pub(crate) fn set_span(&mut self, span: SendSpan) {
        let has_new_topic = self
            .attached
            .as_ref()
            .is_some_and(Attachment::has_new_topic);
        let key_len = self.key.as_ref().map(|key| key.len());
        let payload_len = self.payload.as_ref().map(|payload| payload.len());
        span.record_fields(
            has_new_topic.then(|| self.topic.as_str()),
            key_len,
            payload_len,
        );
        self.attached.put_span(span);
    }

    /// Undoes what the context's hook has changed.
    #[inline]
    pub(crate) fn restore(&mut self) {
        if let Some(attachment) = self.attached.take().as_mut() {
            self.restore_from(mem::take(&mut attachment.original));
        }
    }

    /// Puts the caller's values back in place of those that the context's hook has changed.
    #[cold]
    pub(crate) fn restore_from(&mut self, original: Original) {
        let Original {
            topic,
            partition,
            key,
            payload,
            timestamp,
            headers,
        } = original;
        if let Some(topic) = topic {
            self.topic = topic;
        }
        if let Some(partition) = partition {
            self.partition = partition;
        }
        if let Some(timestamp) = timestamp {
            self.timestamp = timestamp;
        }
        // What the hook has put there may be `Bytes` with an owner of the user's.
        if let Some(key) = key {
            drop_foreign(mem::replace(&mut self.key, key));
        }
        if let Some(payload) = payload {
            drop_foreign(mem::replace(&mut self.payload, payload));
        }
        if let Some(headers) = headers {
            drop_foreign(mem::replace(&mut self.headers, headers));
        }
    }

    /// Makes it a record that the caller may hold, after it was refused for that reason: as it was
    /// passed.
    #[inline]
    pub(crate) fn settle(&mut self, error: &KafkaError) {
        self.is_intercepted = false;
        if let Some(attachment) = self.attached.take().as_mut() {
            attachment.span.refused(error);
            self.restore_from(mem::take(&mut attachment.original));
        }
    }
}

#[cold]
fn invalid_partition(partition: i32) -> KafkaError {
    KafkaError::record(
        "partition",
        &format!("is {partition}: it must be 0 or more, or -1 for the partitioner's choice"),
    )
}

#[cold]
fn invalid_timestamp(millis: i64) -> KafkaError {
    KafkaError::record(
        "timestamp",
        &format!(
            "is {millis} ms: it must be after the Unix epoch; leave it out for the current time"
        ),
    )
}

impl<D> fmt::Debug for ProducerRecord<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields.fmt_as("ProducerRecord", f)
    }
}

#[cfg(test)]
mod tests;
