//! Closing a producer.

use std::time::{Duration, Instant};

use super::producer::Producer;
use crate::client::ProducerContext;
use crate::driver::CloseReport;

impl<C: ProducerContext> Producer<C> {
    /// Stops admission, flushes, waits until everything in flight has been delivered or has failed,
    /// and destroys the client, on a thread of its own.
    ///
    /// From the call on, other calls fail with an error that
    /// [`is_closed`](KafkaError::is_closed), and so do those that wait for room, with their
    /// records. Can be called any number of times, on any clone: all callers await the same end.
    ///
    /// A message that cannot be delivered fails after `message.timeout.ms`, five minutes by
    /// default; [`close_timeout`](Self::close_timeout) does not wait so long.
    ///
    /// # Cancel safety
    ///
    /// The close begins when the future is first polled; dropping it does not stop it.
    pub async fn close(&self) -> CloseReport {
        self.shared().begin_close(None);
        self.shared().closed().await
    }

    /// As [`close`](Self::close); what has not been delivered after `timeout` is purged: its
    /// futures resolve with errors, and records without a future are in the report. Where several
    /// set a deadline, the earliest counts.
    ///
    /// # Cancel safety
    ///
    /// As [`close`](Self::close); the deadline stays too.
    pub async fn close_timeout(&self, timeout: Duration) -> CloseReport {
        self.shared()
            .begin_close(Instant::now().checked_add(timeout));
        self.shared().closed().await
    }
}
