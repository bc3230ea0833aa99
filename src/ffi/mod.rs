//! The FFI layer: every raw pointer, every `unsafe` and every function that C calls.
//!
//! One owner type per C object, with a private pointer and a `Drop`. Whatever belongs to a client
//! (queue, topic handle, event) holds an `Arc` of it, so the client is destroyed after all of
//! them, whatever the layers above do. Values that travel through librdkafka as `void *` are of
//! the one type that the client was made for ([`Opaque`]).
#![allow(unsafe_code)]

mod batch;
mod callback;
mod certificate;
mod client;
mod conf;
mod error;
mod event;
mod headers;
mod message;
mod metadata;
#[cfg(feature = "mock")]
pub(crate) mod mock;
mod names;
mod oauth;
mod offsets;
mod opaque;
mod partitioner;
mod probe;
mod promise;
mod queue;
mod redeclared;
mod topic;
mod transaction;

pub(crate) use batch::BATCH;
pub(crate) use callback::{catch_panic, drop_payloads};
pub(crate) use certificate::Certificates;
pub(crate) use client::Client;
pub(crate) use conf::{Conf, ConfError};
pub(crate) use error::CallError;
pub(crate) use event::{DeliveryEvent, Event};
pub(crate) use message::BorrowedMessage;
pub(crate) use metadata::{Answer, Ask, Description};
pub(crate) use names::{error_description, error_name};
pub(crate) use oauth::RawToken;
#[cfg(feature = "rdkafka")]
pub(crate) use offsets::offsets_of_list;
pub(crate) use offsets::{Group, Offsets};
pub(crate) use opaque::{Carried, Loan, Opaque};
pub(crate) use partitioner::{Choice, Chooser};
pub(crate) use promise::{Expectation, Promise, Promises};
pub(crate) use queue::Queue;
pub(crate) use topic::{Message, TopicHandle};

use std::ffi::{CStr, c_char, c_int};
use std::time::Duration;

/// The size of the buffers that librdkafka writes error texts into, as its own examples have it.
const ERRSTR_SIZE: usize = 512;

/// Calls `fill` with a buffer for an error text, and returns its value with the text.
fn with_errstr<T>(fill: impl FnOnce(*mut c_char, usize) -> T) -> (T, String) {
    let mut buffer = [0_u8; ERRSTR_SIZE];
    let value = fill(buffer.as_mut_ptr().cast(), buffer.len());
    let text = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
    (value, text.to_string_lossy().trim_end().to_owned())
}

/// Rounded up, lest a wait of half a millisecond become none, or a busy loop.
fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

/// A timeout as librdkafka takes it; [`Duration::MAX`] waits without an end.
fn timeout_millis(timeout: Duration) -> c_int {
    if timeout == Duration::MAX {
        -1
    } else {
        millis(timeout)
    }
}

/// Copies a C string; an absent one is empty.
///
/// # Safety
///
/// `text` is NULL or points to a C string that lives during the call.
unsafe fn to_string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: it is not NULL, so by this function's contract it is a C string.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
