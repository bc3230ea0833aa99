//! The transactional calls of a client.
//!
//! All of them block. Any thread may call them; librdkafka refuses a call while another is in
//! progress. Commit and abort wait until the event of each message's report has been destroyed, so
//! another thread or task must serve the queue meanwhile.
//!
//! If init, commit or abort times out, librdkafka goes on with the operation. Calling the same
//! function again resumes it.

use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::call_error::CallError;
use super::client::Client;
use super::convert::timeout_millis;
use super::offsets::{Group, Offsets};

impl Client {
    /// Acquires a producer id, and aborts a transaction that an earlier producer with the same
    /// `transactional.id` has left open. May be resumed.
    pub(crate) fn init_transactions(&self, timeout: Duration) -> Result<(), CallError> {
        // SAFETY: the client is valid; the returned error is ours.
        unsafe {
            CallError::check(sys::rd_kafka_init_transactions(
                self.as_ptr(),
                timeout_millis(timeout),
            ))
        }
    }

    /// Begins a transaction. Waits for librdkafka's main thread, but for no broker.
    pub(crate) fn begin_transaction(&self) -> Result<(), CallError> {
        // SAFETY: the client is valid; the returned error is ours.
        unsafe { CallError::check(sys::rd_kafka_begin_transaction(self.as_ptr())) }
    }

    /// Adds a consumer group's offsets to the transaction. Cannot be resumed, only repeated.
    pub(crate) fn send_offsets_to_transaction(
        &self,
        offsets: &Offsets,
        group: &Group,
        timeout: Duration,
    ) -> Result<(), CallError> {
        // SAFETY: client, list and group are valid during the call, which copies list and group.
        // The returned error is ours.
        unsafe {
            CallError::check(sys::rd_kafka_send_offsets_to_transaction(
                self.as_ptr(),
                offsets.as_ptr(),
                group.as_ptr(),
                timeout_millis(timeout),
            ))
        }
    }

    /// Delivers all outstanding messages and commits the transaction. May be resumed.
    pub(crate) fn commit_transaction(&self, timeout: Duration) -> Result<(), CallError> {
        // SAFETY: the client is valid; the returned error is ours.
        unsafe {
            CallError::check(sys::rd_kafka_commit_transaction(
                self.as_ptr(),
                timeout_millis(timeout),
            ))
        }
    }

    /// Purges the messages that have not been sent, waits for the others, and aborts the
    /// transaction. May be resumed.
    pub(crate) fn abort_transaction(&self, timeout: Duration) -> Result<(), CallError> {
        // SAFETY: the client is valid; the returned error is ours.
        unsafe {
            CallError::check(sys::rd_kafka_abort_transaction(
                self.as_ptr(),
                timeout_millis(timeout),
            ))
        }
    }
}
