//! Producers that count deliveries in a callback.

use crate::works::deliveries::Deliveries;

/// A producer whose deliveries are counted in a callback.
pub(crate) trait CallbackProducer {
    /// Enqueues a copy of `payload` to one of the job's topics. Panics if the producer rejects it.
    fn produce(&self, topic: usize, payload: &[u8]);

    /// Sends without lingering, and blocks until no message is in flight.
    fn flush(&self);

    /// Returns the counts of the callback.
    fn deliveries(&self) -> &Deliveries;

    /// Blocks until there are `count` deliveries; returns how many there are.
    fn wait_for(&self, count: u64) -> u64 {
        self.deliveries().wait_for(count)
    }
}
