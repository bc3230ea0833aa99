//! Values that travel through librdkafka as the `void *` of a message.

use std::ffi::c_void;
use std::sync::Arc;

/// A value that a message carries: it goes in with the produce call and comes out of its delivery
/// event, or stays with the caller where the call fails.
///
/// # Safety
///
/// `from_raw` of what `into_raw` returned must give the value back, once, on any thread.
pub(crate) unsafe trait Opaque: Send + Sized + 'static {
    /// Turns the value into a pointer that owns it.
    fn into_raw(self) -> *mut c_void;

    /// Takes the value back.
    ///
    /// # Safety
    ///
    /// `raw` is from `into_raw` of the same type, and this is the only call for it.
    unsafe fn from_raw(raw: *mut c_void) -> Self;
}

// SAFETY: `Box::from_raw` undoes `Box::into_raw`; `T: Send` lets it change threads.
unsafe impl<T: Send + 'static> Opaque for Box<T> {
    fn into_raw(self) -> *mut c_void {
        Box::into_raw(self).cast()
    }

    unsafe fn from_raw(raw: *mut c_void) -> Self {
        // SAFETY: by contract `raw` is from `Box::<T>::into_raw`, and nobody else takes it.
        unsafe { Box::from_raw(raw.cast()) }
    }
}

// SAFETY: `Arc::from_raw` undoes `Arc::into_raw`; `T: Send + Sync` lets it change threads.
unsafe impl<T: Send + Sync + 'static> Opaque for Arc<T> {
    fn into_raw(self) -> *mut c_void {
        Arc::into_raw(self).cast_mut().cast()
    }

    unsafe fn from_raw(raw: *mut c_void) -> Self {
        // SAFETY: by contract `raw` is from `Arc::<T>::into_raw`, with one count that is ours.
        unsafe { Arc::from_raw(raw.cast_const().cast()) }
    }
}
