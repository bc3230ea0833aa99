//! Sends the records of an iterator and yields a stream of their results.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::batch::Batch;
use super::window::Window;
use crate::client::{DefaultProducerContext, ProducerContext};
use crate::ffi::BATCH;
use crate::message::{Delivery, DeliveryFuture, ProducerRecord, SendError};
use crate::producer::{Access, FullAccess, Producer};
use crate::sync::coop;

impl<C: ProducerContext, A: Access> Producer<C, A> {
    /// Sends the records of an iterator and returns a stream of their results, in order.
    ///
    /// Records are enqueued as fast as capacity allows, while the stream is polled. See
    /// [`SendAll`].
    ///
    /// If the compiler rejects it in a spawned `async` block, see
    /// [in a spawned task](crate#in-a-spawned-task).
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use tokio_rdkafka::{Producer, ProducerRecord};
    ///
    /// # async fn run(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let rows = 1..=10_000_000_u32;
    /// let records = rows.map(|row| ProducerRecord::to("rows").payload(row.to_string()));
    /// let mut results = producer.send_all(records).max_in_flight(1_000);
    /// while let Some(delivery) = results.try_next().await? {
    ///     println!("{:?}", delivery.offset());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_all<'a, I>(&self, records: I) -> SendAll<I::IntoIter, C, A>
    where
        I: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    {
        SendAll::new(self.clone(), records.into_iter())
    }
}

/// The stream that [`Producer::send_all`] returns: the result of each record, in order.
///
/// It continues after a failure. It takes a record from the iterator only while it is polled, and
/// only if [`max_in_flight`](Self::max_in_flight) allows more. Records wait for capacity as in
/// [`Producer::enqueue`], without a time limit.
///
/// # Batches
///
/// Consecutive records of one topic are enqueued in batches of up to 32, which costs less than one
/// call for each. A record can be in a batch if it has only a key and a payload of less than 1 KiB.
///
/// All records of a batch get the same timestamp. A record in a batch waits for what the iterator
/// yields next, so the iterator must not block. While there are results to yield, up to one eighth
/// of `max_in_flight` can stay unused to leave space for a whole batch.
///
/// Source: `rd_kafka_produce_batch`. With `plugin.library.paths` there are no batches.
///
/// # Errors
///
/// Each result is one of [`Producer::send`].
///
/// # Cancel safety
///
/// Records that were enqueued before the stream is dropped are delivered nevertheless. One record
/// may be lost: it was taken from the iterator, but not enqueued.
#[must_use = "a stream does nothing unless it is polled"]
pub struct SendAll<I: Iterator, C: ProducerContext = DefaultProducerContext, A: Access = FullAccess>
{
    producer: Producer<C, A>,
    /// `None` once the iterator has ended.
    records: Option<I>,
    /// The record that waits for capacity.
    waiting: Option<I::Item>,
    window: Window<(), DeliveryFuture<C::DeliveryOpaque>>,
}

// No field is pinned structurally.
impl<I: Iterator, C: ProducerContext, A: Access> Unpin for SendAll<I, C, A> {}

impl<I: Iterator, C: ProducerContext, A: Access> SendAll<I, C, A> {
    pub(crate) fn new(producer: Producer<C, A>, records: I) -> Self {
        Self {
            producer,
            records: Some(records),
            waiting: None,
            window: Window::new(),
        }
    }

    /// Limits the records in flight: those that are enqueued and whose result has not been yielded.
    /// The default is 10 000, the minimum 1.
    pub fn max_in_flight(mut self, max_in_flight: usize) -> Self {
        self.window.max_in_flight = max_in_flight.max(1);
        self
    }
}

impl<'a, I, C, A> SendAll<I, C, A>
where
    I: Iterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    C: ProducerContext,
    A: Access,
{
    /// Returns true if results should be yielded first, until a whole batch can be enqueued. That
    /// leaves at most an eighth of `max_in_flight` unused.
    #[inline]
    fn waits_for_batch(&self) -> bool {
        let batch = BATCH.min(self.window.max_in_flight / 8);
        self.window.capacity() < batch && self.waiting.is_none() && self.window.is_next_ready()
    }

    /// Enqueues records up to the limit. Ready if nothing is left to be enqueued.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            producer,
            records,
            waiting,
            window,
        } = self;
        // Its records are produced when it is dropped at the latest.
        let mut batch = Batch::new(producer);
        while window.has_capacity() {
            if waiting.is_none() {
                let Some(record) = records.as_mut().and_then(Iterator::next) else {
                    *records = None;
                    return Poll::Ready(());
                };
                if batch.try_acquire(&record, window.capacity()) {
                    if batch.can_push(&record) {
                        window.add((), batch.push(record));
                    } else {
                        window.add((), batch.enqueue(record));
                    }
                    continue;
                }
                *waiting = Some(record);
            }
            let future = ready!(batch.poll_enqueue(cx, waiting));
            window.add((), future);
        }
        Poll::Pending
    }
}

impl<'a, I, C, A> Stream for SendAll<I, C, A>
where
    I: Iterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    C: ProducerContext,
    A: Access,
{
    type Item = Result<Delivery, SendError<C::DeliveryOpaque>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        ready!(coop::poll_turn(cx));
        let filled = if this.waits_for_batch() {
            Poll::Pending
        } else {
            this.poll_fill(cx)
        };
        let next = ready!(this.window.poll_next(filled, cx));
        Poll::Ready(next.map(|((), result)| result))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let taken = self.window.len() + usize::from(self.waiting.is_some());
        let (least, most) = self.records.as_ref().map_or((0, Some(0)), I::size_hint);
        let most = most.and_then(|most| most.checked_add(taken));
        (least.saturating_add(taken), most)
    }
}

impl<I: Iterator, C: ProducerContext, A: Access> fmt::Debug for SendAll<I, C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendAll")
            .field("in_flight", &self.window.in_flight)
            .field("max_in_flight", &self.window.max_in_flight)
            .finish_non_exhaustive()
    }
}
