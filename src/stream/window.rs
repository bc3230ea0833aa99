//! The items in flight of a stream: their values with the futures of their records, up to a bound.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::resend::{ItemResult, Resend};
use crate::client::ProducerContext;
use crate::message::DeliveryFuture;
use crate::producer::{Access, Producer};

/// The default limit of records in flight.
const DEFAULT_MAX_IN_FLIGHT: usize = 10_000;

/// The future of an item's records.
pub(crate) trait ItemFuture: Future + Unpin {
    /// The opaque of its records.
    type Opaque;

    /// Returns how many records the item counts as.
    fn record_count(&self) -> usize;
}

impl<D> ItemFuture for DeliveryFuture<D> {
    type Opaque = D;

    fn record_count(&self) -> usize {
        1
    }
}

/// The enqueued items of a stream, and the stream's settings.
#[derive(Debug)]
pub(crate) struct Window<T, F: ItemFuture> {
    items: Items<T, F>,
    /// Set if the records of refused batches are sent again.
    resend: Option<Box<Resend<T, F::Opaque>>>,
    /// Records in flight: those of the items, and those of the item that is being enqueued.
    pub(crate) in_flight: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) stops_on_failure: bool,
    pub(crate) is_stopped: bool,
}

#[derive(Debug)]
enum Items<T, F> {
    Ordered(VecDeque<(T, F)>),
    /// With the number of items that were pushed.
    Unordered(FuturesUnordered<WithValue<T, F>>, u64),
}

/// The index of an item, the number of its records, its value and its result.
type Completed<T, R> = (u64, usize, T, R);

/// The number of an item's records, its value and its result.
type Counted<T, R> = (usize, T, R);

/// A future that returns a value together with its output.
#[derive(Debug)]
struct WithValue<T, F> {
    index: u64,
    /// `None` once the future is ready.
    value: Option<T>,
    future: F,
}

impl<T, F: ItemFuture> Window<T, F> {
    pub(crate) fn new() -> Self {
        Self {
            items: Items::Ordered(VecDeque::new()),
            resend: None,
            in_flight: 0,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            stops_on_failure: false,
            is_stopped: false,
        }
    }

    /// Returns items in the order of their completion from now on.
    pub(crate) fn set_unordered(&mut self) {
        if let Items::Ordered(items) = &mut self.items {
            let count = items.len() as u64;
            let items = (0..).zip(items.drain(..));
            let items = items.map(|(index, item)| WithValue::new(index, item));
            self.items = Items::Unordered(items.collect(), count);
        }
    }

    /// Sends the records of refused batches again from now on.
    pub(crate) fn set_resend<C, A>(&mut self, producer: &Producer<C, A>)
    where
        C: ProducerContext<DeliveryOpaque = F::Opaque>,
        F::Opaque: Default + Send + Sync + 'static,
        A: Access,
    {
        self.resend = Resend::new(producer.clone());
    }

    /// Returns the number of items.
    pub(crate) fn len(&self) -> usize {
        let held = self.resend.as_ref().map_or(0, |resend| resend.len());
        held + self.in_progress()
    }

    /// Returns the number of items whose result is not known.
    fn in_progress(&self) -> usize {
        match &self.items {
            Items::Ordered(items) => items.len(),
            Items::Unordered(items, _) => items.len(),
        }
    }

    /// Returns true if the record of a new item may be enqueued: see
    /// [`has_capacity_within`](Self::has_capacity_within). None may while records of refused
    /// batches are sent again.
    #[inline]
    pub(crate) fn has_capacity(&self) -> bool {
        self.has_capacity_within() && !self.is_holding()
    }

    /// Returns true if another record of the item may be enqueued. This is always so if there is no
    /// other item: otherwise an item with more records than the limit would wait for itself.
    #[inline]
    pub(crate) fn has_capacity_within(&self) -> bool {
        self.in_flight < self.max_in_flight || self.in_progress() == 0
    }

    #[inline]
    fn is_holding(&self) -> bool {
        self.resend
            .as_ref()
            .is_some_and(|resend| resend.is_holding())
    }

    /// Returns how many more records the limit allows.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.max_in_flight.saturating_sub(self.in_flight)
    }

    /// Adds an item whose records are already counted as in flight.
    #[inline]
    pub(crate) fn push(&mut self, value: T, future: F) {
        match &mut self.items {
            Items::Ordered(items) => items.push_back((value, future)),
            Items::Unordered(items, count) => {
                items.push(WithValue::new(*count, (value, future)));
                *count += 1;
            }
        }
    }
}

impl<T, F, A, E> Window<T, F>
where
    F: ItemFuture<Output = Result<A, E>>,
    Result<A, E>: ItemResult<F::Opaque>,
{
    /// Returns the next completed item. Without items the stream ends if `filled` is ready, which
    /// means that nothing is left to be enqueued. `is_filling` says that a record waits for
    /// capacity, or that an item is enqueued only in part.
    #[inline]
    pub(crate) fn poll_next(
        &mut self,
        filled: Poll<()>,
        is_filling: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(T, Result<A, E>)>> {
        let next = if self.resend.is_some() {
            ready!(self.poll_resent(is_filling, cx))
        } else {
            let next = ready!(self.poll_item(cx));
            next.map(|(_, count, value, result)| (count, value, result))
        };
        let Some((count, value, result)) = next else {
            return filled.map(|()| None);
        };
        self.in_flight -= count;
        self.is_stopped |= self.stops_on_failure && result.is_err();
        Poll::Ready(Some((value, result)))
    }

    /// Takes the next item that has its result: the index if it is known, the number of its
    /// records, its value and the result.
    #[inline]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Completed<T, Result<A, E>>>> {
        match &mut self.items {
            Items::Ordered(items) => match items.front_mut() {
                None => Poll::Ready(None),
                Some((_, future)) => {
                    let result = ready!(Pin::new(&mut *future).poll(cx));
                    let count = future.record_count();
                    let item = items.pop_front();
                    Poll::Ready(item.map(|(value, _)| (0, count, value, result)))
                }
            },
            Items::Unordered(items, _) => items.poll_next_unpin(cx),
        }
    }

    /// As [`poll_next`](Self::poll_next), but an item with refused records is returned only after
    /// these were sent again. Before that all others have their result.
    fn poll_resent(
        &mut self,
        is_filling: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Counted<T, Result<A, E>>>> {
        let is_ordered = matches!(self.items, Items::Ordered(_));
        let mut has_taken = false;
        while let Some((index, count, value, result)) = ready!(self.poll_item(cx)) {
            has_taken = true;
            let Some(resend) = &mut self.resend else {
                return Poll::Ready(Some((count, value, result)));
            };
            let waits = is_ordered && resend.is_holding();
            if !waits && !result.has_refused() {
                return Poll::Ready(Some((count, value, result)));
            }
            // In order, each is the last one.
            resend.hold(index, count, value, result);
        }
        let Some(resend) = &mut self.resend else {
            return Poll::Ready(None);
        };
        if resend.is_holding() && is_filling {
            if has_taken {
                // The rest of the item may be enqueued now.
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        resend.poll_first(cx)
    }
}

impl<T, D> Window<T, DeliveryFuture<D>> {
    /// Adds an item of one record, and counts the record as in flight.
    #[inline]
    pub(crate) fn add(&mut self, value: T, future: DeliveryFuture<D>) {
        self.in_flight += 1;
        self.push(value, future);
    }

    /// Returns true if the next item in order has completed.
    #[inline]
    pub(crate) fn is_next_ready(&self) -> bool {
        match &self.items {
            Items::Ordered(items) => items.front().is_some_and(|(_, future)| future.is_ready()),
            Items::Unordered(..) => false,
        }
    }
}

impl<T, F> WithValue<T, F> {
    fn new(index: u64, (value, future): (T, F)) -> Self {
        Self {
            index,
            value: Some(value),
            future,
        }
    }
}

// No field is pinned structurally.
impl<T, F> Unpin for WithValue<T, F> {}

impl<T, F: ItemFuture> Future for WithValue<T, F> {
    type Output = Completed<T, F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = ready!(Pin::new(&mut self.future).poll(cx));
        let value = self
            .value
            .take()
            .expect("it is not polled after it was ready");
        Poll::Ready((self.index, self.future.record_count(), value, output))
    }
}
