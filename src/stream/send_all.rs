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
/// The records are enqueued in the order of the iterator. Retries keep that order in the log only
/// with `enable.idempotence=true`; see [order](crate::Producer#order).
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

    /// Sends the records of a refused batch again, one by one, and reports the guilty alone.
    ///
    /// A broker accepts or refuses a batch as a whole, so one bad record fails its neighbours; see
    /// [`SendError::is_batch_refused`]. With this setting, the stream then:
    ///
    /// 1. takes no more records from its source;
    /// 2. waits for the results of all that are in flight;
    /// 3. sends each record of a refused batch again, in their order, and waits for its delivery
    ///    before the next one;
    /// 4. goes on.
    ///
    /// A record is sent again once at most. The results keep their order. In the log, the records
    /// that are sent again come after those that were in flight with them, and before all that
    /// follow. Each takes a network round trip and `linger.ms`, so a large batch takes a while: set
    /// a small `linger.ms`.
    ///
    /// If the producer is also used elsewhere, a record that is sent again may share its batch with
    /// a record from there. If that batch is refused, too, the error still has
    /// [`is_batch_refused`](SendError::is_batch_refused).
    ///
    /// The context's delivery callback, flush reports and the close report see both attempts. The
    /// second one has the default value of the opaque. If a record cannot be sent again, because
    /// the producer was closed or has had a fatal error, its error's source is the broker's
    /// verdict. Dropping the stream sends nothing again.
    ///
    /// It has no effect in a transaction, where a refused record requires the abort.
    ///
    /// ```no_run
    /// use futures::StreamExt;
    /// use tokio_rdkafka::{Producer, ProducerRecord};
    ///
    /// # async fn run(producer: Producer, rows: Vec<(Option<String>, String)>) {
    /// let records = rows
    ///     .into_iter()
    ///     .map(|(key, value)| ProducerRecord::to("compacted").key(key).payload(value));
    /// let mut results = producer.send_all(records).resend_refused_batches();
    /// while let Some(result) = results.next().await {
    ///     if let Err(error) = result {
    ///         // Only the record without a key.
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// # }
    /// ```
    pub fn resend_refused_batches(mut self) -> Self
    where
        C::DeliveryOpaque: Default,
    {
        self.window.set_resend(&self.producer);
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
        while waiting.is_some() || window.has_capacity() {
            if waiting.is_none() {
                let Some(mut record) = records.as_mut().and_then(Iterator::next) else {
                    *records = None;
                    return Poll::Ready(());
                };
                if batch.try_acquire(&mut record, window.capacity()) {
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
        let is_filling = this.waiting.is_some();
        let next = ready!(this.window.poll_next(filled, is_filling, cx));
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
