//! Records from an iterator, and a stream of what became of them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::batch::Batch;
use super::window::Window;
use crate::client::{DefaultProducerContext, ProducerContext};
use crate::ffi::BATCH;
use crate::message::{Delivery, DeliveryFuture, ProducerRecord, SendError};
use crate::producer::Producer;
use crate::sync::coop;

impl<C: ProducerContext> Producer<C> {
    /// Sends the records of an iterator, as fast as there is room: a stream of what became of each,
    /// in their order. See [`SendAll`]. Where rustc does not take it in a spawned `async` block,
    /// see [what helps](crate#in-a-spawned-task).
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use tokio_rdkafka::{Producer, ProducerRecord};
    ///
    /// # async fn run(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let rows = (1..=10_000_000).map(|row: u32| ProducerRecord::to("rows").payload(row.to_string()));
    /// let mut results = producer.send_all(rows).max_in_flight(1_000);
    /// while let Some(delivery) = results.try_next().await? {
    ///     println!("{:?}", delivery.offset());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_all<'a, I>(&self, records: I) -> SendAll<I::IntoIter, C>
    where
        I: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    {
        SendAll::new(self.clone(), records.into_iter())
    }
}

/// The stream of [`Producer::send_all`]: the result of each record, in the iterator's order.
///
/// It goes on after a failure. It takes a record from the iterator when it is polled, and only where
/// there may be more in flight; a record waits for room as in [`Producer::enqueue`], with no limit
/// of time.
///
/// # Runs
///
/// Consecutive records of one topic with nothing but a key and a payload of less than 1 KiB are handed
/// to librdkafka in runs of up to 32, for less than one by one. Those of a run are enqueued at the
/// same time, which is their timestamp. They wait for what the iterator returns next: it must not
/// block. To make room for a run, an eighth of what may be in flight can be unused while there are
/// results to return.
///
/// Source: `rd_kafka_produce_batch`. With `plugin.library.paths` there are no runs.
///
/// # Errors
///
/// Each result as that of [`Producer::send`].
///
/// # Cancel safety
///
/// What has been enqueued when the stream is dropped is delivered all the same. One record may have
/// been taken from the iterator that was not enqueued.
#[must_use = "a stream does nothing unless it is polled"]
pub struct SendAll<I: Iterator, C: ProducerContext = DefaultProducerContext> {
    producer: Producer<C>,
    /// Until its end.
    records: Option<I>,
    /// The record that waits for room.
    waiting: Option<I::Item>,
    window: Window<(), DeliveryFuture<C::DeliveryOpaque>>,
}

// Nothing in it is pinned in place.
impl<I: Iterator, C: ProducerContext> Unpin for SendAll<I, C> {}

impl<I: Iterator, C: ProducerContext> SendAll<I, C> {
    pub(crate) fn new(producer: Producer<C>, records: I) -> Self {
        Self {
            producer,
            records: Some(records),
            waiting: None,
            window: Window::new(),
        }
    }

    /// How many records may be in flight: enqueued, but with a result that has not been returned;
    /// 10 000 by default, and 1 at the least.
    pub fn max_in_flight(mut self, max_in_flight: usize) -> Self {
        self.window.max_in_flight = max_in_flight.max(1);
        self
    }
}

impl<'a, I, C> SendAll<I, C>
where
    I: Iterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    C: ProducerContext,
{
    /// Whether results are to be returned first, to make room for a run. That leaves no more than an
    /// eighth of what may be in flight unused.
    #[inline]
    fn awaits_batch(&self) -> bool {
        let batch = BATCH.min(self.window.max_in_flight / 8);
        self.window.capacity() < batch && self.waiting.is_none() && self.window.is_next_ready()
    }

    /// Enqueues as many records as may be in flight. Ready where nothing is left to be enqueued.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            producer,
            records,
            waiting,
            window,
        } = self;
        // Handed over at the latest when this returns.
        let mut batch = Batch::new(producer);
        while window.has_capacity() {
            if waiting.is_none() {
                let Some(record) = records.as_mut().and_then(Iterator::next) else {
                    *records = None;
                    return Poll::Ready(());
                };
                if batch.admits(&record, window.capacity()) {
                    if batch.takes(&record) {
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

impl<'a, I, C> Stream for SendAll<I, C>
where
    I: Iterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    C: ProducerContext,
{
    type Item = Result<Delivery, SendError<C::DeliveryOpaque>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        ready!(coop::poll_turn(cx));
        let filled = if this.awaits_batch() {
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

impl<I: Iterator, C: ProducerContext> fmt::Debug for SendAll<I, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendAll")
            .field("in_flight", &self.window.in_flight)
            .field("max_in_flight", &self.window.max_in_flight)
            .finish_non_exhaustive()
    }
}
