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

/// Counts the outcomes of the messages that were in flight when a close was called.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// The number of messages that were delivered.
    pub delivered: u64,
    /// The number of messages that were purged: at the deadline of the close, or because the
    /// runtime had shut down.
    pub undelivered: u64,
    /// The number of messages that failed for any other reason.
    pub failed: u64,
    records: Arc<[SendError]>,
}

impl CloseReport {
    pub(crate) fn new(
        delivered: u64,
        undelivered: u64,
        failed: u64,
        records: Vec<SendError>,
    ) -> Self {
        Self {
            delivered,
            undelivered,
            failed,
            records: records.into(),
        }
    }

    /// Returns the failed and undelivered records of messages without a future. Records of other
    /// messages are in the results of their futures.
    ///
    /// A sink that was dropped while its `SinkStatistics` are held keeps its records out of the
    /// report.
    pub fn records(&self) -> &[SendError] {
        &self.records
    }
}
