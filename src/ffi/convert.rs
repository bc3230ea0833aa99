//! Converts times, texts and bytes between Rust and C.

use std::ffi::{CStr, c_char, c_int};
use std::time::Duration;

/// The size of the buffers for librdkafka's error texts, in bytes, as in its own examples.
const ERRSTR_SIZE: usize = 512;

/// The longest timeout of a request that librdkafka accepts.
pub(super) const LONGEST_REQUEST: Duration = Duration::from_secs(3_600);

/// Calls `fill` with a buffer for an error text. Returns its result and the text.
pub(super) fn with_errstr<T>(fill: impl FnOnce(*mut c_char, usize) -> T) -> (T, String) {
    let mut buffer = [0_u8; ERRSTR_SIZE];
    let value = fill(buffer.as_mut_ptr().cast(), buffer.len());
    let text = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
    (value, text.to_string_lossy().trim_end().to_owned())
}

/// Converts to milliseconds, rounded up: half a millisecond must not become 0, a busy loop.
pub(super) fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

/// Converts a timeout for librdkafka. [`Duration::MAX`] becomes −1, which means no limit.
pub(super) fn timeout_millis(timeout: Duration) -> c_int {
    if timeout == Duration::MAX {
        -1
    } else {
        millis(timeout)
    }
}

/// Copies a C string. NULL becomes an empty string.
///
/// # Safety
///
/// `text` is NULL or points to a C string that lives during the call.
pub(super) unsafe fn to_string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by this function's contract it is a C string, as it is not NULL.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// Borrows the bytes at a pointer. Returns `None` for NULL.
///
/// # Safety
///
/// `ptr` is NULL, or points to `len` bytes that live and do not change for `'a`.
pub(super) unsafe fn slice<'a>(ptr: *const std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    if ptr.is_null() {
        return None;
    }
    // SAFETY: by this function's contract the bytes live and do not change for `'a`.
    Some(unsafe { std::slice::from_raw_parts(ptr.cast(), len) })
}
