//! A record as the context's hook sees it before it is produced.

use std::fmt;

use super::attachment::Original;
use super::record::Fields;
use super::topic::TopicName;
use crate::ffi::PARTITION_UNASSIGNED;
use crate::values::{Headers, IntoPayload, Timestamp};

/// A record that is about to be produced, which
/// [`ProducerContext::on_send`](crate::ProducerContext::on_send) may change.
///
/// It remembers what it replaces. If the record fails, the error returns the record as the caller
/// passed it, so that sending it again changes it once, not twice. A value that was replaced is kept
/// until the delivery is known. Values are set by what they own: `String`, `Vec<u8>`, `Bytes`, a
/// `&'static str`.
///
/// The [opaque](Self::opaque_mut) is not restored.
pub struct InterceptedRecord<'r, 'a, D = ()> {
    fields: &'r mut Fields<'a>,
    opaque: &'r mut D,
}

impl<'r, 'a, D> InterceptedRecord<'r, 'a, D> {
    #[inline]
    pub(crate) fn new(fields: &'r mut Fields<'a>, opaque: &'r mut D) -> Self {
        Self { fields, opaque }
    }

    fn original(&mut self) -> &mut Original {
        &mut self.fields.attached.get_or_create().original
    }

    /// Returns the topic's name.
    pub fn topic(&self) -> &str {
        self.fields.topic.as_str()
    }

    /// Returns the partition, or `None` if the partitioner chooses.
    pub fn partition(&self) -> Option<i32> {
        (self.fields.partition != PARTITION_UNASSIGNED).then_some(self.fields.partition)
    }

    /// Returns the key, or `None` if it is null.
    pub fn key(&self) -> Option<&[u8]> {
        self.fields.key.as_deref()
    }

    /// Returns the payload, or `None` if it is null.
    pub fn payload(&self) -> Option<&[u8]> {
        self.fields.payload.as_deref()
    }

    /// Returns the timestamp that was set, in milliseconds since the Unix epoch.
    pub fn timestamp(&self) -> Option<i64> {
        self.fields.timestamp
    }

    /// Returns the headers.
    pub fn headers(&self) -> &Headers {
        &self.fields.headers
    }

    /// Returns the value for the delivery callback.
    pub fn opaque(&self) -> &D {
        self.opaque
    }

    /// Returns the value for the delivery callback, to change it.
    ///
    /// A record that is refused returns it as it is then.
    pub fn opaque_mut(&mut self) -> &mut D {
        self.opaque
    }

    /// Sets the topic: a name, or a [`Topic`](crate::Topic) handle.
    pub fn set_topic(&mut self, topic: impl Into<TopicName<'a>>) {
        let old = std::mem::replace(&mut self.fields.topic, topic.into());
        let original = &mut self.original().topic;
        if original.is_none() {
            *original = Some(old.into_owned());
        }
    }

    /// Sets the partition. With −1 the partitioner chooses.
    pub fn set_partition(&mut self, partition: i32) {
        let old = std::mem::replace(&mut self.fields.partition, partition);
        self.original().partition.get_or_insert(old);
    }

    /// Sets the key. `None` is null.
    pub fn set_key(&mut self, key: impl IntoPayload<'a>) {
        let old = std::mem::replace(&mut self.fields.key, key.into_payload());
        let original = &mut self.original().key;
        if original.is_none() {
            *original = Some(old.map(|old| old.into_owned()));
        }
    }

    /// Sets the payload (the value). `None` is null, a tombstone.
    ///
    /// The limits of the queue and of a reservation count this payload.
    pub fn set_payload(&mut self, payload: impl IntoPayload<'a>) {
        let old = std::mem::replace(&mut self.fields.payload, payload.into_payload());
        let original = &mut self.original().payload;
        if original.is_none() {
            *original = Some(old.map(|old| old.into_owned()));
        }
    }

    /// Sets the timestamp, as [`ProducerRecord::timestamp`](crate::ProducerRecord::timestamp) does.
    pub fn set_timestamp(&mut self, timestamp: impl Into<Timestamp>) {
        let timestamp = timestamp.into().to_millis();
        let old = std::mem::replace(&mut self.fields.timestamp, timestamp);
        self.original().timestamp.get_or_insert(old);
    }

    /// Returns the headers, to change them in place by [`push`](Headers::push),
    /// [`set`](Headers::set), [`remove`](Headers::remove) and so on.
    ///
    /// The first call copies them.
    pub fn headers_mut(&mut self) -> &mut Headers {
        let fields = &mut self.fields;
        let original = &mut fields.attached.get_or_create().original;
        original
            .headers
            .get_or_insert_with(|| fields.headers.clone());
        &mut fields.headers
    }

    /// Adds the headers of a trace context, unless the record already has one.
    ///
    /// `inject` gets a callback that sets a header. Any propagator can call it, so this needs no
    /// tracing library. If the record has one of the headers already, the caller has set the
    /// context, and none of them is written: a `tracestate` belongs to its `traceparent`. `baggage`
    /// is independent of them. Empty values are left out.
    ///
    /// ```
    /// # use tokio_rdkafka::{ClientContext, DeliveryResult, InterceptedRecord, ProducerContext};
    /// # struct Traced;
    /// # impl ClientContext for Traced {}
    /// # fn current_trace() -> (u128, u64) { (7, 7) }
    /// impl ProducerContext for Traced {
    /// #   type DeliveryOpaque = ();
    /// #   fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
    ///     fn on_send(&self, record: &mut InterceptedRecord<'_, '_>) {
    ///         let (trace, span) = current_trace();
    ///         record.inject_with(|set| set("traceparent", format!("00-{trace:032x}-{span:016x}-01")));
    ///     }
    ///     // …
    /// }
    /// ```
    pub fn inject_with(&mut self, inject: impl FnOnce(&mut dyn FnMut(&str, String))) {
        const BAGGAGE: &str = "baggage";
        let mut injected: Vec<(String, String)> = Vec::new();
        inject(&mut |name, value| injected.push((name.to_owned(), value)));
        let headers = self.headers();
        let has = |name: &str| headers.get(name).is_some();
        let has_baggage = has(BAGGAGE);
        let mut trace = injected.iter().filter(|(name, _)| name != BAGGAGE);
        let has_trace = trace.any(|(name, _)| has(name));
        injected.retain(|(name, value)| {
            let is_there = if name == BAGGAGE {
                has_baggage
            } else {
                has_trace
            };
            !is_there && !value.is_empty()
        });
        if injected.is_empty() {
            return;
        }
        let headers = self.headers_mut();
        for (name, value) in injected {
            headers.set(name, value);
        }
    }
}

impl<D> fmt::Debug for InterceptedRecord<'_, '_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields.fmt_as("InterceptedRecord", f)
    }
}
