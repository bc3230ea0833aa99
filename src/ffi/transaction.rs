//! The transactional calls of a client.
//!
//! All of them block, and any thread may make them: librdkafka itself refuses one that comes while
//! another is under way. Commit and abort wait until the event of each message's report has been
//! destroyed, so somebody must serve the queue meanwhile.

use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::call_error::CallError;
use super::client::Client;
use super::convert::timeout_millis;
use super::offsets::{Group, Offsets};

impl Client {
    /// Gets a producer id, and ends what an earlier producer of that `transactional.id` has left.
    /// One that timed out goes on by itself, and is resumed by calling it again.
    pub(crate) fn init_transactions(&self, timeout: Duration) -> Result<(), CallError> {
        // SAFETY: the client is valid; the error that is returned is ours.
        unsafe {
            CallError::check(sys::rd_kafka_init_transactions(
                self.as_ptr(),
                timeout_millis(timeout),
            ))
        }
    }

    /// Begins a transaction: a word with librdkafka's main thread, with no broker.
    pub(crate) fn begin_transaction(&self) -> Result<(), CallError> {
        // SAFETY: the client is valid; the error that is returned is ours.
        unsafe { CallError::check(sys::rd_kafka_begin_transaction(self.as_ptr())) }
    }

    /// Makes offsets a part of the transaction. It cannot be resumed, only made again.
    pub(crate) fn send_offsets_to_transaction(
        &self,
        offsets: &Offsets,
        group: &Group,
        timeout: Duration,
    ) -> Result<(), CallError> {
        // SAFETY: client, list and group are valid during the call, which copies the two; the error
        // that is returned is ours.
        unsafe {
            CallError::check(sys::rd_kafka_send_offsets_to_transaction(
                self.as_ptr(),
                offsets.as_ptr(),
                group.as_ptr(),
                timeout_millis(timeout),
            ))
        }
    }

    /// Delivers what is outstanding, and commits. One that timed out goes on by itself, and is
    /// resumed by calling it again.
    pub(crate) fn commit_transaction(&self, timeout: Duration) -> Result<(), CallError> {
        // SAFETY: the client is valid; the error that is returned is ours.
        unsafe {
            CallError::check(sys::rd_kafka_commit_transaction(
                self.as_ptr(),
                timeout_millis(timeout),
            ))
        }
    }

    /// Purges what has not been sent, waits for the rest, and aborts. One that timed out goes on by
    /// itself, and is resumed by calling it again.
    pub(crate) fn abort_transaction(&self, timeout: Duration) -> Result<(), CallError> {
        // SAFETY: the client is valid; the error that is returned is ours.
        unsafe {
            CallError::check(sys::rd_kafka_abort_transaction(
                self.as_ptr(),
                timeout_millis(timeout),
            ))
        }
    }
}
