//! Values that travel through librdkafka as the `void *` of a message, and payloads lent to it.

use std::ffi::c_void;
use std::fmt;

use crate::payload::Payload;

/// A payload that librdkafka reads without a copy of its own, from the produce call until the event
/// with the message's report is destroyed.
///
/// It is boxed because few messages have one, and all have a place for it.
pub(crate) struct Loan(Box<Payload<'static>>);

impl Loan {
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

impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loan").field(&self.0).finish()
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
    fn loan(&mut self) -> Option<&mut Option<Loan>>;
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

    fn loan(&mut self) -> Option<&mut Option<Loan>> {
        None
    }
}
