//! Runs of records: what librdkafka takes in one call, for less than one by one.

use std::task::{Context, Poll};

use smallvec::SmallVec;

use crate::completion::{DeliveryFuture, DeliveryPromise};
use crate::context::ProducerContext;
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

    /// As [`Producer::poll_enqueue`], where the record may be handed over later: with those that
    /// follow, but before any that cannot go with it.
    #[inline]
    pub(crate) fn poll_enqueue(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Option<ProducerRecord<'a, C::DeliveryOpaque>>,
    ) -> Poll<DeliveryFuture<C::DeliveryOpaque>> {
        let takes_runs = self.producer.shared().core.takes_runs();
        let plain = record
            .as_ref()
            .filter(|record| takes_runs && record.fields.is_plain());
        if !plain.is_some_and(|record| self.goes_on_with(&record.fields)) {
            self.hand_over();
        }
        if plain.is_none() {
            return self.producer.poll_enqueue(cx, record);
        }
        let Self {
            producer,
            fields,
            promises,
        } = self;
        producer.poll_admitted(cx, record, |producer, record| {
            let (promise, future) = producer.shared().promise(&record.fields, record.opaque);
            fields.push(record.fields);
            promises.push(promise);
            future
        })
    }

    #[inline]
    fn goes_on_with(&self, fields: &Fields<'_>) -> bool {
        let first = self.fields.first();
        self.fields.len() < BATCH
            && first.is_none_or(|first| first.topic.as_str() == fields.topic.as_str())
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
