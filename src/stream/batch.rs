//! Batches of records: librdkafka takes them in one call, which costs less than a call for each.

use std::task::{Context, Poll};

use smallvec::SmallVec;

use crate::client::ProducerContext;
use crate::driver::{Completer, Grant};
use crate::ffi::BATCH;
use crate::message::{DeliveryFuture, Fields, Plain, ProducerRecord, TopicName, ZERO_COPY_FROM};
use crate::producer::{Access, Producer};
use crate::sync::{coop, drop_payloads};

/// Payload bytes that are acquired in advance for each record. A record with a longer payload
/// acquires its own.
const BYTES_PER_RECORD: usize = ZERO_COPY_FROM - 1;

/// Plain records of one topic that have capacity and wait to be produced together.
///
/// They are not in flight yet, and only the batch holds them. So dropping it produces them: also if
/// the iterator that yields the records panics.
pub(crate) struct Batch<'p, 'a, C: ProducerContext, A: Access> {
    producer: &'p mut Producer<C, A>,
    /// The topic of all `records`.
    topic: Option<TopicName<'a>>,
    records: SmallVec<[Plain<'a>; BATCH]>,
    completers: SmallVec<[Completer<C>; BATCH]>,
    spare: SpareCapacity,
}

/// Capacity that was acquired for records to come.
#[derive(Default)]
struct SpareCapacity {
    /// That of the first record, whose capacity may be used up.
    first: Option<Grant>,
    messages: usize,
    bytes: usize,
}

impl<'p, 'a, C: ProducerContext, A: Access> Batch<'p, 'a, C, A> {
    pub(crate) fn new(producer: &'p mut Producer<C, A>) -> Self {
        Self {
            producer,
            topic: None,
            records: SmallVec::new(),
            completers: SmallVec::new(),
            spare: SpareCapacity::default(),
        }
    }

    /// Lets the context change the record. If the record is valid, there is capacity and nobody
    /// waits, acquires capacity for it. `upcoming` is how many records may follow, this one
    /// included. If it returns false, call [`poll_enqueue`](Self::poll_enqueue).
    #[inline]
    pub(crate) fn try_acquire(
        &mut self,
        record: &mut ProducerRecord<'_, C::DeliveryOpaque>,
        upcoming: usize,
    ) -> bool {
        self.producer.intercept(record);
        let has_failed = self.producer.shared().core.has_fatal_error();
        !has_failed
            && record.fields.check().is_ok()
            && coop::may_enqueue()
            && self.acquire_for(record.fields.payload_len(), upcoming)
    }

    /// Returns true if the record can be [pushed](Self::push).
    #[inline]
    pub(crate) fn can_push(&self, record: &ProducerRecord<'_, C::DeliveryOpaque>) -> bool {
        record.fields.is_plain() && self.producer.shared().core.takes_batches()
    }

    /// Enqueues a record whose capacity was [acquired](Self::try_acquire) and that cannot be
    /// pushed.
    // Out of line, or records that are pushed would be copied once more.
    #[inline(never)]
    pub(crate) fn enqueue(
        &mut self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.produce();
        self.producer.produce_or_fail(record)
    }

    /// Adds a record whose capacity was [acquired](Self::try_acquire). It is produced with those
    /// that follow, and before any record that cannot be in the same batch.
    #[inline]
    pub(crate) fn push(
        &mut self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        let ProducerRecord { fields, opaque } = record;
        let Fields {
            topic,
            key,
            payload,
            mut attached,
            ..
        } = fields;
        let is_same_topic = |first: &TopicName<'_>| first.is_same(&topic);
        if !self.topic.as_ref().is_some_and(is_same_topic) {
            self.produce();
            self.topic = Some(topic);
        }
        let (completer, future) = self.producer.shared().completer(opaque, attached.take());
        self.completers.push(completer);
        self.records.push(Plain { key, payload });
        if self.records.len() == BATCH {
            self.produce();
        }
        future
    }

    /// Produces the batch, then waits as [`Producer::poll_enqueue`] does.
    pub(crate) fn poll_enqueue(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Option<ProducerRecord<'a, C::DeliveryOpaque>>,
    ) -> Poll<DeliveryFuture<C::DeliveryOpaque>> {
        self.produce();
        self.producer.poll_enqueue(cx, record)
    }

    #[inline]
    fn acquire_for(&mut self, bytes: usize, upcoming: usize) -> bool {
        let needs_spare = self.spare.messages == 0;
        if bytes > BYTES_PER_RECORD || (needs_spare && !self.acquire_spare(upcoming.min(BATCH))) {
            let Ok(grant) = self.producer.shared().capacity.try_acquire(bytes) else {
                return false;
            };
            self.spare.first.get_or_insert(grant);
            return true;
        }
        self.spare.messages -= 1;
        self.spare.bytes -= bytes;
        true
    }

    fn acquire_spare(&mut self, messages: usize) -> bool {
        let capacity = &self.producer.shared().capacity;
        let bytes = (messages * BYTES_PER_RECORD).saturating_sub(self.spare.bytes);
        if messages <= 1 {
            return false;
        }
        let Some(grant) = capacity.try_acquire_many(messages, bytes) else {
            return false;
        };
        self.spare.first.get_or_insert(grant);
        self.spare.messages = messages;
        self.spare.bytes += bytes;
        true
    }

    fn produce(&mut self) {
        if let (Some(topic), false) = (&self.topic, self.records.is_empty()) {
            let completers = self.completers.drain(..);
            self.producer
                .produce_batch(topic, &self.records, completers);
            // `clear` removes each payload before it drops it, so a panic in a drop loses none.
            while !self.records.is_empty() {
                let client = self.producer.shared().core.client_name();
                drop_payloads(client, || self.records.clear());
            }
        }
    }
}

impl<C: ProducerContext, A: Access> Drop for Batch<'_, '_, C, A> {
    fn drop(&mut self) {
        self.produce();
        let SpareCapacity {
            first,
            messages,
            bytes,
        } = self.spare;
        if let Some(grant) = first {
            let capacity = &self.producer.shared().capacity;
            drop(capacity.release_batch(grant, messages, bytes));
        }
    }
}
