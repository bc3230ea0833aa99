use std::ffi::c_void;

pub(crate) enum PayloadGuard {}

pub(crate) unsafe trait Opaque: Send + Sized + 'static {
    fn into_raw(self) -> *mut c_void;
    unsafe fn from_raw(raw: *mut c_void) -> Self;
    fn payload_guard(&mut self) -> Option<&mut Option<PayloadGuard>>;
    fn set_payload_len(&mut self, len: usize);
    unsafe fn payload_len(raw: *mut c_void) -> usize;
}
