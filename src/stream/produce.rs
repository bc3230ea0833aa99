//! Turns a stream of items into a stream of their results.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::Fuse;
use pin_project_lite::pin_project;
use smallvec::SmallVec;

use super::deliveries::{Deliveries, ProduceError, ResultCollector};
use super::window::{ItemFuture, Window};
use crate::client::{DefaultProducerContext, ProducerContext};
use crate::message::{Delivery, DeliveryFuture, ProducerRecord, SendError};
use crate::producer::{Access, FullAccess, Producer};
use crate::sync::coop;

/// Produces the records of a stream and yields their results.
pub trait ProduceExt: Stream + Sized {
    /// Produces the records of each item and yields its value with their results.
    ///
    /// An item is a pair `(value, records)`. The records are anything that is [`IntoIterator`]: an
    /// `Option`, an array, a `Vec`. The value is yielded unchanged: an offset to commit, a row to
    /// mark, a channel for the reply. Results come in the order of the stream, unless
    /// [`unordered`](Produce::unordered) is set. An item without records keeps its place in that
    /// order. In the log, retries keep it only with `enable.idempotence=true`; see
    /// [order](crate::Producer#order).
    ///
    /// To pass on errors of the stream, turn them into values without records.
    ///
    /// If the compiler rejects it in a spawned `async` block, see
    /// [in a spawned task](crate#in-a-spawned-task).
    ///
    /// ```no_run
    /// use futures::{StreamExt, stream};
    /// use tokio_rdkafka::{ProduceExt, Producer, ProducerRecord};
    ///
    /// # async fn run(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let rows = stream::iter([(1, Some("a")), (2, None), (3, Some("c"))]);
    /// let mut results = rows
    ///     .map(|(id, row)| (id, row.map(|row| ProducerRecord::to("rows").payload(row))))
    ///     .produce(&producer);
    /// while let Some((id, result)) = results.next().await {
    ///     let deliveries = result?;
    ///     println!("row {id} is in Kafka, in {} record(s)", deliveries.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn produce<'a, T, R, C, A>(self, producer: &Producer<C, A>) -> Produce<Self, C, A>
    where
        Self: Stream<Item = (T, R)>,
        R: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
        C: ProducerContext,
        A: Access,
    {
        Produce {
            source: self.fuse(),
            producer: producer.clone(),
            value: None,
            records: None,
            waiting: None,
            futures: Futures::new(),
            window: Window::new(),
        }
    }

    /// Produces the record of each item `(value, record)` and yields the value with its result.
    ///
    /// Otherwise it works as [`produce`](Self::produce) does.
    ///
    /// ```no_run
    /// use futures::{StreamExt, stream};
    /// use tokio_rdkafka::{ProduceExt, Producer, ProducerRecord};
    ///
    /// # async fn run(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let rows = stream::iter(1..=3);
    /// let mut results = rows
    ///     .map(|id: u32| (id, ProducerRecord::to("rows").payload(id.to_string())))
    ///     .produce_each(&producer)
    ///     .max_in_flight(1_000);
    /// while let Some((id, result)) = results.next().await {
    ///     println!("row {id} is at {:?}", result?.offset());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn produce_each<'a, T, C, A>(self, producer: &Producer<C, A>) -> ProduceEach<Self, C, A>
    where
        Self: Stream<Item = (T, ProducerRecord<'a, C::DeliveryOpaque>)>,
        C: ProducerContext,
        A: Access,
    {
        ProduceEach {
            source: self.fuse(),
            producer: producer.clone(),
            value: None,
            waiting: None,
            window: Window::new(),
        }
    }
}

impl<St: Stream> ProduceExt for St {}

pin_project! {
    /// The stream that [`ProduceExt::produce`] returns: each value with the deliveries of its
    /// records.
    ///
    /// It takes an item from its source only while it is polled, and only if
    /// [`max_in_flight`](Self::max_in_flight) allows more. Records wait for capacity as in
    /// [`Producer::enqueue`], without a time limit.
    ///
    /// # Errors
    ///
    /// If a record of an item was not delivered, the item's result is a [`ProduceError`] with the
    /// result of each of its records.
    ///
    /// # Cancel safety
    ///
    /// Records that were enqueued before the stream is dropped are delivered nevertheless. One item
    /// may be lost: it was taken from the source, but not all of its records were enqueued.
    #[must_use = "a stream does nothing unless it is polled"]
    pub struct Produce<St, C = DefaultProducerContext, A = FullAccess>
    where
        St: Stream,
        St::Item: Pair,
        Second<St>: IntoIterator,
        C: ProducerContext,
        A: Access,
    {
        #[pin]
        source: Fuse<St>,
        producer: Producer<C, A>,
        // Value and remaining records of the item that is being enqueued.
        value: Option<Value<St>>,
        records: Option<<Second<St> as IntoIterator>::IntoIter>,
        // The record that waits for capacity.
        waiting: Option<<Second<St> as IntoIterator>::Item>,
        futures: Futures<C::DeliveryOpaque>,
        window: Window<Value<St>, Results<C::DeliveryOpaque>>,
    }
}

pin_project! {
    /// The stream that [`ProduceExt::produce_each`] returns: each value with its record's delivery.
    ///
    /// Otherwise it works as [`Produce`] does.
    ///
    /// # Errors
    ///
    /// Each result is one of [`Producer::send`].
    ///
    /// # Cancel safety
    ///
    /// Same as [`Produce`].
    #[must_use = "a stream does nothing unless it is polled"]
    pub struct ProduceEach<St, C = DefaultProducerContext, A = FullAccess>
    where
        St: Stream,
        St::Item: Pair,
        C: ProducerContext,
        A: Access,
    {
        #[pin]
        source: Fuse<St>,
        producer: Producer<C, A>,
        // The item whose record waits for capacity.
        value: Option<Value<St>>,
        waiting: Option<Second<St>>,
        window: Window<Value<St>, DeliveryFuture<C::DeliveryOpaque>>,
    }
}

/// An item of a stream: a value, and the records to send.
///
/// The two types are taken from the item instead of being parameters of the streams. In a spawned
/// `async` block the compiler could not tell that their lifetimes are the same.
pub trait Pair: sealed::Sealed {
    /// The value, which is yielded with the result.
    type Value;
    /// The record, or the records.
    type Second;
}

impl<T, R> Pair for (T, R) {
    type Value = T;
    type Second = R;
}

mod sealed {
    pub trait Sealed {}
    impl<T, R> Sealed for (T, R) {}
}

type Value<St> = <<St as Stream>::Item as Pair>::Value;
type Second<St> = <<St as Stream>::Item as Pair>::Second;

/// The futures of an item's records.
type Futures<D> = SmallVec<[DeliveryFuture<D>; 1]>;

/// The future of the results of an item's records.
struct Results<D> {
    futures: Futures<D>,
    collector: ResultCollector<D>,
    /// How many futures are ready and collected.
    collected: usize,
}

impl<'a, St, T, R, C, A> Produce<St, C, A>
where
    St: Stream<Item = (T, R)>,
    R: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    C: ProducerContext,
    A: Access,
{
    /// Enqueues records up to the limit. Ready if nothing is left to be enqueued.
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            if this.value.is_some() && this.waiting.is_none() {
                // Also after a panic of the iterator, which is then asked for its next record.
                *this.waiting = this.records.as_mut().and_then(Iterator::next);
                if this.waiting.is_none() {
                    *this.records = None;
                    let results = Results::new(mem::take(this.futures));
                    if results.futures.is_empty() {
                        this.window.in_flight += results.record_count();
                    }
                    if let Some(value) = this.value.take() {
                        this.window.push(value, results);
                    }
                }
            }
            let has_capacity = if this.value.is_some() {
                this.window.has_capacity_within()
            } else {
                this.window.has_capacity()
            };
            if !has_capacity {
                return Poll::Pending;
            }
            if this.value.is_some() {
                let future = ready!(this.producer.poll_enqueue(cx, this.waiting));
                this.futures.push(future);
                this.window.in_flight += 1;
            } else {
                if this.window.is_stopped {
                    return Poll::Ready(());
                }
                let Some((value, records)) = ready!(this.source.as_mut().poll_next(cx)) else {
                    return Poll::Ready(());
                };
                *this.records = Some(records.into_iter());
                *this.value = Some(value);
            }
        }
    }
}

impl<'a, St, T, C, A> ProduceEach<St, C, A>
where
    St: Stream<Item = (T, ProducerRecord<'a, C::DeliveryOpaque>)>,
    C: ProducerContext,
    A: Access,
{
    /// Enqueues records up to the limit. Ready if nothing is left to be enqueued.
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while this.waiting.is_some() || this.window.has_capacity() {
            if this.waiting.is_none() {
                if this.window.is_stopped {
                    return Poll::Ready(());
                }
                let Some((value, record)) = ready!(this.source.as_mut().poll_next(cx)) else {
                    return Poll::Ready(());
                };
                *this.waiting = Some(record);
                *this.value = Some(value);
            }
            let future = ready!(this.producer.poll_enqueue(cx, this.waiting));
            if let Some(value) = this.value.take() {
                this.window.add(value, future);
            }
        }
        Poll::Pending
    }
}

impl<'a, St, T, R, C, A> Stream for Produce<St, C, A>
where
    St: Stream<Item = (T, R)>,
    R: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    C: ProducerContext,
    A: Access,
{
    type Item = (T, Result<Deliveries, ProduceError<C::DeliveryOpaque>>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(coop::poll_turn(cx));
        let filled = self.as_mut().poll_fill(cx);
        let this = self.project();
        this.window.poll_next(filled, this.value.is_some(), cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        size_hint(&self.source, &self.window, self.value.is_some())
    }
}

impl<'a, St, T, C, A> Stream for ProduceEach<St, C, A>
where
    St: Stream<Item = (T, ProducerRecord<'a, C::DeliveryOpaque>)>,
    C: ProducerContext,
    A: Access,
{
    type Item = (T, Result<Delivery, SendError<C::DeliveryOpaque>>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(coop::poll_turn(cx));
        let filled = self.as_mut().poll_fill(cx);
        let this = self.project();
        this.window.poll_next(filled, this.value.is_some(), cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        size_hint(&self.source, &self.window, self.value.is_some())
    }
}

/// Counts the items in flight, the one that is being enqueued, and those left in the source.
fn size_hint<T, F: ItemFuture>(
    source: &impl Stream,
    window: &Window<T, F>,
    is_filling: bool,
) -> (usize, Option<usize>) {
    let taken = window.len() + usize::from(is_filling);
    if window.is_stopped {
        return (taken, Some(taken));
    }
    let (least, most) = source.size_hint();
    let least = if window.stops_on_failure { 0 } else { least };
    let most = most.and_then(|most| most.checked_add(taken));
    (least.saturating_add(taken), most)
}

/// Implements the settings of both streams.
macro_rules! settings {
    ($($stream:ident where [$($bound:tt)*];)*) => {
        $(
            impl<St, C, A> $stream<St, C, A>
            where
                St: Stream,
                St::Item: Pair,
                $($bound)*
                C: ProducerContext,
                A: Access,
            {
                /// Limits the records in flight: those that are enqueued and whose result has not
                /// been yielded. The default is 10 000, the minimum 1.
                ///
                /// An item without records counts as one. An item with more records than the limit
                /// is enqueued alone.
                pub fn max_in_flight(mut self, max_in_flight: usize) -> Self {
                    self.window.max_in_flight = max_in_flight.max(1);
                    self
                }

                /// Stops after the first failure that is yielded.
                ///
                /// The stream then takes no more items from its source. It yields the results of
                /// what is in flight, which may contain more failures, and ends.
                pub fn stop_on_failure(mut self) -> Self {
                    self.window.stops_on_failure = true;
                    self
                }

                /// Sends the records of a refused batch again, one by one, and reports the guilty
                /// alone.
                ///
                /// It works as [`SendAll::resend_refused_batches`](crate::SendAll::resend_refused_batches)
                /// does. With [`unordered`](Self::unordered) other items do not wait. An item's
                /// deliveries stay in the order of its records.
                pub fn resend_refused_batches(mut self) -> Self
                where
                    C::DeliveryOpaque: Default,
                {
                    self.window.set_resend(&self.producer);
                    self
                }

                /// Yields results as they arrive, instead of in the order of the stream.
                ///
                /// An item then does not wait for an earlier one, for instance one whose partition
                /// has no leader. This costs one allocation for each item.
                pub fn unordered(mut self) -> Self {
                    self.window.set_unordered();
                    self
                }
            }

            impl<St, C, A> fmt::Debug for $stream<St, C, A>
            where
                St: Stream,
                St::Item: Pair,
                $($bound)*
                C: ProducerContext,
                A: Access,
            {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(stringify!($stream))
                        .field("in_flight", &self.window.in_flight)
                        .field("max_in_flight", &self.window.max_in_flight)
                        .field("is_stopped", &self.window.is_stopped)
                        .finish_non_exhaustive()
                }
            }
        )*
    };
}

settings! {
    Produce where [Second<St>: IntoIterator,];
    ProduceEach where [];
}

impl<D> Results<D> {
    fn new(futures: Futures<D>) -> Self {
        Self {
            futures,
            collector: ResultCollector::new(),
            collected: 0,
        }
    }
}

impl<D> ItemFuture for Results<D> {
    type Opaque = D;

    fn record_count(&self) -> usize {
        self.futures.len().max(1)
    }
}

// No field is pinned structurally.
impl<D> Unpin for Results<D> {}

impl<D> Future for Results<D> {
    type Output = Result<Deliveries, ProduceError<D>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(future) = this.futures.get_mut(this.collected) {
            this.collector.push(ready!(Pin::new(future).poll(cx)));
            this.collected += 1;
        }
        Poll::Ready(mem::replace(&mut this.collector, ResultCollector::new()).into_result())
    }
}
