//! The future of a delivery, and the completer that resolves it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::delivery::Delivery;
use super::message_state::MessageState;
use super::send_error::SendError;
use crate::ffi::{Abandoned, Completer, Completers, Receiver};
use crate::sync::coop;

type Outcome<D> = Result<Delivery, SendError<D>>;

/// What resolves a message's [`DeliveryFuture`].
pub(crate) type DeliveryCompleter<D> = Completer<MessageState<D>, Outcome<D>>;

/// What a producer takes its [`DeliveryCompleter`]s from.
pub(crate) type CompleterPool<D> = Completers<MessageState<D>, Outcome<D>>;

/// Waits for the delivery report of an enqueued message, and resolves with its result.
///
/// [`Producer::enqueue`](crate::Producer::enqueue) returns it. The order of the message among
/// others is fixed by then; retries keep it [under a condition](crate::Producer#order). The future
/// does not keep the producer alive.
///
/// # A deadline of your own
///
/// Await a mutable reference for as long as you want to wait. After the deadline you still have the
/// future, and learn later whether the record was delivered:
///
/// ```no_run
/// use std::time::Duration;
/// use tokio::time::timeout;
/// use tokio_rdkafka::{Producer, ProducerRecord, SendError};
///
/// # async fn run(producer: Producer) -> Result<(), SendError> {
/// let mut delivery = producer.enqueue(ProducerRecord::to("orders").payload("7")).await?;
/// match timeout(Duration::from_millis(200), &mut delivery).await {
///     Ok(result) => println!("delivered to {:?}", result?.offset()),
///     Err(_elapsed) => {
///         println!("not known yet: answer the caller, and go on waiting");
///         tokio::spawn(async move {
///             if let Err(error) = delivery.await {
///                 eprintln!("not delivered: {error}");
///             }
///         });
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// `timeout(limit, producer.send(record))` is a trap: it drops the future at the deadline. A record
/// that still waits for capacity is not sent then, and is lost. One that is in flight may be
/// delivered all the same; if it fails, it is lost, and only a
/// [log line](crate::Producer#failures-that-nobody-awaits) tells of it. The caller cannot tell the two
/// apart, so sending the record again could write it twice.
///
/// # Errors
///
/// Returns a [`SendError`] with the record and its [persistence](SendError::persistence) if the
/// message was not delivered within `message.timeout.ms`, was purged, or the broker refused it.
///
/// # Cancel safety
///
/// Dropping the future does not cancel the message. It is still delivered, and the context's
/// delivery callback runs. If it fails, that is
/// [logged](crate::Producer#failures-that-nobody-awaits), also if it had failed before the drop.
///
/// # Panics
///
/// Panics if it is polled again after it has resolved.
#[must_use = "the message is in flight; await the future to learn whether it is delivered"]
pub struct DeliveryFuture<D = ()> {
    receiver: Receiver<MessageState<D>, Outcome<D>>,
}

/// How a caller gets the result of a delivery: [`Tracked`] or [`Detached`].
pub(crate) trait DeliveryKind<D> {
    /// What the caller gets once the message is enqueued.
    type Handle: Send;

    /// Creates the completer of a message, and what the caller gets.
    fn completer(
        pool: &CompleterPool<D>,
        state: MessageState<D>,
    ) -> (DeliveryCompleter<D>, Self::Handle);
}

/// A [`DeliveryFuture`] resolves, after the context's callback has run.
#[derive(Debug)]
pub(crate) struct Tracked;

/// Only the context's callback runs.
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
    /// Returns the future of a record that never entered the queue. It is ready.
    pub(crate) fn resolved(pool: &CompleterPool<D>, result: Outcome<D>) -> Self
    where
        D: Send,
    {
        let (mut completer, future) = Tracked::completer(pool, MessageState::of_no_message());
        completer.set_result(result);
        completer.complete();
        future
    }

    /// Returns true if the message has been delivered or has failed.
    pub(crate) fn is_ready(&self) -> bool {
        self.receiver.is_ready()
    }

    /// Returns the result if there is one. It takes no unit of tokio's budget, so callers that do
    /// not await may use it.
    pub(crate) fn take_ready(&mut self) -> Option<Outcome<D>> {
        if !self.is_ready() {
            return None;
        }
        let mut cx = Context::from_waker(Waker::noop());
        match self.receiver.poll(&mut cx, |_| Poll::Ready(())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
}

/// Futures for the tests of users (feature `mock`).
#[cfg(feature = "mock")]
impl<D: Send + 'static> DeliveryFuture<D> {
    /// Returns a future that resolves with `result` at once, for what stands in for a producer.
    ///
    /// ```
    /// use tokio_rdkafka::{Delivery, DeliveryFuture, SendError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), SendError> {
    /// let future: DeliveryFuture = DeliveryFuture::mock(Ok(Delivery::mock(0, Some(7))));
    /// assert_eq!(future.await?.offset(), Some(7));
    /// # Ok(())
    /// # }
    /// ```
    pub fn mock(result: Result<Delivery, SendError<D>>) -> Self {
        Self::resolved(&CompleterPool::new(drop), result)
    }
}

impl<D> Future for DeliveryFuture<D> {
    type Output = Outcome<D>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll(cx, coop::poll_delivery)
    }
}

/// It would be a bug of this crate.
impl<D> Abandoned for Outcome<D> {
    #[cold]
    fn abandoned() -> Self {
        Err(SendError::abandoned())
    }
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

    /// A message in flight takes this beside librdkafka's own memory.
    #[test]
    fn a_message_without_an_opaque_takes_one_cache_line() {
        assert_eq!(Completers::<MessageState<()>, Outcome<()>>::BYTES, 64);
    }
}
