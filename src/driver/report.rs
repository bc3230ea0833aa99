//! What flush and close tell.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error::KafkaError;
use crate::message::SendError;

/// What became of the messages that were in flight when a flush was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// How many were delivered.
    pub delivered: u64,
    /// How many failed.
    pub failed: u64,
}

/// A flush that did not see the end of all messages that were in flight when it was called. They
/// go on being delivered.
#[derive(Clone, Debug)]
pub struct FlushError {
    error: KafkaError,
    remaining: usize,
}

impl FlushError {
    pub(crate) fn new(error: KafkaError, remaining: usize) -> Self {
        Self { error, remaining }
    }

    /// Why: time ran out, or the system had no thread for the call.
    pub fn error(&self) -> &KafkaError {
        &self.error
    }

    /// How many of the messages are still in flight.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Whether time ran out.
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

impl Error for FlushError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// What became of the messages that were in flight when a producer was closed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// How many were delivered.
    pub delivered: u64,
    /// How many were given up, at the deadline of the close or because the runtime was gone.
    pub undelivered: u64,
    /// How many failed for any other reason.
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

    /// The failed and undelivered records that nobody else has: those of messages without a
    /// future. All others came back with theirs.
    pub fn records(&self) -> &[SendError] {
        &self.records
    }
}
