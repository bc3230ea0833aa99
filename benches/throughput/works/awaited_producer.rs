//! Producers whose deliveries are awaited.

use bytes::Bytes;

/// A producer whose deliveries are futures.
pub(crate) trait AwaitedProducer: Send + Sync + 'static {
    /// Resolves when a message has been delivered or has failed.
    type Delivery: Future<Output: Outcome> + Send;

    /// What a whole send returns.
    type Sent: Outcome;

    /// Enqueues `payload`. Panics if the producer rejects it.
    fn enqueue(&self, payload: &Bytes) -> impl Future<Output = Self::Delivery> + Send;

    /// Enqueues `payload` and waits for its delivery.
    fn send(&self, payload: &Bytes) -> impl Future<Output = Self::Sent> + Send;

    /// Sends without lingering, and waits until no message is in flight.
    fn flush(&self) -> impl Future<Output = ()> + Send;
}

/// The outcome of a delivery.
pub(crate) trait Outcome: Send {
    /// Returns 0 for a success, 1 for a failure.
    fn failures(&self) -> u64;
}
