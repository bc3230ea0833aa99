//! Records why a broker's certificate was refused, in librdkafka's callback for its verification.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex};

use rdkafka_sys::bindings as sys;

use super::conf::Conf;
use super::redeclared::rd_kafka_conf_set_ssl_cert_verify_cb;
use crate::error::ConnectFailure;
use crate::sync::{catch_panic, lock};

/// OpenSSL's error codes `X509_V_*` (x509_vfy.h), which are part of its interface.
mod x509 {
    use std::ffi::c_int;

    pub(super) const OK: c_int = 0;
    pub(super) const UNABLE_TO_GET_ISSUER_CERT: c_int = 2;
    pub(super) const CERT_SIGNATURE_FAILURE: c_int = 7;
    pub(super) const CERT_HAS_EXPIRED: c_int = 10;
    pub(super) const DEPTH_ZERO_SELF_SIGNED_CERT: c_int = 18;
    pub(super) const SELF_SIGNED_CERT_IN_CHAIN: c_int = 19;
    pub(super) const UNABLE_TO_GET_ISSUER_CERT_LOCALLY: c_int = 20;
    pub(super) const UNABLE_TO_VERIFY_LEAF_SIGNATURE: c_int = 21;
    pub(super) const CERT_UNTRUSTED: c_int = 27;
    pub(super) const APPLICATION_VERIFICATION: c_int = 50;
    pub(super) const HOSTNAME_MISMATCH: c_int = 62;
    pub(super) const IP_ADDRESS_MISMATCH: c_int = 64;
}

/// How many brokers have their failure kept.
const MAX_FAILURES: usize = 1000;

/// Why each broker's certificate was refused, by the broker's `host:port`. A broker whose last
/// certificate was accepted has no entry.
#[derive(Debug, Default)]
pub(crate) struct CertificateFailures(Mutex<HashMap<String, ConnectFailure>>);

impl CertificateFailures {
    /// Makes the client that takes `conf` over record its failures here. The caller must keep the
    /// result as long as that client lives.
    ///
    /// If the configuration switches verification off, no certificate is refused, and nothing is
    /// installed. A librdkafka without TLS never calls back.
    pub(super) fn install(conf: &mut Conf) -> Arc<Self> {
        let failures = Arc::new(Self::default());
        let verifies = conf.get("enable.ssl.certificate.verification");
        if verifies.as_deref() == Some("true") {
            // SAFETY: the configuration is ours alone. The callback gets the opaque, which the
            // caller keeps as long as the client has threads that may call it.
            unsafe {
                sys::rd_kafka_conf_set_opaque(
                    conf.as_ptr(),
                    Arc::as_ptr(&failures).cast_mut().cast(),
                );
                rd_kafka_conf_set_ssl_cert_verify_cb(conf.as_ptr(), Some(verify));
            }
        }
        failures
    }

    /// Returns why the last certificate of a broker was refused, or `None` if it was not.
    pub(crate) fn failure_of(&self, broker: &str) -> Option<ConnectFailure> {
        lock(&self.0).get(broker).copied()
    }

    fn record(&self, broker: &str, failure: Option<ConnectFailure>) {
        let mut failures = lock(&self.0);
        if failures.len() >= MAX_FAILURES && !failures.contains_key(broker) {
            // Brokers may come and go under ever new names. All that is lost is a reason.
            failures.clear();
        }
        match failure {
            Some(failure) => drop(failures.insert(broker.to_owned(), failure)),
            None => drop(failures.remove(broker)),
        }
    }
}

/// Classifies an error code of OpenSSL.
fn failure_of_code(error: c_int) -> Option<ConnectFailure> {
    match error {
        x509::OK => None,
        // The signature fails if the known CA has the same name but another key.
        x509::UNABLE_TO_GET_ISSUER_CERT
        | x509::CERT_SIGNATURE_FAILURE
        | x509::DEPTH_ZERO_SELF_SIGNED_CERT
        | x509::SELF_SIGNED_CERT_IN_CHAIN
        | x509::UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        | x509::UNABLE_TO_VERIFY_LEAF_SIGNATURE
        | x509::CERT_UNTRUSTED => Some(ConnectFailure::UnknownCa),
        x509::HOSTNAME_MISMATCH | x509::IP_ADDRESS_MISMATCH => Some(ConnectFailure::WrongHost),
        x509::CERT_HAS_EXPIRED => Some(ConnectFailure::Expired),
        _ => Some(ConnectFailure::Certificate),
    }
}

/// The size in bytes of librdkafka's buffer for a broker's name (`RD_KAFKA_NODENAME_SIZE`).
const NAME_SIZE: usize = 256;

/// The C callback for each certificate of a chain that OpenSSL has verified, up to the first one
/// that it refuses.
///
/// It never overrules OpenSSL. Returning 1 accepts the certificate, so it does that only if
/// OpenSSL's own result, `*error`, is success (rdkafka.h).
unsafe extern "C" fn verify(
    _client: *mut sys::rd_kafka_t,
    broker: *const c_char,
    _broker_id: i32,
    error: *mut c_int,
    _depth: c_int,
    _certificate: *const c_char,
    _size: usize,
    errstr: *mut c_char,
    errstr_size: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka passes a pointer to an int of its own.
    let found = unsafe { *error };
    let recorded = catch_panic(|| {
        let mut name = [0; NAME_SIZE];
        for (index, byte) in name.iter_mut().enumerate() {
            // SAFETY: the broker's name is a C string in a buffer of that size, which lives as long
            // as the broker. If the broker stands for a coordinator, another thread may change the
            // name meanwhile (`rd_kafka_broker_set_nodename`). So each byte is read once, as
            // volatile, up to the first zero, and any bytes will do.
            *byte = unsafe { ptr::read_volatile(broker.add(index).cast::<u8>()) };
            if *byte == 0 {
                break;
            }
        }
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_SIZE);
        // SAFETY: `install` set the opaque, and its caller keeps it.
        let failures = unsafe { &*opaque.cast::<CertificateFailures>() };
        failures.record(
            &String::from_utf8_lossy(&name[..end]),
            failure_of_code(found),
        );
    });
    if found == x509::OK && recorded.is_ok() {
        return 1;
    }
    const REFUSED: &CStr = c"OpenSSL refused the certificate";
    let text = REFUSED.to_bytes_with_nul();
    // SAFETY: `error` as above. The text is written only if the buffer's size allows it.
    unsafe {
        // A refusal must come with an error. This one is due to a panic above.
        if found == x509::OK {
            *error = x509::APPLICATION_VERIFICATION;
        }
        if errstr_size >= text.len() {
            text.as_ptr()
                .copy_to_nonoverlapping(errstr.cast(), text.len());
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls the callback as librdkafka does. Returns its result, the error and the text after it.
    fn verified(
        failures: &CertificateFailures,
        error: c_int,
        size: usize,
    ) -> (c_int, c_int, String) {
        let mut error = error;
        let mut errstr = vec![0_u8; size];
        let opaque: *const CertificateFailures = failures;
        // SAFETY: all pointers are to values that live here, and the buffer has the given size.
        let result = unsafe {
            verify(
                std::ptr::null_mut(),
                c"host:1".as_ptr(),
                -1,
                &mut error,
                0,
                std::ptr::null(),
                0,
                errstr.as_mut_ptr().cast(),
                errstr.len(),
                opaque.cast_mut().cast(),
            )
        };
        let text = CStr::from_bytes_until_nul(&errstr).unwrap_or_default();
        (result, error, text.to_string_lossy().into_owned())
    }

    #[test]
    fn only_a_certificate_that_openssl_accepts_is_accepted() {
        let failures = CertificateFailures::default();
        for error in -1..200 {
            let (result, after, text) = verified(&failures, error, 512);
            assert_eq!(result, c_int::from(error == x509::OK), "{error}");
            assert_eq!(after, error);
            assert_eq!(text.is_empty(), error == x509::OK);
        }
    }

    #[test]
    fn a_failure_is_recorded_until_a_certificate_is_accepted() {
        let failures = CertificateFailures::default();
        for (error, failure) in [
            (x509::SELF_SIGNED_CERT_IN_CHAIN, ConnectFailure::UnknownCa),
            (x509::IP_ADDRESS_MISMATCH, ConnectFailure::WrongHost),
            (x509::CERT_HAS_EXPIRED, ConnectFailure::Expired),
            // X509_V_ERR_CERT_NOT_YET_VALID
            (9, ConnectFailure::Certificate),
        ] {
            verified(&failures, error, 512);
            assert_eq!(failures.failure_of("host:1"), Some(failure));
        }
        assert_eq!(failures.failure_of("host:2"), None);
        verified(&failures, x509::OK, 512);
        assert_eq!(failures.failure_of("host:1"), None);
    }

    #[test]
    fn a_buffer_that_is_too_small_is_not_written_to() {
        let (result, _, text) =
            verified(&CertificateFailures::default(), x509::CERT_HAS_EXPIRED, 5);
        assert_eq!((result, &*text), (0, ""));
    }
}
