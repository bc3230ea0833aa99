//! The transactional calls of a client.
//!
//! All of them block. Any thread may call them; librdkafka refuses a call while another is in
//! progress. Commit and abort wait until the event of each message's report has been destroyed, so
//! another thread or task must serve the queue meanwhile.
//!
//! If init, commit or abort times out, librdkafka goes on with the operation. Calling the same
//! function again resumes it.

#[cfg(not(feature = "dynamic-linking"))]
use std::ffi::{CString, c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::call_error::CallError;
use super::client::Client;
use super::convert::timeout_millis;
use super::offsets::{Group, Offsets};

/// The text with which a renewal fails its own transaction. librdkafka logs it as an error, though
/// nothing has failed.
pub(crate) const RENEWAL: &str = "the producer renews its epoch";

/// Whether [`Client::fail_transaction_to_renew`] can be linked. A shared library exports only the
/// public functions.
pub(crate) const RENEWS_EPOCHS: bool = cfg!(not(feature = "dynamic-linking"));

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

    /// Has librdkafka connect to all brokers, without waiting for it. Each new connection makes
    /// librdkafka look for a coordinator that a call waits for. Any thread may call this.
    ///
    /// It asks each broker for its groups, and waits for no answer. No other public call connects
    /// to all brokers.
    pub(crate) fn connect_to_all_brokers(&self) {
        let mut groups = ptr::null();
        // SAFETY: the client is valid, and the name, which no group has, ends with a NUL. A list that
        // was set is ours.
        unsafe {
            sys::rd_kafka_list_groups(self.as_ptr(), c"".as_ptr(), &raw mut groups, 0);
            if !groups.is_null() {
                sys::rd_kafka_group_list_destroy(groups);
            }
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

    /// Fails the open transaction, so that its abort makes the coordinator raise the epoch.
    ///
    /// The request has the producer's id and epoch (KIP-360). So the coordinator refuses it, and
    /// the producer is fenced, if another one has taken over. The epoch of a new client is raised
    /// in any case. No public function of librdkafka does this.
    ///
    /// A transaction must be open. Any thread may call this.
    #[cfg(not(feature = "dynamic-linking"))]
    pub(crate) fn fail_transaction_to_renew(&self) {
        let text = CString::new(RENEWAL).expect("no NUL");
        // SAFETY: the client is valid, and the format has the one argument that it asks for. The
        // function is librdkafka's own for this: "locality: any", and it acquires its locks. It
        // copies the text. Its declaration is that of 2.12 (rdkafka_txnmgr.h:144), and Cargo.toml
        // allows no other minor version of rdkafka-sys.
        unsafe {
            rd_kafka_txn_set_abortable_error0(
                self.as_ptr(),
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__STATE as c_int,
                1,
                c"%s".as_ptr(),
                text.as_ptr(),
            );
        }
    }

    /// Never called: see [`RENEWS_EPOCHS`].
    #[cfg(feature = "dynamic-linking")]
    pub(crate) fn fail_transaction_to_renew(&self) {}
}

#[cfg(not(feature = "dynamic-linking"))]
unsafe extern "C" {
    /// Internal to librdkafka. `requires_epoch_bump` is an `rd_bool_t`, which is an `uint8_t`.
    fn rd_kafka_txn_set_abortable_error0(
        rk: *mut sys::rd_kafka_t,
        err: c_int,
        requires_epoch_bump: u8,
        format: *const c_char,
        ...
    );
}
