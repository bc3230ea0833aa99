//! Records from a stream, and a stream of what became of them.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::option;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::{Fuse, FuturesUnordered};
use pin_project_lite::pin_project;
use smallvec::SmallVec;

use crate::completion::DeliveryFuture;
use crate::context::{DefaultProducerContext, ProducerContext};
use crate::deliveries::{Collected, Deliveries, ProduceError};
use crate::delivery::Delivery;
use crate::error::SendError;
use crate::producer::Producer;
use crate::record::ProducerRecord;
use crate::send_all::MAX_IN_FLIGHT;

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
    fn produce<'a, T, R, C>(self, producer: &Producer<C>) -> Produce<Self, T, R::IntoIter, C>
    where
        Self: Stream<Item = (T, R)>,
        R: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
        C: ProducerContext,
    {
        Produce::new(self, producer.clone())
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
    fn produce_each<'a, T, C>(self, producer: &Producer<C>) -> ProduceEach<'a, Self, T, C>
    where
        Self: Stream<Item = (T, ProducerRecord<'a, C::DeliveryOpaque>)>,
        C: ProducerContext,
    {
        let records = SomeOf { source: self };
        ProduceEach {
            inner: Produce::new(records, producer.clone()),
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
    pub struct Produce<St, T, I, C = DefaultProducerContext>
    where
        I: Iterator,
        C: ProducerContext,
    {
        #[pin]
        source: Fuse<St>,
        producer: Producer<C>,
        filling: Option<Filling<T, I, C::DeliveryOpaque>>,
        window: Window<T, C::DeliveryOpaque>,
        // Records of the window and of what is being filled, and items without one.
        in_flight: usize,
        max_in_flight: usize,
        stops_on_failure: bool,
        is_stopped: bool,
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
    pub struct ProduceEach<'a, St, T, C = DefaultProducerContext>
    where
        C: ProducerContext,
    {
        #[pin]
        inner: Produce<
            SomeOf<St>,
            T,
            option::IntoIter<ProducerRecord<'a, C::DeliveryOpaque>>,
            C,
        >,
    }
}

/// An item whose records are not all enqueued yet.
struct Filling<T, I: Iterator, D> {
    value: T,
    records: I,
    /// The record that waits for room.
    waiting: Option<I::Item>,
    futures: Futures<D>,
}

/// The futures of an item's records.
type Futures<D> = SmallVec<[DeliveryFuture<D>; 1]>;

/// What a value comes back with.
type Outcome<D> = Result<Deliveries, ProduceError<D>>;

/// The items whose records are enqueued.
enum Window<T, D> {
    Ordered {
        items: VecDeque<(T, Futures<D>)>,
        /// Of the first item.
        results: Results<D>,
    },
    Unordered(FuturesUnordered<Resolving<T, D>>),
}

/// The results of an item so far.
struct Results<D> {
    collected: Collected<D>,
    /// How many there are.
    count: usize,
}

/// The future of an item's outcome.
struct Resolving<T, D> {
    /// Until it is ready.
    item: Option<(T, Futures<D>)>,
    results: Results<D>,
}

impl<St: Stream, T, I: Iterator, C: ProducerContext> Produce<St, T, I, C> {
    fn new(source: St, producer: Producer<C>) -> Self {
        Self {
            source: source.fuse(),
            producer,
            filling: None,
            window: Window::Ordered {
                items: VecDeque::new(),
                results: Results::new(),
            },
            in_flight: 0,
            max_in_flight: MAX_IN_FLIGHT,
            stops_on_failure: false,
            is_stopped: false,
        }
    }

    /// How many records may be in flight: enqueued, but with a result that has not been returned;
    /// 10 000 by default, and 1 at the least. An item without a record counts as one. An item with
    /// more records than that is let in alone.
    pub fn max_in_flight(self, max_in_flight: usize) -> Self {
        Self {
            max_in_flight: max_in_flight.max(1),
            ..self
        }
    }

    /// Stops at the first failure that is returned: takes nothing more from its source, returns what
    /// is in flight by then, in which there may be more failures, and ends.
    pub fn stop_on_failure(self) -> Self {
        Self {
            stops_on_failure: true,
            ..self
        }
    }

    /// Returns results as they come in, instead of in the stream's order: an item is not held up by
    /// one before it whose partition has no leader, say. Takes an allocation for each item.
    pub fn unordered(self) -> Self {
        let window = Window::Unordered(FuturesUnordered::new());
        Self { window, ..self }
    }
}

impl<'a, St, T, R, C> Produce<St, T, R::IntoIter, C>
where
    St: Stream<Item = (T, R)>,
    R: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    C: ProducerContext,
{
    /// Enqueues as many records as may be in flight. Ready where nothing is left to be enqueued.
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        // What is let in alone has nothing else in flight that could make room for it.
        while *this.in_flight < *this.max_in_flight || this.window.is_empty() {
            if this.filling.is_none() && !*this.is_stopped {
                let item = ready!(this.source.as_mut().poll_next(cx));
                *this.filling = item.map(|(value, records)| Filling::new(value, records));
            }
            let Some(filling) = this.filling else {
                return Poll::Ready(());
            };
            if filling.waiting.is_some() {
                let future = ready!(this.producer.poll_enqueue(cx, &mut filling.waiting));
                filling.futures.push(future);
                *this.in_flight += 1;
                filling.waiting = filling.records.next();
            }
            if filling.waiting.is_none() {
                if let Some(Filling { value, futures, .. }) = this.filling.take() {
                    *this.in_flight += usize::from(futures.is_empty());
                    this.window.push(value, futures);
                }
            }
        }
        Poll::Pending
    }
}

impl<'a, St, T, R, C> Stream for Produce<St, T, R::IntoIter, C>
where
    St: Stream<Item = (T, R)>,
    R: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    C: ProducerContext,
{
    type Item = (T, Result<Deliveries, ProduceError<C::DeliveryOpaque>>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let filled = self.as_mut().poll_fill(cx);
        let this = self.project();
        let Some((value, outcome)) = ready!(this.window.poll_next(cx)) else {
            return filled.map(|()| None);
        };
        let records = match &outcome {
            Ok(deliveries) => deliveries.len(),
            Err(error) => error.results().len(),
        };
        *this.in_flight -= records.max(1);
        *this.is_stopped |= *this.stops_on_failure && outcome.is_err();
        Poll::Ready(Some((value, outcome)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let taken = self.window.len() + usize::from(self.filling.is_some());
        let (least, most) = if self.is_stopped {
            (0, Some(0))
        } else {
            self.source.size_hint()
        };
        let most = most.and_then(|most| most.checked_add(taken));
        let least = if self.stops_on_failure { 0 } else { least };
        (least.saturating_add(taken), most)
    }
}

impl<'a, St, T, C> ProduceEach<'a, St, T, C>
where
    St: Stream<Item = (T, ProducerRecord<'a, C::DeliveryOpaque>)>,
    C: ProducerContext,
{
    /// How many records may be in flight; see [`Produce::max_in_flight`].
    pub fn max_in_flight(self, max_in_flight: usize) -> Self {
        let inner = self.inner.max_in_flight(max_in_flight);
        Self { inner }
    }

    /// Stops at the first failure that is returned; see [`Produce::stop_on_failure`].
    pub fn stop_on_failure(self) -> Self {
        let inner = self.inner.stop_on_failure();
        Self { inner }
    }

    /// Returns results as they come in; see [`Produce::unordered`].
    pub fn unordered(self) -> Self {
        let inner = self.inner.unordered();
        Self { inner }
    }
}

impl<'a, St, T, C> Stream for ProduceEach<'a, St, T, C>
where
    St: Stream<Item = (T, ProducerRecord<'a, C::DeliveryOpaque>)>,
    C: ProducerContext,
{
    type Item = (T, Result<Delivery, SendError<C::DeliveryOpaque>>);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.project().inner.poll_next(cx));
        Poll::Ready(item.map(|(value, outcome)| {
            let result = match outcome {
                Ok(deliveries) => Ok(deliveries.into_iter().next().expect("it had a record")),
                Err(error) => Err(error.into_error()),
            };
            (value, result)
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

pin_project! {
    /// A stream's items, with its one record as the option of one.
    pub struct SomeOf<St> {
        #[pin]
        source: St,
    }
}

impl<T, R, St: Stream<Item = (T, R)>> Stream for SomeOf<St> {
    type Item = (T, Option<R>);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.project().source.poll_next(cx));
        Poll::Ready(item.map(|(value, record)| (value, Some(record))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.source.size_hint()
    }
}

impl<T, I: Iterator, D> Filling<T, I, D> {
    fn new(value: T, records: impl IntoIterator<IntoIter = I, Item = I::Item>) -> Self {
        let mut records = records.into_iter();
        Self {
            value,
            waiting: records.next(),
            records,
            futures: Futures::new(),
        }
    }
}

impl<T, D> Window<T, D> {
    fn len(&self) -> usize {
        match self {
            Window::Ordered { items, .. } => items.len(),
            Window::Unordered(items) => items.len(),
        }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, value: T, futures: Futures<D>) {
        match self {
            Window::Ordered { items, .. } => items.push_back((value, futures)),
            Window::Unordered(items) => items.push(Resolving {
                item: Some((value, futures)),
                results: Results::new(),
            }),
        }
    }

    /// The next item that is returned; none where there is no item.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(T, Outcome<D>)>> {
        match self {
            Window::Ordered { items, results } => {
                let Some((_, futures)) = items.front_mut() else {
                    return Poll::Ready(None);
                };
                let outcome = ready!(results.poll(futures, cx));
                Poll::Ready(items.pop_front().map(|(value, _)| (value, outcome)))
            }
            Window::Unordered(items) => items.poll_next_unpin(cx),
        }
    }
}

impl<D> Results<D> {
    fn new() -> Self {
        Self {
            collected: Collected::new(),
            count: 0,
        }
    }

    /// Takes the result of each future, and begins anew when it has all.
    fn poll(&mut self, futures: &mut Futures<D>, cx: &mut Context<'_>) -> Poll<Outcome<D>> {
        while let Some(future) = futures.get_mut(self.count) {
            self.collected.push(ready!(Pin::new(future).poll(cx)));
            self.count += 1;
        }
        Poll::Ready(mem::replace(self, Self::new()).collected.into_result())
    }
}

// Nothing in it is pinned in place.
impl<T, D> Unpin for Resolving<T, D> {}

impl<T, D> Future for Resolving<T, D> {
    type Output = (T, Outcome<D>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { item, results } = &mut *self;
        let (_, futures) = item.as_mut().expect("it is not polled after its end");
        let outcome = ready!(results.poll(futures, cx));
        let (value, _) = item.take().expect("it was there");
        Poll::Ready((value, outcome))
    }
}

impl<St, T, I: Iterator, C: ProducerContext> fmt::Debug for Produce<St, T, I, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Produce")
            .field("in_flight", &self.in_flight)
            .field("max_in_flight", &self.max_in_flight)
            .field("is_stopped", &self.is_stopped)
            .finish_non_exhaustive()
    }
}

impl<St, T, C: ProducerContext> fmt::Debug for ProduceEach<'_, St, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProduceEach").field(&self.inner).finish()
    }
}

impl<St> fmt::Debug for SomeOf<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SomeOf").finish_non_exhaustive()
    }
}
