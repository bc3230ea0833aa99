//! What a producer has done so far, in numbers of one moment.

use super::shared::Shared;
use crate::client::ProducerContext;
use crate::error::KafkaError;
use crate::sync::lock;
use crate::values::Metrics;

impl<C: ProducerContext> Shared<C> {
    /// Returns what this client has done so far.
    pub(crate) fn metrics(&self) -> Metrics {
        let mut metrics = {
            // Messages are settled under this lock, so the numbers add up.
            let trackers = lock(&self.trackers);
            trackers.counts.snapshot(self.core.enqueued())
        };
        self.capacity.measure(&mut metrics);
        metrics.renewals = self.doubts.renewals();
        metrics.callback_panics = self.core.callback_panics();
        metrics
    }

    /// Counts a record that was not enqueued: its caller gets this error.
    #[cold]
    pub(crate) fn count_refused(&self, error: &KafkaError) {
        lock(&self.trackers).counts.refused(error);
    }
}
