//! Flush and purge.

use std::time::Duration;

use tokio::time;

use super::producer::Producer;
use crate::client::ProducerContext;
use crate::driver::{FlushError, FlushReport, Tracker};
use crate::error::KafkaError;
use crate::values::PurgeConfig;

impl<C: ProducerContext> Producer<C> {
    /// Sends queued messages at once and waits for those that are in flight at the call.
    ///
    /// It resolves when each of these messages has been delivered or has failed. It does not wait
    /// for messages that are enqueued later. librdkafka does not wait for `linger.ms` meanwhile,
    /// and if others go on producing, for up to 200 ms afterwards.
    ///
    /// Concurrent flushes share one blocking call: see [threads](Self#threads).
    ///
    /// Source: `rd_kafka_flush`.
    ///
    /// # Errors
    ///
    /// [`FlushError`] if the system cannot start a thread for the call, or if the producer is
    /// [closed](KafkaError::is_closed) because its runtime has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait. The messages are delivered nevertheless.
    pub async fn flush(&self) -> Result<FlushReport, FlushError> {
        Ok(Tracker::flush(self.shared())?.done().await.flush_report())
    }

    /// Flushes as [`flush`](Self::flush) does, for up to `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`flush`](Self::flush). After `timeout` it returns a [`FlushError`] with the
    /// number of messages that are still in flight.
    ///
    /// # Cancel safety
    ///
    /// Same as [`flush`](Self::flush).
    ///
    /// # Panics
    ///
    /// Panics on a runtime whose time driver is disabled.
    pub async fn flush_timeout(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        let mut tracker = Tracker::flush(self.shared())?;
        match time::timeout(timeout, tracker.done()).await {
            Ok(tally) => Ok(tally.flush_report()),
            Err(_) => Err(tracker.give_up(KafkaError::timed_out(timeout))),
        }
    }

    /// Discards the messages that `config` selects.
    ///
    /// It resolves after their delivery futures have resolved, with the number of messages that
    /// were purged meanwhile. Concurrent purges share one blocking call, which selects what any of
    /// them selects: see [threads](Self#threads).
    ///
    /// In a transaction a purge makes the commit fail, and [`inflight`](PurgeConfig::inflight) has
    /// no effect. A message that has been sent could otherwise be written after the transaction
    /// ends, as part of the next one.
    ///
    /// Source: `rd_kafka_purge`.
    ///
    /// # Cancel safety
    ///
    /// The purge begins when the future is first polled. Dropping the future does not stop it.
    pub async fn purge(&self, config: PurgeConfig) -> usize {
        if self.shared().core.is_forked() {
            return 0;
        }
        let config = if self.is_transactional() {
            config.without_inflight()
        } else {
            config
        };
        let tally = Tracker::purge(self.shared(), config).done().await;
        usize::try_from(tally.purged).unwrap_or(usize::MAX)
    }
}
