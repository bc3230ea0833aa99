//! Names and descriptions of error codes.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int};

use rdkafka_sys::bindings::rd_kafka_resp_err_t;

use super::redeclared::{rd_kafka_err2name, rd_kafka_err2str};

/// librdkafka's name of a code, without its prefix: `_QUEUE_FULL`.
pub(crate) fn error_name(code: i32) -> Cow<'static, str> {
    lookup(code, rd_kafka_err2name).unwrap_or_else(|| format!("ERR_{code}?").into())
}

/// librdkafka's description of a code.
pub(crate) fn error_description(code: i32) -> Cow<'static, str> {
    lookup(code, rd_kafka_err2str).unwrap_or_else(|| format!("Unknown error {code}").into())
}

fn lookup(
    code: i32,
    function: unsafe extern "C" fn(c_int) -> *const c_char,
) -> Option<Cow<'static, str>> {
    const FIRST: i32 = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__BEGIN as i32 + 1;
    const LAST: i32 = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_END_ALL as i32 - 1;
    // librdkafka subtracts before it compares, which overflows for codes far away.
    if !(FIRST..=LAST).contains(&code) {
        return None;
    }
    // SAFETY: both functions take any code and return a C string: a constant of the library, or,
    // for a code without a name, a thread-local buffer, which is replaced only by the next call
    // on this thread.
    let text = unsafe { CStr::from_ptr(function(code)) }.to_str().ok()?;
    // The thread-local buffer says "ERR_17?" or "Err-17?"; it must not get out as 'static.
    (!text.ends_with('?')).then_some(Cow::Borrowed(text))
}
