//! Runs of records: what librdkafka takes in one call, for less than one by one.

use std::task::{Context, Poll};

use smallvec::SmallVec;

use crate::client::ProducerContext;
use crate::driver::Completer;
use crate::ffi::BATCH;
use crate::message::{DeliveryFuture, Fields, Plain, ProducerRecord, TopicName, ZERO_COPY_FROM};
use crate::producer::Producer;
use crate::sync::{coop, drop_payloads};

/// Capacity that is taken ahead, for each record.
const BYTES: usize = ZERO_COPY_FROM - 1;

/// Plain records of one topic that have their room, to be handed over together.
///
/// They are not in flight yet, and only the run knows of them. So it hands over what it has when it
/// is dropped: also where the iterator that the next record is to come from panics.
pub(crate) struct Batch<'p, 'a, C: ProducerContext> {
    producer: &'p mut Producer<C>,
    /// Of the records.
    topic: Option<TopicName<'a>>,
    records: SmallVec<[Plain<'a>; BATCH]>,
    completers: SmallVec<[Completer<C>; BATCH]>,
    /// Capacity that was taken for records to come: messages and bytes.
    ahead: (usize, usize),
}

impl<'p, 'a, C: ProducerContext> Batch<'p, 'a, C> {
    pub(crate) fn new(producer: &'p mut Producer<C>) -> Self {
        Self {
            producer,
            topic: None,
            records: SmallVec::new(),
            completers: SmallVec::new(),
            ahead: (0, 0),
        }
    }

    /// Takes room for a record with which nothing is wrong, if there is some and nobody waits. It is
    /// one of `count` that may come. One that is not admitted is to [wait](Self::poll_enqueue).
    #[inline]
    pub(crate) fn admits(
        &mut self,
        record: &ProducerRecord<'_, C::DeliveryOpaque>,
        count: usize,
    ) -> bool {
        let has_failed = self.producer.shared().core.has_fatal_error();
        !has_failed
            && record.fields.check().is_ok()
            && coop::may_enqueue()
            && self.acquire(record.fields.payload_len(), count)
    }

    /// Whether the record can be [pushed](Self::push).
    #[inline]
    pub(crate) fn takes(&self, record: &ProducerRecord<'_, C::DeliveryOpaque>) -> bool {
        record.fields.is_plain() && self.producer.shared().core.takes_batches()
    }

    /// Enqueues a record that was [admitted](Self::admits) and is not [taken](Self::takes).
    // Out of line, or records that are pushed would be copied once more.
    #[inline(never)]
    pub(crate) fn enqueue(
        &mut self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.hand_over();
        self.producer.produce_or_fail(record)
    }

    /// Takes a record that was [admitted](Self::admits), to be handed over with those that follow, but
    /// before any that cannot go with it.
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
            ..
        } = fields;
        let goes_on = |first: &TopicName<'_>| first.is_same(&topic);
        if !self.topic.as_ref().is_some_and(goes_on) {
            self.hand_over();
            self.topic = Some(topic);
        }
        let (completer, future) = self.producer.shared().completer(opaque);
        self.completers.push(completer);
        self.records.push(Plain { key, payload });
        if self.records.len() == BATCH {
            self.hand_over();
        }
        future
    }

    /// As [`Producer::poll_enqueue`], after what came before.
    pub(crate) fn poll_enqueue(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Option<ProducerRecord<'a, C::DeliveryOpaque>>,
    ) -> Poll<DeliveryFuture<C::DeliveryOpaque>> {
        self.hand_over();
        self.producer.poll_enqueue(cx, record)
    }

    /// Takes the room of a record, where there is some and nobody waits.
    #[inline]
    fn acquire(&mut self, bytes: usize, count: usize) -> bool {
        if bytes > BYTES || (self.ahead.0 == 0 && !self.acquire_ahead(count.min(BATCH))) {
            return self.producer.shared().capacity.try_acquire(bytes).is_ok();
        }
        self.ahead.0 -= 1;
        self.ahead.1 -= bytes;
        true
    }

    fn acquire_ahead(&mut self, count: usize) -> bool {
        let capacity = &self.producer.shared().capacity;
        let bytes = (count * BYTES).saturating_sub(self.ahead.1);
        let is_taken = count > 1 && capacity.try_acquire_many(count, bytes);
        if is_taken {
            self.ahead = (count, self.ahead.1 + bytes);
        }
        is_taken
    }

    fn hand_over(&mut self) {
        if let (Some(topic), false) = (&self.topic, self.records.is_empty()) {
            let completers = self.completers.drain(..);
            self.producer
                .produce_batch(topic, &self.records, completers);
            // Each is taken out before it is dropped.
            while !self.records.is_empty() {
                drop_payloads(|| self.records.clear());
            }
        }
    }
}

impl<C: ProducerContext> Drop for Batch<'_, '_, C> {
    fn drop(&mut self) {
        self.hand_over();
        if self.ahead != (0, 0) {
            let (messages, bytes) = self.ahead;
            drop(self.producer.shared().capacity.release(messages, bytes));
        }
    }
}
