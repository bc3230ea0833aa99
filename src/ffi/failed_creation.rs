//! What librdkafka logs while it fails to create a client.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Mutex;

use rdkafka_sys::bindings as sys;

use super::conf::Conf;
use super::convert::{to_string, with_errstr};
use super::redeclared::rd_kafka_conf_set_ssl_cert_verify_cb;
use crate::sync::{catch_panic, lock};

/// Why librdkafka could not create a client. The texts may contain values of the configuration.
#[derive(Debug)]
pub(crate) struct CreationFailure {
    pub(crate) text: String,
    pub(crate) logs: Vec<String>,
}

/// Log lines, from any thread.
type Lines = Mutex<Vec<String>>;

/// Creates a client once more and returns what librdkafka logs meanwhile.
///
/// The logs of a client go to its queue, which is gone if the creation fails. This client has a
/// log callback instead. librdkafka's text has only the last of OpenSSL's errors, which seldom is
/// the cause. If the creation succeeds now, there is nothing to return.
pub(super) fn logs(mut conf: Conf) -> Vec<String> {
    let lines = Lines::default();
    for (property, value) in [
        ("log.queue", "false"),
        ("debug", ""),
        ("log_level", "6"),
        ("bootstrap.servers", ""),
    ] {
        // If librdkafka refuses one, a line less is returned.
        drop(conf.set(property, value));
    }
    let opaque: *const Lines = &lines;
    // SAFETY: the configuration is ours alone. The opaque outlives the client, which is destroyed
    // below. The callback for certificates, which would get it too, is removed.
    unsafe {
        sys::rd_kafka_conf_set_opaque(conf.as_ptr(), opaque.cast_mut().cast::<c_void>());
        rd_kafka_conf_set_ssl_cert_verify_cb(conf.as_ptr(), None);
        sys::rd_kafka_conf_set_log_cb(conf.as_ptr(), Some(log));
    }
    let (client, _) = with_errstr(|errstr, size| {
        // SAFETY: the configuration is valid and ours to pass on; the buffer has the given size.
        unsafe {
            sys::rd_kafka_new(
                sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
                conf.as_ptr(),
                errstr,
                size,
            )
        }
    });
    if client.is_null() {
        return std::mem::take(&mut lock(&lines));
    }
    // The client has taken it over.
    std::mem::forget(conf);
    // SAFETY: the client is valid, nobody else refers to it, and this is none of its threads.
    unsafe { sys::rd_kafka_destroy(client) };
    Vec::new()
}

/// The C callback for a log line.
unsafe extern "C" fn log(
    client: *const sys::rd_kafka_t,
    _level: c_int,
    _facility: *const c_char,
    text: *const c_char,
) {
    if client.is_null() {
        return;
    }
    // The lines only explain an error. If a panic loses one, so be it.
    drop(catch_panic(|| {
        // SAFETY: the client is valid during the call. Its opaque are the lines of `logs`.
        let lines = unsafe { &*sys::rd_kafka_opaque(client).cast::<Lines>() };
        // SAFETY: librdkafka passes a C string that lives during the call.
        let text = unsafe { to_string(text) };
        lock(lines).push(text);
    }));
}
