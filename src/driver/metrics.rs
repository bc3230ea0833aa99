//! What a producer has done so far, in numbers of one moment.

#[cfg(feature = "metrics")]
use std::sync::atomic::Ordering;

use super::shared::Shared;
use crate::client::ProducerContext;
#[cfg(feature = "metrics")]
use crate::client::TopicCount;
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

    /// Begins to count each topic. Returns false if they are counted already.
    #[cfg(feature = "metrics")]
    pub(crate) fn begin_topics(&self) -> bool {
        let is_first = lock(&self.trackers).counts.begin_topics();
        self.exports_topics.store(true, Ordering::Relaxed);
        is_first
    }

    /// Takes what was counted for each topic since the last call.
    #[cfg(feature = "metrics")]
    pub(crate) fn take_topics(&self) -> Vec<(Box<str>, TopicCount)> {
        lock(&self.trackers).counts.take_topics()
    }

    /// Counts a record that was not enqueued: its caller gets this error.
    #[cold]
    pub(crate) fn count_refused(&self, error: &KafkaError) {
        lock(&self.trackers).counts.refused(error);
    }
}
