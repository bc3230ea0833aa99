//! The future of a delivery, and the completer that resolves it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::attachment::{Attached, Attachment};
use super::delivery::Delivery;
use super::send_error::SendError;
use crate::ffi::{Abandoned, Completer, Completers, Receiver};
use crate::sync::coop;

/// The state that a message carries through librdkafka: what its delivery report lacks.
///
/// It is an enum to be small: a message with an attachment keeps its timestamp there.
#[derive(Debug)]
pub(crate) enum MessageState<D> {
    Plain {
        /// The number of the message, which the core issued.
        number: u64,
        /// The requested timestamp in milliseconds, or 0 for none: 0 itself is not valid.
        timestamp: i64,
        /// The requested partition, or −1 for none.
        partition: i32,
        /// How long it waited for capacity, in tenths of a second.
        waited: u16,
        /// `None` once the delivery callback has taken it.
        opaque: Option<D>,
    },
    Attached {
        number: u64,
        /// Empty once it has been taken.
        attached: Attached,
        partition: i32,
        waited: u16,
        opaque: Option<D>,
    },
}

impl<D> MessageState<D> {
    #[inline]
    pub(crate) fn new(
        number: u64,
        partition: i32,
        timestamp: Option<i64>,
        waited: u16,
        opaque: Option<D>,
        mut attached: Attached,
    ) -> Self {
        let timestamp = timestamp.unwrap_or(0);
        match attached.as_mut() {
            None => Self::Plain {
                number,
                timestamp,
                partition,
                waited,
                opaque,
            },
            Some(attachment) => {
                attachment.timestamp = timestamp;
                attachment.span.enqueued();
                Self::Attached {
                    number,
                    attached,
                    partition,
                    waited,
                    opaque,
                }
            }
        }
    }

    /// Returns the number of the message, which the core issued.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Plain { number, .. } | Self::Attached { number, .. } => *number,
        }
    }

    #[inline]
    pub(crate) fn set_number(&mut self, issued: u64) {
        match self {
            Self::Plain { number, .. } | Self::Attached { number, .. } => *number = issued,
        }
    }

    /// Returns how long the record waited for capacity.
    pub(crate) fn waited(&self) -> Duration {
        match self {
            Self::Plain { waited, .. } | Self::Attached { waited, .. } => {
                Duration::from_millis(100) * u32::from(*waited)
            }
        }
    }

    /// Returns the partition and the timestamp that were requested. `attachment` is the one that
    /// has been taken.
    pub(crate) fn requested(&self, attachment: Option<&Attachment>) -> (i32, Option<i64>) {
        let (partition, timestamp) = match self {
            Self::Plain {
                partition,
                timestamp,
                ..
            } => (*partition, *timestamp),
            Self::Attached { partition, .. } => {
                (*partition, attachment.map_or(0, |it| it.timestamp))
            }
        };
        (partition, (timestamp != 0).then_some(timestamp))
    }

    /// Takes what the record carries beside its fields.
    #[inline]
    pub(crate) fn take_attached(&mut self) -> Attached {
        match self {
            Self::Plain { .. } => Attached::default(),
            Self::Attached { attached, .. } => attached.take(),
        }
    }

    /// Takes the opaque.
    ///
    /// # Panics
    ///
    /// Panics if it was taken before.
    pub(crate) fn take_opaque(&mut self) -> D {
        let (Self::Plain { opaque, .. } | Self::Attached { opaque, .. }) = self;
        let opaque = opaque.take();
        opaque.expect("a message has one report, or was refused")
    }
}

type Outcome<D> = Result<Delivery, SendError<D>>;

/// What resolves a message's [`DeliveryFuture`].
pub(crate) type DeliveryCompleter<D> = Completer<MessageState<D>, Outcome<D>>;

/// What a producer takes its [`DeliveryCompleter`]s from.
pub(crate) type CompleterPool<D> = Completers<MessageState<D>, Outcome<D>>;

/// Waits for the delivery report of an enqueued message, and resolves with its result.
///
/// [`Producer::enqueue`](crate::Producer::enqueue) returns it. The order of the message among
/// others is fixed by then; retries keep it [under a condition](crate::Producer#order). The future does not keep the producer alive.
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
/// `timeout(limit, producer.send(record))` is a trap: it drops the future at the deadline. The
/// record may be delivered all the same, and nobody learns of it. If it fails, the record is lost,
/// and only a [log line](crate::Producer#failures-that-nobody-awaits) tells of it. A record must not be sent again then: it could be written twice.
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
        let state = MessageState::new(0, 0, None, 0, None, Attached::default());
        let (mut completer, future) = Tracked::completer(&CompleterPool::new(drop), state);
        completer.set_result(result);
        drop(completer.complete());
        future
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
