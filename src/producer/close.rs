//! Closing a producer.

use std::time::{Duration, Instant};

use super::producer::Producer;
use crate::client::ProducerContext;
use crate::driver::CloseReport;

impl<C: ProducerContext> Producer<C> {
    /// Delivers everything that is in flight, then destroys the client.
    ///
    /// The call closes the producer to new records and flushes it, which skips `linger.ms`. It
    /// resolves when every message has been delivered or has failed and the client is destroyed.
    ///
    /// Other calls fail from then on with an error for which
    /// [`is_closed`](crate::KafkaError::is_closed) is true. Waiters for capacity fail in the same
    /// way and get their records back. `close` can be called on any clone and any number of times:
    /// all callers wait for the same close.
    ///
    /// The report also counts the failures before the close that
    /// [nobody awaited](Self#failures-that-nobody-awaits).
    ///
    /// A message that cannot be delivered fails after `message.timeout.ms`, 5 minutes by default.
    /// Use [`close_timeout`](Self::close_timeout) to wait for less.
    ///
    /// # Cancel safety
    ///
    /// The close begins when the future is first polled. Dropping the future does not stop it.
    pub async fn close(&self) -> CloseReport {
        self.shared().begin_close(None);
        self.shared().closed().await
    }

    /// Closes as [`close`](Self::close) does, and purges what has not been delivered after
    /// `timeout`.
    ///
    /// The futures of purged messages resolve with errors. Records that were enqueued without a
    /// future are in the [report](CloseReport::records). If several callers set a deadline, the
    /// earliest one applies.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops neither the close nor its deadline.
    pub async fn close_timeout(&self, timeout: Duration) -> CloseReport {
        self.shared()
            .begin_close(Instant::now().checked_add(timeout));
        self.shared().closed().await
    }
}
