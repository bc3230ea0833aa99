//! The future of a delivery, and the promise that resolves it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use super::delivery::Delivery;
use super::send_error::SendError;
use crate::ffi::{Completer, Completers, Receiver};
use crate::sync::coop;

/// What a message carries through librdkafka: what its report does not have.
#[derive(Debug)]
pub(crate) struct MessageState<D> {
    /// The number that the core issued.
    pub(crate) number: u64,
    /// As the caller gave it; 0 for none, and no other one is 0.
    timestamp: i64,
    /// As the caller asked for it; −1 for none.
    partition: i32,
    /// Until the delivery callback takes it.
    opaque: Option<D>,
}

impl<D> MessageState<D> {
    pub(crate) fn new(
        number: u64,
        partition: i32,
        timestamp: Option<i64>,
        opaque: Option<D>,
    ) -> Self {
        Self {
            number,
            timestamp: timestamp.unwrap_or(0),
            partition,
            opaque,
        }
    }

    /// The partition and the timestamp that the caller gave.
    pub(crate) fn requested(&self) -> (i32, Option<i64>) {
        let timestamp = (self.timestamp != 0).then_some(self.timestamp);
        (self.partition, timestamp)
    }

    /// Takes the opaque, which is there once.
    pub(crate) fn take_opaque(&mut self) -> D {
        let opaque = self.opaque.take();
        opaque.expect("a message has one report, or was refused")
    }
}

type Outcome<D> = Result<Delivery, SendError<D>>;

/// The promise of a message's delivery.
pub(crate) type DeliveryCompleter<D> = Completer<MessageState<D>, Outcome<D>>;

/// Where a producer's promises come from.
pub(crate) type CompleterPool<D> = Completers<MessageState<D>, Outcome<D>>;

/// Resolves when the message has been delivered or has failed.
///
/// Made by [`Producer::enqueue`](crate::Producer::enqueue): at that point the record's place in
/// the order is fixed. It does not keep the producer alive.
///
/// # Errors
///
/// [`SendError`], with the record and what is known of its persistence, where it was not delivered
/// within `message.timeout.ms`, was purged, or the broker refused it.
///
/// # Cancel safety
///
/// Dropping it does not cancel the message: it is delivered all the same, and the context's
/// delivery callback runs.
///
/// # Panics
///
/// When it is polled again after it has resolved.
#[must_use = "the message is on its way, but whether it arrives only the future tells"]
pub struct DeliveryFuture<D = ()> {
    receiver: Receiver<MessageState<D>, Outcome<D>>,
}

/// How the caller learns of a message's end.
pub(crate) trait DeliveryKind<D> {
    /// What the caller gets when the message has been enqueued.
    type Handle: Send;

    /// A message's promise, and what the caller gets.
    fn completer(
        pool: &CompleterPool<D>,
        state: MessageState<D>,
    ) -> (DeliveryCompleter<D>, Self::Handle);
}

/// By a future.
#[derive(Debug)]
pub(crate) struct Tracked;

/// Not at all: the context's callback alone hears of it.
#[derive(Debug)]
pub(crate) struct Detached;

impl<D: Send> DeliveryKind<D> for Tracked {
    type Handle = DeliveryFuture<D>;

    #[inline]
    fn completer(
        pool: &CompleterPool<D>,
        state: MessageState<D>,
    ) -> (DeliveryCompleter<D>, DeliveryFuture<D>) {
        let (completer, receiver) = pool.pair(state);
        (completer, DeliveryFuture { receiver })
    }
}

impl<D> DeliveryKind<D> for Detached {
    type Handle = ();

    #[inline]
    fn completer(pool: &CompleterPool<D>, state: MessageState<D>) -> (DeliveryCompleter<D>, ()) {
        (pool.detached(state), ())
    }
}

impl<D> DeliveryFuture<D> {
    /// Whether the message has been delivered or has failed.
    pub(crate) fn is_ready(&self) -> bool {
        self.receiver.is_ready()
    }

    /// What it resolves with, if it is ready; outside of tokio's budget, for what does not await.
    pub(crate) fn take_ready(&mut self) -> Option<Outcome<D>> {
        if !self.is_ready() {
            return None;
        }
        let mut cx = Context::from_waker(Waker::noop());
        match self.receiver.poll(&mut cx) {
            Poll::Ready(result) => Some(result.unwrap_or_else(abandoned)),
            Poll::Pending => None,
        }
    }
}

impl<D> Future for DeliveryFuture<D> {
    type Output = Outcome<D>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_ready() {
            ready!(coop::poll_delivery(cx));
        }
        let result = ready!(self.receiver.poll(cx));
        Poll::Ready(result.unwrap_or_else(abandoned))
    }
}

/// The result of a message that nobody completed, which would be a bug of this crate.
#[cold]
fn abandoned<D>() -> Outcome<D> {
    Err(SendError::abandoned())
}

impl<D> fmt::Debug for DeliveryFuture<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryFuture")
            .field("is_ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a message in flight takes beside librdkafka's own.
    #[test]
    fn a_message_without_an_opaque_takes_one_cache_line() {
        assert_eq!(Completers::<MessageState<()>, Outcome<()>>::BYTES, 64);
    }
}
