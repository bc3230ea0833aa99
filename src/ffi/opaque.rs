//! Values that travel through librdkafka as the `void *` of a message, and payloads lent to it.

use std::ffi::c_void;
use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};

use crate::values::Payload;

/// A payload that librdkafka reads without a copy of its own, from the produce call until the event
/// with the message's report is destroyed.
///
/// It is boxed because few messages have one, and all have a place for it.
pub(crate) struct PayloadGuard(Box<Payload<'static>>);

impl PayloadGuard {
    pub(crate) fn new(payload: Payload<'static>) -> Self {
        Self(Box::new(payload))
    }

    /// What is lent. The bytes stay where they are when the loan is moved: an owned payload has them
    /// in an allocation of their own.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Ends the loan: where librdkafka never took the message.
    pub(crate) fn into_payload(self) -> Payload<'static> {
        *self.0
    }
}

impl fmt::Debug for PayloadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PayloadGuard").field(&self.0).finish()
    }
}

/// A value that a message carries: it goes in with the produce call and comes out of its delivery
/// event, or stays with the caller where the call fails.
///
/// # Safety
///
/// `from_raw` of what `into_raw` returned must give the value back, once, on any thread; a loan that
/// was put into its place stays there, unmoved, until it is taken.
pub(crate) unsafe trait Opaque: Send + Sized + 'static {
    /// Turns the value into a pointer that owns it.
    fn into_raw(self) -> *mut c_void;

    /// Takes the value back.
    ///
    /// # Safety
    ///
    /// `raw` is from `into_raw` of the same type, and this is the only call for it.
    unsafe fn from_raw(raw: *mut c_void) -> Self;

    /// The place for a payload that is lent to librdkafka with the message; `None`: there is none,
    /// and payloads are copied.
    fn payload_guard(&mut self) -> Option<&mut Option<PayloadGuard>>;

    /// Keeps the length of the message's payload, for [`payload_len`](Self::payload_len).
    fn set_payload_len(&mut self, len: usize);

    /// The length that was set, while the value is on its way.
    ///
    /// # Safety
    ///
    /// `raw` is from `into_raw` of the same type, and nobody has taken it back or does so meanwhile.
    unsafe fn payload_len(raw: *mut c_void) -> usize;
}

/// A value that travels by itself, in an allocation if it has a size.
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

// SAFETY: `Box::from_raw` undoes `Box::into_raw`. A value without a size is forgotten and made again
// from nothing, which is all that it is made of. `T: Send` lets it change threads. There is no loan.
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
                // SAFETY: a value without a size may be read from anywhere that is aligned; by
                // contract `into_raw` has forgotten one, and nobody else takes it.
                value: unsafe { NonNull::<T>::dangling().read() },
                payload_len: raw.addr(),
            }
        } else {
            // SAFETY: by contract it is from `Box::into_raw`, and nobody else takes it.
            *unsafe { Box::from_raw(raw.cast()) }
        }
    }

    fn payload_guard(&mut self) -> Option<&mut Option<PayloadGuard>> {
        None
    }

    fn set_payload_len(&mut self, len: usize) {
        self.payload_len = len;
    }

    unsafe fn payload_len(raw: *mut c_void) -> usize {
        if Self::IS_EMPTY {
            raw.addr()
        } else {
            // SAFETY: by contract it is from `Box::into_raw`, and nobody changes it.
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
        // SAFETY: it is from `into_raw`, and is taken once, after the length has been asked for.
        unsafe {
            assert_eq!(Carried::<T>::payload_len(raw), 1_000);
            Carried::<T>::from_raw(raw).value
        }
    }

    #[test]
    fn a_value_comes_back_once() {
        let counted = Arc::new(7);
        assert_eq!(*there_and_back(Arc::clone(&counted)), 7);
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn a_value_without_a_size_needs_no_allocation_and_drops_once() {
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
