//! Flush and purge.

use std::time::Duration;

use super::access::Access;
use super::producer::Producer;
use super::timer::Timer;
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
        self.flush_all().await
    }

    /// Flushes as [`flush`](Self::flush) does, for up to `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`flush`](Self::flush). After `timeout` it returns a [`FlushError`] with the
    /// number of messages that are still in flight. It also fails if the producer's runtime has no
    /// timers.
    ///
    /// # Cancel safety
    ///
    /// Same as [`flush`](Self::flush).
    pub async fn flush_timeout(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        let mut tracker = Tracker::flush(self.shared())?;
        let timer = match Timer::new(self.runtime(), timeout) {
            Ok(timer) => timer,
            Err(error) => return Err(tracker.give_up(error)),
        };
        match timer.limit(tracker.done()).await {
            Ok(tally) => Ok(tally.flush_report()),
            Err(elapsed) => {
                let error = elapsed.explain(self.shared(), KafkaError::timed_out(timeout));
                Err(tracker.give_up(error))
            }
        }
    }

    /// Discards the messages that `config` selects.
    ///
    /// It resolves after their delivery futures have resolved, with the number of messages that
    /// were purged meanwhile. While others go on sending, it also waits for the reports that were
    /// queued before its own, and for no later ones. Concurrent purges share one blocking call,
    /// which selects what any of them selects: see [threads](Self#threads).
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
        let tally = Tracker::purge(self.shared(), config).done().await;
        usize::try_from(tally.purged).unwrap_or(usize::MAX)
    }
}

impl<C: ProducerContext, A: Access> Producer<C, A> {
    /// Flushes, whatever the access: the close of a sink, which a transaction may have handed out,
    /// skips `linger.ms`.
    pub(crate) async fn flush_all(&self) -> Result<FlushReport, FlushError> {
        Ok(Tracker::flush(self.shared())?.done().await.flush_report())
    }
}
