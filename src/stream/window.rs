//! What is in flight of a stream: values with the futures of their records, up to a bound.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::message::DeliveryFuture;

/// How many records are in flight at most, unless it is set.
const MAX_IN_FLIGHT: usize = 10_000;

/// The future of an item.
pub(crate) trait Weighed: Future + Unpin {
    /// How many records it counts as.
    fn weight(&self) -> usize;
}

impl<D> Weighed for DeliveryFuture<D> {
    fn weight(&self) -> usize {
        1
    }
}

/// The items of a stream that are enqueued, and the settings of such streams.
#[derive(Debug)]
pub(crate) struct Window<T, F> {
    items: Items<T, F>,
    /// Records of the items, and those that are to be in the next one.
    pub(crate) in_flight: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) stops_on_failure: bool,
    pub(crate) is_stopped: bool,
}

#[derive(Debug)]
enum Items<T, F> {
    Ordered(VecDeque<(T, F)>),
    Unordered(FuturesUnordered<Valued<T, F>>),
}

/// A future with a value that comes back with its output.
#[derive(Debug)]
struct Valued<T, F> {
    /// Until it is ready.
    value: Option<T>,
    future: F,
}

impl<T, F: Weighed> Window<T, F> {
    pub(crate) fn new() -> Self {
        Self {
            items: Items::Ordered(VecDeque::new()),
            in_flight: 0,
            max_in_flight: MAX_IN_FLIGHT,
            stops_on_failure: false,
            is_stopped: false,
        }
    }

    /// Has the items come back as they are ready.
    pub(crate) fn set_unordered(&mut self) {
        if let Items::Ordered(items) = &mut self.items {
            let items = items.drain(..).map(Valued::new).collect();
            self.items = Items::Unordered(items);
        }
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        match &self.items {
            Items::Ordered(items) => items.len(),
            Items::Unordered(items) => items.len(),
        }
    }

    /// Whether a record may be enqueued. Where there is no item, nothing else could make room for what
    /// is to be in the next one.
    #[inline]
    pub(crate) fn has_capacity(&self) -> bool {
        self.in_flight < self.max_in_flight || self.len() == 0
    }

    /// How many records may be enqueued now; see [`has_capacity`](Self::has_capacity).
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.max_in_flight.saturating_sub(self.in_flight)
    }

    /// Adds an item, whose weight is in flight already.
    #[inline]
    pub(crate) fn push(&mut self, value: T, future: F) {
        match &mut self.items {
            Items::Ordered(items) => items.push_back((value, future)),
            Items::Unordered(items) => items.push(Valued::new((value, future))),
        }
    }
}

impl<T, F, A, E> Window<T, F>
where
    F: Weighed<Output = Result<A, E>>,
{
    /// The next item that comes back. Where there is none: the end, if nothing is left to be enqueued.
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
                    let weight = future.weight();
                    items.pop_front().map(|(value, _)| (weight, value, result))
                }
            },
            Items::Unordered(items) => ready!(items.poll_next_unpin(cx)),
        };
        let Some((weight, value, result)) = next else {
            return filled.map(|()| None);
        };
        self.in_flight -= weight;
        self.is_stopped |= self.stops_on_failure && result.is_err();
        Poll::Ready(Some((value, result)))
    }
}

impl<T, D> Window<T, DeliveryFuture<D>> {
    /// Adds an item of one record, which is in flight from now on.
    #[inline]
    pub(crate) fn add(&mut self, value: T, future: DeliveryFuture<D>) {
        self.in_flight += 1;
        self.push(value, future);
    }

    /// Whether the next item in order has come back.
    #[inline]
    pub(crate) fn is_next_ready(&self) -> bool {
        match &self.items {
            Items::Ordered(items) => items.front().is_some_and(|(_, future)| future.is_ready()),
            Items::Unordered(_) => false,
        }
    }
}

impl<T, F> Valued<T, F> {
    fn new((value, future): (T, F)) -> Self {
        let value = Some(value);
        Self { value, future }
    }
}

// Nothing in it is pinned in place.
impl<T, F> Unpin for Valued<T, F> {}

impl<T, F: Weighed> Future for Valued<T, F> {
    type Output = (usize, T, F::Output);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = ready!(Pin::new(&mut self.future).poll(cx));
        let value = self.value.take().expect("it is not polled after its end");
        Poll::Ready((self.future.weight(), value, output))
    }
}
