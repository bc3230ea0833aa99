//! Owner of `rd_kafka_headers_t`, and a reader of a message's headers.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use rdkafka_sys::bindings as sys;

use super::redeclared::{rd_kafka_header_add, rd_kafka_header_get_all};
use crate::values::{Header, Headers};

/// Headers for a produce call.
pub(super) struct NativeHeaders(NonNull<sys::rd_kafka_headers_t>);

impl NativeHeaders {
    pub(super) fn new(headers: &Headers) -> Self {
        // SAFETY: the call takes a capacity only; the returned object is ours.
        let native = unsafe { sys::rd_kafka_headers_new(headers.len()) };
        let native =
            NonNull::new(native).expect("rd_kafka_headers_new aborts instead of returning NULL");
        let native = Self(native);
        for Header { name, value } in headers.iter() {
            let (value, len) = match value {
                Some(value) => (value.as_ptr().cast(), value.len()),
                None => (ptr::null(), 0),
            };
            // SAFETY: name and value live during the call, have the given lengths (a slice is never
            // longer than isize::MAX), and are copied. The call fails only on read-only headers,
            // which these are not.
            unsafe {
                rd_kafka_header_add(
                    native.as_ptr(),
                    name.as_ptr().cast(),
                    name.len() as isize,
                    value,
                    len as isize,
                );
            }
        }
        native
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_headers_t {
        self.0.as_ptr()
    }
}

impl Drop for NativeHeaders {
    fn drop(&mut self) {
        // SAFETY: they are ours. Headers that a message has taken over are forgotten, not dropped.
        unsafe { sys::rd_kafka_headers_destroy(self.as_ptr()) }
    }
}

/// The headers of a message that lives for `'a`.
#[derive(Clone, Copy)]
pub(super) struct BorrowedHeaders<'a> {
    /// NULL if the message has none.
    ptr: *const sys::rd_kafka_headers_t,
    message: PhantomData<&'a ()>,
}

impl<'a> BorrowedHeaders<'a> {
    /// # Safety
    ///
    /// `ptr` is NULL, or points to the headers of a message that lives and does not change for
    /// `'a`.
    pub(super) unsafe fn new(ptr: *const sys::rd_kafka_headers_t) -> Self {
        Self {
            ptr,
            message: PhantomData,
        }
    }

    pub(super) fn get(self, index: usize) -> Option<Header<'a>> {
        if self.ptr.is_null() {
            return None;
        }
        let mut name = ptr::null();
        let mut value: *const c_void = ptr::null();
        let mut size = 0;
        // SAFETY: by the contract of `new` the headers are valid; the out-parameters are ours.
        let code =
            unsafe { rd_kafka_header_get_all(self.ptr, index, &mut name, &mut value, &mut size) };
        if code != 0 {
            return None;
        }
        // SAFETY: on success the name is a C string that lives as long as the headers.
        let name = unsafe { CStr::from_ptr(name) };
        let value = (!value.is_null()).then(|| {
            // SAFETY: a value that is not NULL has `size` bytes and lives as long as the headers.
            unsafe { std::slice::from_raw_parts(value.cast(), size) }
        });
        // Kafka's header names are UTF-8. A consumed name that is not becomes empty.
        Some(Header {
            name: name.to_str().unwrap_or_default(),
            value,
        })
    }
}
