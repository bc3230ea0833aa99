use std::ffi::c_void;

pub(crate) struct PayloadGuard;

impl PayloadGuard {
    pub(super) fn bytes(&self) -> &[u8] {
        unreachable!("no model has a payload")
    }
}

pub(crate) unsafe trait Opaque: Send + Sized + 'static {
    fn into_raw(self) -> *mut c_void;
    unsafe fn from_raw(raw: *mut c_void) -> Self;
    fn guard_payload(&mut self, guard: PayloadGuard) -> Result<(), PayloadGuard>;
    fn guarded_payload(&mut self) -> Option<&[u8]>;
    fn take_payload_guard(&mut self) -> Option<PayloadGuard>;
    fn set_payload_len(&mut self, len: usize);
    unsafe fn payload_len(raw: *mut c_void) -> usize;
}
