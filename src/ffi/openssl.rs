//! OpenSSL at the exit of the process.

use std::ffi::{c_int, c_void};
use std::sync::Once;

/// `OPENSSL_INIT_NO_ATEXIT` (openssl/crypto.h), since OpenSSL 1.1.1c.
const NO_ATEXIT: u64 = 0x0008_0000;

unsafe extern "C" {
    fn OPENSSL_init_crypto(options: u64, settings: *const c_void) -> c_int;
}

/// Has OpenSSL keep its memory when the process exits.
///
/// Otherwise it registers `OPENSSL_cleanup` with `atexit`. That frees what librdkafka's threads may
/// be using, if a client still lives when `main` returns: the process crashes. To be called before the
/// first client is created. It has no effect if somebody has initialised OpenSSL before.
pub(super) fn keep_at_exit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: any thread may call it at any time; NULL stands for the default settings. The
        // library is linked: this file is compiled with the feature `ssl` alone.
        unsafe { OPENSSL_init_crypto(NO_ATEXIT, std::ptr::null()) };
    });
}
