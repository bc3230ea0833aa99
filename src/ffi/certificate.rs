//! What is wrong with a broker's certificate: librdkafka's callback at its verification.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex};

use rdkafka_sys::bindings as sys;

use super::conf::Conf;
use super::redeclared::rd_kafka_conf_set_ssl_cert_verify_cb;
use crate::error::ConnectFailure;
use crate::sync::{catch_panic, lock};

/// OpenSSL's `X509_V_*` (x509_vfy.h), part of its interface.
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

/// What the last look at each broker's certificate found wrong, by the broker's `host:port`.
#[derive(Debug, Default)]
pub(crate) struct Certificates(Mutex<HashMap<String, ConnectFailure>>);

impl Certificates {
    /// Has the client that `conf` will make note here what it finds. The caller keeps this for as
    /// long as that client lives.
    ///
    /// Not where the configuration switches the verification off: nothing is refused then. A
    /// librdkafka without TLS has no such callback.
    pub(super) fn watch(conf: &mut Conf) -> Arc<Self> {
        let certificates = Arc::new(Self::default());
        let verifies = conf.get("enable.ssl.certificate.verification");
        if verifies.as_deref() == Some("true") {
            // SAFETY: the configuration is ours alone. The callback is given the opaque, which the
            // caller keeps for as long as there are threads of the client to call it.
            unsafe {
                sys::rd_kafka_conf_set_opaque(
                    conf.as_ptr(),
                    Arc::as_ptr(&certificates).cast_mut().cast(),
                );
                rd_kafka_conf_set_ssl_cert_verify_cb(conf.as_ptr(), Some(verify));
            }
        }
        certificates
    }

    /// What was found wrong with the certificate of that broker.
    pub(crate) fn flaw(&self, broker: &str) -> Option<ConnectFailure> {
        lock(&self.0).get(broker).copied()
    }

    fn note(&self, broker: &str, flaw: Option<ConnectFailure>) {
        let mut flaws = lock(&self.0);
        match flaw {
            Some(flaw) => drop(flaws.insert(broker.to_owned(), flaw)),
            None => drop(flaws.remove(broker)),
        }
    }
}

fn flaw(error: c_int) -> Option<ConnectFailure> {
    match error {
        x509::OK => None,
        // The signature fails where a CA of the same name, but with another key, is known.
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

/// The size of the buffer that librdkafka has a broker's name in (`RD_KAFKA_NODENAME_SIZE`).
const NAME_SIZE: usize = 256;

/// What librdkafka calls for each certificate that OpenSSL has looked at: for the first that did not
/// pass, and, as long as none was refused, for each of the chain that did.
///
/// It changes no verdict: 1 would accept the certificate, so that is returned only where OpenSSL found
/// nothing wrong with it, which is what `*error` says (rdkafka.h).
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
    // SAFETY: librdkafka points to an int of its own.
    let found = unsafe { *error };
    let noted = catch_panic(|| {
        let mut name = [0; NAME_SIZE];
        for (index, byte) in name.iter_mut().enumerate() {
            // SAFETY: the broker's name is a C string in a buffer of that size, which lives as long as
            // the broker. Another thread may change it meanwhile where the broker stands for a
            // coordinator (`rd_kafka_broker_set_nodename`): hence it is read byte by byte, up to the
            // first zero, and used as it was found.
            *byte = unsafe { ptr::read_volatile(broker.add(index).cast::<u8>()) };
            if *byte == 0 {
                break;
            }
        }
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_SIZE);
        // SAFETY: `watch` made the opaque, and its caller keeps it.
        let certificates = unsafe { &*opaque.cast::<Certificates>() };
        certificates.note(&String::from_utf8_lossy(&name[..end]), flaw(found));
    });
    if found == x509::OK && noted.is_ok() {
        return 1;
    }
    const REFUSED: &CStr = c"OpenSSL has not accepted it";
    let text = REFUSED.to_bytes_with_nul();
    // SAFETY: `error` as above; the buffer has the size that is given, which is looked at.
    unsafe {
        // A refusal is never without an error.
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

    /// As librdkafka calls it; what is returned, and the error after it.
    fn verified(certificates: &Certificates, error: c_int, room: usize) -> (c_int, c_int, String) {
        let mut error = error;
        let mut errstr = vec![0_u8; room];
        let opaque: *const Certificates = certificates;
        // SAFETY: all pointers are to what lives here, and the buffer has the size that is given.
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
    fn only_what_passed_is_accepted() {
        let certificates = Certificates::default();
        for error in -1..200 {
            let (result, after, text) = verified(&certificates, error, 512);
            assert_eq!(result, c_int::from(error == x509::OK), "{error}");
            assert_eq!(after, error);
            assert_eq!(text.is_empty(), error == x509::OK);
        }
    }

    #[test]
    fn flaws_are_told_apart_and_forgotten_with_a_certificate_that_passes() {
        let certificates = Certificates::default();
        for (error, flaw) in [
            (x509::SELF_SIGNED_CERT_IN_CHAIN, ConnectFailure::UnknownCa),
            (x509::IP_ADDRESS_MISMATCH, ConnectFailure::WrongHost),
            (x509::CERT_HAS_EXPIRED, ConnectFailure::Expired),
            // Not valid yet.
            (9, ConnectFailure::Certificate),
        ] {
            verified(&certificates, error, 512);
            assert_eq!(certificates.flaw("host:1"), Some(flaw));
        }
        assert_eq!(certificates.flaw("host:2"), None);
        verified(&certificates, x509::OK, 512);
        assert_eq!(certificates.flaw("host:1"), None);
    }

    #[test]
    fn a_small_buffer_is_left_alone() {
        let (result, _, text) = verified(&Certificates::default(), x509::CERT_HAS_EXPIRED, 5);
        assert_eq!((result, &*text), (0, ""));
    }
}
