//! OpenSSL at the exit of the process.

use std::ffi::{c_int, c_void};
use std::ptr;

/// `OPENSSL_INIT_NO_ATEXIT` (openssl/crypto.h), since OpenSSL 1.1.1c.
const NO_ATEXIT: u64 = 0x0008_0000;

unsafe extern "C" {
    // The library is linked: this file is compiled with the feature `ssl` alone.
    fn OPENSSL_init_crypto(options: u64, settings: *const c_void) -> c_int;
}

/// Has OpenSSL keep its memory when the process exits.
///
/// Otherwise it registers `OPENSSL_cleanup` with `atexit`, which frees what librdkafka's threads
/// use while a client lives: the process crashes at its exit. The crate `openssl` sets the same
/// option.
///
/// Only the first initialization of OpenSSL counts. So this is called at the start of the process,
/// and again before a client is created, for systems without [`AT_START`].
pub(super) extern "C" fn keep_at_exit() {
    // SAFETY: any thread may call it at any time, also before `main`, as OpenSSL initializes itself
    // once. NULL stands for the default settings.
    unsafe { OPENSSL_init_crypto(NO_ATEXIT, ptr::null()) };
}

/// The system calls it before `main`, or when it loads the library that this crate is part of.
///
/// Another library of the process, for instance rdkafka, may initialize OpenSSL before our first
/// client does.
#[cfg(any(
    target_os = "android",
    target_os = "freebsd",
    target_os = "linux",
    target_vendor = "apple"
))]
#[used]
// SAFETY: the section holds pointers to functions that are called without a caller's stack to unwind
// into: `keep_at_exit` takes no arguments and cannot panic.
#[cfg_attr(
    target_vendor = "apple",
    unsafe(link_section = "__DATA,__mod_init_func")
)]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static AT_START: extern "C" fn() = keep_at_exit;
