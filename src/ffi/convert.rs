//! Times, texts and bytes between Rust and C.

use std::ffi::{CStr, c_char, c_int};
use std::time::Duration;

/// The size of the buffers that librdkafka writes error texts into, as its own examples have it.
const ERRSTR_SIZE: usize = 512;

/// How long librdkafka lets a request take at the most.
pub(super) const LONGEST_REQUEST: Duration = Duration::from_secs(3_600);

/// Calls `fill` with a buffer for an error text, and returns its value with the text.
pub(super) fn with_errstr<T>(fill: impl FnOnce(*mut c_char, usize) -> T) -> (T, String) {
    let mut buffer = [0_u8; ERRSTR_SIZE];
    let value = fill(buffer.as_mut_ptr().cast(), buffer.len());
    let text = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
    (value, text.to_string_lossy().trim_end().to_owned())
}

/// Rounded up, lest a wait of half a millisecond become none, or a busy loop.
pub(super) fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

/// A timeout as librdkafka takes it; [`Duration::MAX`] waits without an end.
pub(super) fn timeout_millis(timeout: Duration) -> c_int {
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
pub(super) unsafe fn to_string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: it is not NULL, so by this function's contract it is a C string.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// The bytes at a pointer; NULL is none.
///
/// # Safety
///
/// `ptr` is NULL, or points to `len` bytes that live and do not change for `'a`.
pub(super) unsafe fn slice<'a>(ptr: *const std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    if ptr.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    Some(unsafe { std::slice::from_raw_parts(ptr.cast(), len) })
}
