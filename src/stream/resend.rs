//! Sends the records of refused batches again, one by one.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::deliveries::{Deliveries, ProduceError, ResultCollector};
use crate::client::ProducerContext;
use crate::error::KafkaError;
use crate::message::{Delivery, DeliveryFuture, ProducerRecord, SendError};
use crate::producer::{Access, Producer};

/// The result of one record.
pub(super) type SendResult<D> = Result<Delivery, SendError<D>>;

/// The result of an item: that of its record, or those of its records.
pub(crate) trait ItemResult<D> {
    /// Returns true if a record of the item was in a refused batch.
    fn has_refused(&self) -> bool;

    /// Returns the result of each record.
    fn into_results(self) -> Vec<SendResult<D>>;

    /// Puts the results of the records together again.
    fn from_results(results: Vec<SendResult<D>>) -> Self;
}

/// The items whose results are held back until refused records have been sent again.
///
/// Once an item has a refused record, the stream enqueues nothing more, and holds what is in flight
/// until all of it has its result. So a record that is sent again meets no other of the stream.
pub(super) struct Resend<T, D> {
    send: Box<dyn Fn(ProducerRecord<'static>) -> DeliveryFuture<D> + Send + Sync>,
    held: VecDeque<Held<T, D>>,
    /// How many results of the first held item are final.
    done: usize,
    /// The record that was sent again, with the reason why.
    sent: Option<(KafkaError, DeliveryFuture<D>)>,
}

struct Held<T, D> {
    /// The item's place in the stream.
    index: u64,
    records: usize,
    value: T,
    results: Vec<SendResult<D>>,
}

impl<T, D> Resend<T, D> {
    pub(super) fn new<C, A>(producer: Producer<C, A>) -> Option<Box<Self>>
    where
        C: ProducerContext<DeliveryOpaque = D>,
        D: Default + Send + Sync + 'static,
        A: Access,
    {
        // A refused record requires the abort of its transaction.
        if producer.is_transactional() {
            return None;
        }
        Some(Box::new(Self {
            // Its capacity was just released, and nothing of this stream waits for it.
            send: Box::new(move |record| producer.enqueue_unchecked(record.opaque(D::default()))),
            held: VecDeque::new(),
            done: 0,
            sent: None,
        }))
    }

    /// Returns true while results are held.
    #[inline]
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns the number of items that are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Holds an item's result, in the order of the stream.
    pub(super) fn hold<R: ItemResult<D>>(
        &mut self,
        index: u64,
        records: usize,
        value: T,
        result: R,
    ) {
        let place = self.held.partition_point(|held| held.index <= index);
        let held = Held {
            index,
            records,
            value,
            results: result.into_results(),
        };
        self.held.insert(place, held);
    }

    /// Sends the refused records of the first held item again, then returns the item.
    pub(super) fn poll_first<R: ItemResult<D>>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(usize, T, R)>> {
        let Some(first) = self.held.front_mut() else {
            return Poll::Ready(None);
        };
        loop {
            if let Some((reason, future)) = &mut self.sent {
                let result = ready!(Pin::new(future).poll(cx));
                let result = result.map_err(|error| error.after(reason));
                first.results[self.done] = result;
                self.done += 1;
                self.sent = None;
            }
            let refused = |result: &SendResult<D>| match result {
                Err(error) => error.is_batch_refused(),
                Ok(_) => false,
            };
            let Some(next) = first.results[self.done..].iter().position(refused) else {
                break;
            };
            self.done += next;
            if let Err(error) = &mut first.results[self.done] {
                let reason = error.error().clone();
                self.sent = Some((reason, (self.send)(error.take_record())));
            }
        }
        self.done = 0;
        let first = self.held.pop_front();
        Poll::Ready(first.map(|held| (held.records, held.value, R::from_results(held.results))))
    }
}

impl<T, D> fmt::Debug for Resend<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resend")
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

impl<D> ItemResult<D> for SendResult<D> {
    fn has_refused(&self) -> bool {
        self.as_ref().is_err_and(SendError::is_batch_refused)
    }

    fn into_results(self) -> Vec<Self> {
        vec![self]
    }

    fn from_results(mut results: Vec<Self>) -> Self {
        results.pop().expect("an item of one record has one result")
    }
}

impl<D> ItemResult<D> for Result<Deliveries, ProduceError<D>> {
    fn has_refused(&self) -> bool {
        self.as_ref().is_err_and(|error| {
            let mut results = error.results().iter();
            results.any(|result| result.has_refused())
        })
    }

    fn into_results(self) -> Vec<SendResult<D>> {
        match self {
            Ok(deliveries) => deliveries.into_iter().map(Ok).collect(),
            Err(error) => error.into_results(),
        }
    }

    fn from_results(results: Vec<SendResult<D>>) -> Self {
        let mut collector = ResultCollector::new();
        results
            .into_iter()
            .for_each(|result| collector.push(result));
        collector.into_result()
    }
}
