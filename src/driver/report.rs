//! The reports of a flush and of a close.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error::KafkaError;
use crate::message::SendError;

/// Counts the outcomes of the messages that were in flight when a flush was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// The number of messages that were delivered.
    pub delivered: u64,
    /// The number of messages that failed, including those that were purged.
    pub failed: u64,
}

/// A flush that stopped waiting before all its messages were complete. They are delivered all the
/// same.
#[derive(Clone, Debug)]
pub struct FlushError {
    error: KafkaError,
    remaining: usize,
}

impl FlushError {
    pub(crate) fn new(error: KafkaError, remaining: usize) -> Self {
        Self { error, remaining }
    }

    /// Returns why it stopped waiting: time ran out, or the system had no thread for the call.
    pub fn error(&self) -> &KafkaError {
        &self.error
    }

    /// Returns the number of its messages that were still in flight.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Returns true if time ran out.
    pub fn is_timed_out(&self) -> bool {
        self.error.is_timed_out()
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages are still in flight: {}",
            self.remaining, self.error
        )
    }
}

/// `Display` shows the error that [`error`](FlushError::error) returns, so the source is that
/// error's source.
impl Error for FlushError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Counts the outcomes of the messages that were in flight when a close was called, and the earlier
/// failures that nobody has awaited.
///
/// A failure is awaited if a future has returned it. Nobody awaits the failure of a message without
/// a future, or of one whose future was dropped before it returned the result.
///
/// ```no_run
/// # async fn run(producer: tokio_rdkafka::Producer) {
/// let report = producer.close().await;
/// for lost in report.records() {
///     eprintln!("{lost}");
/// }
/// if report.failed_before > 0 {
///     eprintln!("{} more have failed before; see the log", report.failed_before);
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// The number of messages that were delivered.
    pub delivered: u64,
    /// The number of messages that were purged: at the deadline of the close, or because the
    /// runtime had shut down.
    pub undelivered: u64,
    /// The number of messages that failed for any other reason, including those in
    /// [`failed_before`](Self::failed_before).
    pub failed: u64,
    /// The number of messages that failed before the close was called and that nobody has awaited,
    /// since the producer was created. Their records are not kept.
    ///
    /// It includes records that were refused with the error in a future, if that future was
    /// dropped. It does not include messages that [`purge`](crate::Producer::purge) discarded, nor
    /// records of a transaction, whose commit returns their failure.
    pub failed_before: u64,
    records: Arc<[SendError]>,
}

impl CloseReport {
    pub(crate) fn new(
        delivered: u64,
        undelivered: u64,
        failed: u64,
        failed_before: u64,
        records: Vec<SendError>,
    ) -> Self {
        Self {
            delivered,
            undelivered,
            failed: failed + failed_before,
            failed_before,
            records: records.into(),
        }
    }

    /// Returns the records that nobody has awaited of those that failed or were purged during the
    /// close. The records of other messages are in the results of their futures.
    ///
    /// Records of a dropped sink are neither here nor in the log while its
    /// [`SinkStatistics`](crate::SinkStatistics) are held: the statistics count them.
    pub fn records(&self) -> &[SendError] {
        &self.records
    }
}
