//! The items in flight of a stream: their values with the futures of their records, up to a bound.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::message::DeliveryFuture;

/// The default limit of records in flight.
const DEFAULT_MAX_IN_FLIGHT: usize = 10_000;

/// The future of an item's records.
pub(crate) trait ItemFuture: Future + Unpin {
    /// Returns how many records the item counts as.
    fn record_count(&self) -> usize;
}

impl<D> ItemFuture for DeliveryFuture<D> {
    fn record_count(&self) -> usize {
        1
    }
}

/// The enqueued items of a stream, and the stream's settings.
#[derive(Debug)]
pub(crate) struct Window<T, F> {
    items: Items<T, F>,
    /// Records in flight: those of the items, and those of the item that is being enqueued.
    pub(crate) in_flight: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) stops_on_failure: bool,
    pub(crate) is_stopped: bool,
}

#[derive(Debug)]
enum Items<T, F> {
    Ordered(VecDeque<(T, F)>),
    Unordered(FuturesUnordered<WithValue<T, F>>),
}

/// A future that returns a value together with its output.
#[derive(Debug)]
struct WithValue<T, F> {
    /// `None` once the future is ready.
    value: Option<T>,
    future: F,
}

impl<T, F: ItemFuture> Window<T, F> {
    pub(crate) fn new() -> Self {
        Self {
            items: Items::Ordered(VecDeque::new()),
            in_flight: 0,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            stops_on_failure: false,
            is_stopped: false,
        }
    }

    /// Returns items in the order of their completion from now on.
    pub(crate) fn set_unordered(&mut self) {
        if let Items::Ordered(items) = &mut self.items {
            let items = items.drain(..).map(WithValue::new).collect();
            self.items = Items::Unordered(items);
        }
    }

    /// Returns the number of items.
    pub(crate) fn len(&self) -> usize {
        match &self.items {
            Items::Ordered(items) => items.len(),
            Items::Unordered(items) => items.len(),
        }
    }

    /// Returns true if a record may be enqueued. This is always so if there is no item: otherwise
    /// an item with more records than the limit would wait for itself.
    #[inline]
    pub(crate) fn has_capacity(&self) -> bool {
        self.in_flight < self.max_in_flight || self.len() == 0
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
            Items::Unordered(items) => items.push(WithValue::new((value, future))),
        }
    }
}

impl<T, F, A, E> Window<T, F>
where
    F: ItemFuture<Output = Result<A, E>>,
{
    /// Returns the next completed item. Without items the stream ends if `filled` is ready, which
    /// means that nothing is left to be enqueued.
    #[inline]
    pub(crate) fn poll_next(
        &mut self,
        filled: Poll<()>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(T, Result<A, E>)>> {
        let next = match &mut self.items {
            Items::Ordered(items) => match items.front_mut() {
                None => None,
                Some((_, future)) => {
                    let result = ready!(Pin::new(&mut *future).poll(cx));
                    let count = future.record_count();
                    items.pop_front().map(|(value, _)| (count, value, result))
                }
            },
            Items::Unordered(items) => ready!(items.poll_next_unpin(cx)),
        };
        let Some((count, value, result)) = next else {
            return filled.map(|()| None);
        };
        self.in_flight -= count;
        self.is_stopped |= self.stops_on_failure && result.is_err();
        Poll::Ready(Some((value, result)))
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
            Items::Unordered(_) => false,
        }
    }
}

impl<T, F> WithValue<T, F> {
    fn new((value, future): (T, F)) -> Self {
        let value = Some(value);
        Self { value, future }
    }
}

// No field is pinned structurally.
impl<T, F> Unpin for WithValue<T, F> {}

impl<T, F: ItemFuture> Future for WithValue<T, F> {
    type Output = (usize, T, F::Output);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = ready!(Pin::new(&mut self.future).poll(cx));
        let value = self
            .value
            .take()
            .expect("it is not polled after it was ready");
        Poll::Ready((self.future.record_count(), value, output))
    }
}
