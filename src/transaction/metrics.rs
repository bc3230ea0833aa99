//! What a producer with transactions has done so far, also by clients that were replaced.

use super::producer::TransactionalProducer;
use crate::client::ProducerContext;
use crate::values::Metrics;

impl<C: ProducerContext> TransactionalProducer<C> {
    /// Returns what the producer has done so far, in numbers, as [`Producer::metrics`] does.
    ///
    /// The counts go on if a [renewal](Self#renewal) replaces the client. A handle that a
    /// transaction hands out has the numbers of its own client only.
    ///
    /// [`Producer::metrics`]: crate::Producer::metrics
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.producer.metrics();
        self.past.add_to(&mut metrics);
        metrics
    }
}
