//! Flushing and purging.

use std::time::Duration;

use tokio::time;

use super::producer::Producer;
use crate::client::ProducerContext;
use crate::driver::{FlushError, FlushReport, Tracker};
use crate::error::KafkaError;
use crate::values::PurgeConfig;

impl<C: ProducerContext> Producer<C> {
    /// Sends what is queued without waiting for `linger.ms`, and waits until all messages that are
    /// in flight now have been delivered or have failed; later ones are not waited for.
    ///
    /// Flushes that run at the same time share one blocking call of librdkafka, on a thread of its
    /// own. Where others go on producing, `linger.ms` stays off for up to 200 ms after the flush.
    ///
    /// # Errors
    ///
    /// [`FlushError`] where the system has no thread for it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops the waiting; the messages are delivered all the same.
    pub async fn flush(&self) -> Result<FlushReport, FlushError> {
        Ok(Tracker::flush(self.shared())?.done().await.flush_report())
    }

    /// As [`flush`](Self::flush), with a limit of time.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush); after `timeout`, with the number of messages left.
    ///
    /// # Cancel safety
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Panics
    ///
    /// On a runtime without its time driver.
    pub async fn flush_timeout(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        let mut tracker = Tracker::flush(self.shared())?;
        match time::timeout(timeout, tracker.done()).await {
            Ok(tally) => Ok(tally.flush_report()),
            Err(_) => Err(tracker.give_up(KafkaError::timed_out(timeout))),
        }
    }

    /// Gives up what `config` covers; resolves when the futures of it have been resolved, with the
    /// number of messages that were purged meanwhile.
    ///
    /// In a transaction it fails the commit, and [`inflight`](PurgeConfig::inflight) has no effect: what
    /// has been sent could be written behind the end of the transaction, and into the next one.
    ///
    /// # Cancel safety
    ///
    /// Once it has been polled the purge is made, also when the future is dropped.
    pub async fn purge(&self, config: PurgeConfig) -> usize {
        let config = if self.is_transactional() {
            config.without_inflight()
        } else {
            config
        };
        let tally = Tracker::purge(self.shared(), config).done().await;
        usize::try_from(tally.purged).unwrap_or(usize::MAX)
    }
}
