//! Runs of records: what librdkafka takes in one call, for less than one by one.

use std::task::{Context, Poll};

use smallvec::SmallVec;

use crate::completion::{DeliveryFuture, DeliveryPromise};
use crate::context::ProducerContext;
use crate::coop;
use crate::ffi::BATCH;
use crate::producer::Producer;
use crate::record::{Fields, ProducerRecord};

/// Records of one topic that have their room, to be handed over together.
///
/// They are not in flight yet, and only the run knows of them. So it hands over what it has when it
/// is dropped: also where the iterator that the next record is to come from panics.
pub(crate) struct Run<'p, 'a, C: ProducerContext> {
    producer: &'p mut Producer<C>,
    fields: SmallVec<[Fields<'a>; BATCH]>,
    promises: SmallVec<[DeliveryPromise<C::DeliveryOpaque>; BATCH]>,
}

impl<'p, 'a, C: ProducerContext> Run<'p, 'a, C> {
    pub(crate) fn new(producer: &'p mut Producer<C>) -> Self {
        Self {
            producer,
            fields: SmallVec::new(),
            promises: SmallVec::new(),
        }
    }

    /// Takes a plain record for which there is room now: to be handed over with those that follow, but
    /// before any that cannot go with it. Another one comes back, and is to be
    /// [enqueued by itself](Self::poll_enqueue).
    #[inline]
    pub(crate) fn push(
        &mut self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<DeliveryFuture<C::DeliveryOpaque>, ProducerRecord<'a, C::DeliveryOpaque>> {
        let shared = self.producer.shared();
        let may_be_pushed = record.fields.is_plain()
            && shared.core.takes_runs()
            && !shared.core.has_fatal_error()
            && coop::may_enqueue()
            && shared.room.try_acquire(record.fields.payload_len()).is_ok();
        if !may_be_pushed {
            return Err(record);
        }
        if !self.goes_on_with(&record.fields) {
            self.hand_over();
        }
        let shared = self.producer.shared();
        let (promise, future) = shared.promise(&record.fields, record.opaque);
        self.promises.push(promise);
        self.fields.push(record.fields);
        Ok(future)
    }

    /// As [`Producer::poll_enqueue`], after what was [pushed](Self::push).
    pub(crate) fn poll_enqueue(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Option<ProducerRecord<'a, C::DeliveryOpaque>>,
    ) -> Poll<DeliveryFuture<C::DeliveryOpaque>> {
        self.hand_over();
        self.producer.poll_enqueue(cx, record)
    }

    #[inline]
    fn goes_on_with(&self, fields: &Fields<'_>) -> bool {
        let first = self.fields.first();
        self.fields.len() < BATCH && first.is_none_or(|first| first.topic.is_same(&fields.topic))
    }

    fn hand_over(&mut self) {
        if !self.fields.is_empty() {
            self.producer
                .produce_run(&self.fields, self.promises.drain(..));
            self.fields.clear();
        }
    }
}

impl<C: ProducerContext> Drop for Run<'_, '_, C> {
    fn drop(&mut self) {
        self.hand_over();
    }
}
