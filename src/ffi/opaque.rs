//! Values that travel through librdkafka as the `void *` of a message, and guards of borrowed
//! payloads.

use std::ffi::c_void;
use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};

use crate::values::Payload;

/// Owns a payload that librdkafka borrows instead of copying it.
///
/// It must live from the produce call until the event with the message's report is destroyed.
pub(crate) struct PayloadGuard(Payload<'static>);

impl PayloadGuard {
    pub(crate) fn new(payload: Payload<'static>) -> Self {
        Self(payload)
    }

    /// Returns the borrowed bytes. Moving the guard does not move them, because an owned payload
    /// keeps them in an allocation of its own.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the payload. librdkafka must have refused the message.
    pub(crate) fn into_payload(self) -> Payload<'static> {
        self.0
    }
}

impl fmt::Debug for PayloadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PayloadGuard").field(&self.0).finish()
    }
}

/// A value that a message carries: from the produce call to the delivery event, or back to the
/// caller if the call fails.
///
/// # Safety
///
/// `from_raw` must return the value that `into_raw` took, on any thread. A guard that
/// [`guard_payload`](Self::guard_payload) has stored must stay alive until it is taken.
pub(crate) unsafe trait Opaque: Send + Sized + 'static {
    /// Converts the value into a pointer that owns it.
    fn into_raw(self) -> *mut c_void;

    /// Converts the pointer back into the value.
    ///
    /// # Safety
    ///
    /// `raw` comes from `into_raw` of the same type, and this is the only call for it.
    unsafe fn from_raw(raw: *mut c_void) -> Self;

    /// Stores the guard of a borrowed payload, or returns it if there is no place for one. The
    /// payload must then be copied.
    fn guard_payload(&mut self, guard: PayloadGuard) -> Result<(), PayloadGuard>;

    /// Returns the bytes of the payload whose guard is stored.
    fn guarded_payload(&mut self) -> Option<&[u8]>;

    /// Takes the guard out.
    fn take_payload_guard(&mut self) -> Option<PayloadGuard>;

    /// Stores the length of the message's payload, for [`payload_len`](Self::payload_len).
    fn set_payload_len(&mut self, len: usize);

    /// Returns the stored length while librdkafka owns the value.
    ///
    /// # Safety
    ///
    /// `raw` comes from `into_raw` of the same type. `from_raw` has not been called for it, and is
    /// not called before this returns.
    unsafe fn payload_len(raw: *mut c_void) -> usize;
}

/// A value that travels in a box, or without any allocation if it has no size.
pub(crate) struct Carried<T> {
    pub(crate) value: T,
    payload_len: usize,
}

impl<T> Carried<T> {
    const IS_EMPTY: bool = size_of::<T>() == 0;

    pub(crate) fn new(value: T) -> Self {
        Self {
            value,
            payload_len: 0,
        }
    }
}

// SAFETY: `Box::from_raw` undoes `Box::into_raw`. A value without a size is forgotten, and created
// again by reading zero bytes. `T: Send` lets it change threads. It stores no payload guard.
unsafe impl<T: Send + 'static> Opaque for Carried<T> {
    fn into_raw(self) -> *mut c_void {
        if Self::IS_EMPTY {
            mem::forget(self.value);
            ptr::without_provenance_mut(self.payload_len)
        } else {
            Box::into_raw(Box::new(self)).cast()
        }
    }

    unsafe fn from_raw(raw: *mut c_void) -> Self {
        if Self::IS_EMPTY {
            Self {
                // SAFETY: a value without a size may be read from any aligned pointer. By contract
                // `into_raw` has forgotten one, and this is the only call that recreates it.
                value: unsafe { NonNull::<T>::dangling().read() },
                payload_len: raw.addr(),
            }
        } else {
            // SAFETY: by contract it comes from `Box::into_raw`, and this is the only call for it.
            *unsafe { Box::from_raw(raw.cast()) }
        }
    }

    fn guard_payload(&mut self, guard: PayloadGuard) -> Result<(), PayloadGuard> {
        Err(guard)
    }

    fn guarded_payload(&mut self) -> Option<&[u8]> {
        None
    }

    fn take_payload_guard(&mut self) -> Option<PayloadGuard> {
        None
    }

    fn set_payload_len(&mut self, len: usize) {
        self.payload_len = len;
    }

    unsafe fn payload_len(raw: *mut c_void) -> usize {
        if Self::IS_EMPTY {
            raw.addr()
        } else {
            // SAFETY: by contract it comes from `Box::into_raw`, and nobody takes it back
            // meanwhile.
            unsafe { (*raw.cast::<Self>()).payload_len }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn there_and_back<T: Send + 'static>(value: T) -> T {
        let mut carried = Carried::new(value);
        carried.set_payload_len(1_000);
        let raw = carried.into_raw();
        // SAFETY: it comes from `into_raw`. `from_raw` is called once, after `payload_len`.
        unsafe {
            assert_eq!(Carried::<T>::payload_len(raw), 1_000);
            Carried::<T>::from_raw(raw).value
        }
    }

    #[test]
    fn a_boxed_value_is_returned_once() {
        let counted = Arc::new(7);
        assert_eq!(*there_and_back(Arc::clone(&counted)), 7);
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn a_value_without_a_size_is_returned_and_dropped_once() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static DROPS: AtomicUsize = AtomicUsize::new(0);
        #[repr(align(64))]
        struct Nothing;
        impl Drop for Nothing {
            fn drop(&mut self) {
                DROPS.fetch_add(1, Ordering::Relaxed);
            }
        }
        let back = there_and_back(Nothing);
        assert_eq!(DROPS.load(Ordering::Relaxed), 0);
        drop(back);
        assert_eq!(DROPS.load(Ordering::Relaxed), 1);
    }
}
