//! Records from a stream, and a stream of what became of them.

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

use super::deliveries::{Collected, Deliveries, ProduceError};
use super::window::{Weighed, Window};
use crate::client::{DefaultProducerContext, ProducerContext};
use crate::message::{Delivery, DeliveryFuture, ProducerRecord, SendError};
use crate::producer::Producer;
use crate::sync::coop;

/// Produces the records of a stream, and gives back what became of them.
pub trait ProduceExt: Stream + Sized {
    /// Produces the records of each item `(value, records)`: an `Option`, an array, a `Vec` of
    /// records, or whatever else is [`IntoIterator`]. The value comes back with what became of them:
    /// an offset to be committed, a row to be marked, the channel for a reply. An item without a
    /// record keeps its place. The results are in the stream's order, unless
    /// [`unordered`](Produce::unordered).
    ///
    /// To let errors of the stream pass through too, make them values without a record.
    ///
    /// Where rustc does not take it in a spawned `async` block, see
    /// [what helps](crate#in-a-spawned-task).
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
    fn produce<'a, T, R, C>(self, producer: &Producer<C>) -> Produce<Self, C>
    where
        Self: Stream<Item = (T, R)>,
        R: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
        C: ProducerContext,
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

    /// As [`produce`](Self::produce), for one record in each item `(value, record)`.
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
    fn produce_each<'a, T, C>(self, producer: &Producer<C>) -> ProduceEach<Self, C>
    where
        Self: Stream<Item = (T, ProducerRecord<'a, C::DeliveryOpaque>)>,
        C: ProducerContext,
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
    /// The stream of [`ProduceExt::produce`]: each value, with the deliveries of its records or what
    /// failed of them.
    ///
    /// It takes an item from its source when it is polled, and only where there may be more in
    /// flight; a record waits for room as in [`Producer::enqueue`], with no limit of time.
    ///
    /// # Errors
    ///
    /// [`ProduceError`] with the result of each record of the item, where one was not delivered.
    ///
    /// # Cancel safety
    ///
    /// What has been enqueued when the stream is dropped is delivered all the same; one item may have
    /// been taken from the source whose records were not all enqueued.
    #[must_use = "a stream does nothing unless it is polled"]
    pub struct Produce<St, C = DefaultProducerContext>
    where
        St: Stream,
        St::Item: Pair,
        Second<St>: IntoIterator,
        C: ProducerContext,
    {
        #[pin]
        source: Fuse<St>,
        producer: Producer<C>,
        // Of the item whose records are being enqueued.
        value: Option<Value<St>>,
        records: Option<<Second<St> as IntoIterator>::IntoIter>,
        // The record that waits for room.
        waiting: Option<<Second<St> as IntoIterator>::Item>,
        futures: Futures<C::DeliveryOpaque>,
        window: Window<Value<St>, Results<C::DeliveryOpaque>>,
    }
}

pin_project! {
    /// The stream of [`ProduceExt::produce_each`]: each value, with the delivery of its record or
    /// what failed. Otherwise as [`Produce`].
    ///
    /// # Errors
    ///
    /// Each result as that of [`Producer::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`Produce`].
    #[must_use = "a stream does nothing unless it is polled"]
    pub struct ProduceEach<St, C = DefaultProducerContext>
    where
        St: Stream,
        St::Item: Pair,
        C: ProducerContext,
    {
        #[pin]
        source: Fuse<St>,
        producer: Producer<C>,
        // Of the item whose record waits for room.
        value: Option<Value<St>>,
        waiting: Option<Second<St>>,
        window: Window<Value<St>, DeliveryFuture<C::DeliveryOpaque>>,
    }
}

/// The items of the streams here: a value, and what is to be sent. Their types are those of the
/// stream's item and not parameters of their own: a spawned `async` block forgets that two lifetimes
/// are the same.
pub trait Pair: sealed::Sealed {
    /// What passes through.
    type Value;
    /// The record or records.
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

/// The future of what an item's records come to.
struct Results<D> {
    futures: Futures<D>,
    collected: Collected<D>,
    /// How many are collected.
    count: usize,
}

impl<'a, St, T, R, C> Produce<St, C>
where
    St: Stream<Item = (T, R)>,
    R: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    C: ProducerContext,
{
    /// Enqueues as many records as may be in flight. Ready where nothing is left to be enqueued.
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            if this.value.is_some() && this.waiting.is_none() {
                // Also where it has panicked before.
                *this.waiting = this.records.as_mut().and_then(Iterator::next);
                if this.waiting.is_none() {
                    *this.records = None;
                    let results = Results::new(mem::take(this.futures));
                    if results.futures.is_empty() {
                        this.window.in_flight += results.weight();
                    }
                    if let Some(value) = this.value.take() {
                        this.window.push(value, results);
                    }
                }
            }
            if !this.window.has_capacity() {
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

impl<'a, St, T, C> ProduceEach<St, C>
where
    St: Stream<Item = (T, ProducerRecord<'a, C::DeliveryOpaque>)>,
    C: ProducerContext,
{
    /// As that of [`Produce`].
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while this.window.has_capacity() {
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

impl<'a, St, T, R, C> Stream for Produce<St, C>
where
    St: Stream<Item = (T, R)>,
    R: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    C: ProducerContext,
{
    type Item = (T, Result<Deliveries, ProduceError<C::DeliveryOpaque>>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(coop::poll_turn(cx));
        let filled = self.as_mut().poll_fill(cx);
        self.project().window.poll_next(filled, cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        size_hint(&self.source, &self.window, self.value.is_some())
    }
}

impl<'a, St, T, C> Stream for ProduceEach<St, C>
where
    St: Stream<Item = (T, ProducerRecord<'a, C::DeliveryOpaque>)>,
    C: ProducerContext,
{
    type Item = (T, Result<Delivery, SendError<C::DeliveryOpaque>>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(coop::poll_turn(cx));
        let filled = self.as_mut().poll_fill(cx);
        self.project().window.poll_next(filled, cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        size_hint(&self.source, &self.window, self.value.is_some())
    }
}

/// Of what is in flight, or is to be, and what is left in the source.
fn size_hint<T, F: Weighed>(
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

/// The settings.
macro_rules! settings {
    ($($stream:ident where [$($bound:tt)*];)*) => {
        $(
            impl<St, C> $stream<St, C>
            where
                St: Stream,
                St::Item: Pair,
                $($bound)*
                C: ProducerContext,
            {
                /// How many records may be in flight: enqueued, but with a result that has not been
                /// returned; 10 000 by default, and 1 at the least. An item without a record counts as
                /// one. An item with more records than that is let in alone.
                pub fn max_in_flight(mut self, max_in_flight: usize) -> Self {
                    self.window.max_in_flight = max_in_flight.max(1);
                    self
                }

                /// Stops at the first failure that is returned: takes nothing more from its source,
                /// returns what is in flight by then, in which there may be more failures, and ends.
                pub fn stop_on_failure(mut self) -> Self {
                    self.window.stops_on_failure = true;
                    self
                }

                /// Returns results as they come in, instead of in the stream's order: an item is not
                /// held up by one before it whose partition has no leader, say. Takes an allocation
                /// for each item.
                pub fn unordered(mut self) -> Self {
                    self.window.set_unordered();
                    self
                }
            }

            impl<St, C> fmt::Debug for $stream<St, C>
            where
                St: Stream,
                St::Item: Pair,
                $($bound)*
                C: ProducerContext,
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
            collected: Collected::new(),
            count: 0,
        }
    }
}

impl<D> Weighed for Results<D> {
    fn weight(&self) -> usize {
        self.futures.len().max(1)
    }
}

// Nothing in it is pinned in place.
impl<D> Unpin for Results<D> {}

impl<D> Future for Results<D> {
    type Output = Result<Deliveries, ProduceError<D>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(future) = this.futures.get_mut(this.count) {
            this.collected.push(ready!(Pin::new(future).poll(cx)));
            this.count += 1;
        }
        Poll::Ready(mem::replace(&mut this.collected, Collected::new()).into_result())
    }
}
