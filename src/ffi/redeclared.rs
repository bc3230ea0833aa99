//! librdkafka's functions that return or write an enum, declared again with `c_int`.
//!
//! The bindings declare them with Rust enums. A value that such an enum does not list would be
//! undefined behaviour at the call itself. A newer librdkafka may return one, or pass on a broker's
//! code. In this API a C enum has the representation of `int`.

use std::ffi::{c_char, c_int, c_void};

use rdkafka_sys::bindings::{
    rd_kafka_AdminOptions_t, rd_kafka_conf_t, rd_kafka_error_t, rd_kafka_headers_t,
    rd_kafka_message_t, rd_kafka_metadata_t, rd_kafka_queue_t, rd_kafka_t, rd_kafka_topic_t,
};

/// The C callback that verifies a broker's certificate.
type VerifyCertificate = unsafe extern "C" fn(
    rk: *mut rd_kafka_t,
    broker: *const c_char,
    broker_id: i32,
    error: *mut c_int,
    depth: c_int,
    certificate: *const c_char,
    size: usize,
    errstr: *mut c_char,
    errstr_size: usize,
    opaque: *mut c_void,
) -> c_int;

#[allow(clashing_extern_declarations)]
unsafe extern "C" {
    pub(super) fn rd_kafka_AdminOptions_set_request_timeout(
        options: *mut rd_kafka_AdminOptions_t,
        timeout_ms: c_int,
        errstr: *mut c_char,
        errstr_size: usize,
    ) -> c_int;

    pub(super) fn rd_kafka_AdminOptions_set_broker(
        options: *mut rd_kafka_AdminOptions_t,
        broker_id: i32,
        errstr: *mut c_char,
        errstr_size: usize,
    ) -> c_int;

    pub(super) fn rd_kafka_conf_set(
        conf: *mut rd_kafka_conf_t,
        name: *const c_char,
        value: *const c_char,
        errstr: *mut c_char,
        errstr_size: usize,
    ) -> c_int;

    // With a `FILE *` of the C library, for which this crate has no type.
    #[cfg(unix)]
    pub(super) fn rd_kafka_conf_properties_show(file: *mut c_void);

    pub(super) fn rd_kafka_conf_get(
        conf: *const rd_kafka_conf_t,
        name: *const c_char,
        dest: *mut c_char,
        dest_size: *mut usize,
    ) -> c_int;

    pub(super) fn rd_kafka_conf_set_ssl_cert_verify_cb(
        conf: *mut rd_kafka_conf_t,
        verify: Option<VerifyCertificate>,
    ) -> c_int;

    #[cfg(test)]
    pub(super) fn rd_kafka_err2name(err: c_int) -> *const c_char;

    #[cfg(test)]
    pub(super) fn rd_kafka_err2str(err: c_int) -> *const c_char;

    pub(super) fn rd_kafka_error_code(error: *const rd_kafka_error_t) -> c_int;

    pub(super) fn rd_kafka_event_error(event: *mut c_void) -> c_int;

    pub(super) fn rd_kafka_fatal_error(
        rk: *mut rd_kafka_t,
        errstr: *mut c_char,
        errstr_size: usize,
    ) -> c_int;

    pub(super) fn rd_kafka_flush(rk: *mut rd_kafka_t, timeout_ms: c_int) -> c_int;

    pub(super) fn rd_kafka_header_add(
        headers: *mut rd_kafka_headers_t,
        name: *const c_char,
        name_size: isize,
        value: *const c_void,
        value_size: isize,
    ) -> c_int;

    pub(super) fn rd_kafka_header_get_all(
        headers: *const rd_kafka_headers_t,
        index: usize,
        name: *mut *const c_char,
        value: *mut *const c_void,
        size: *mut usize,
    ) -> c_int;

    pub(super) fn rd_kafka_last_error() -> c_int;

    pub(super) fn rd_kafka_message_headers(
        message: *const rd_kafka_message_t,
        headers: *mut *mut rd_kafka_headers_t,
    ) -> c_int;

    pub(super) fn rd_kafka_message_status(message: *const rd_kafka_message_t) -> c_int;

    pub(super) fn rd_kafka_message_timestamp(
        message: *const rd_kafka_message_t,
        timestamp_type: *mut c_int,
    ) -> i64;

    pub(super) fn rd_kafka_oauthbearer_set_token(
        rk: *mut rd_kafka_t,
        token_value: *const c_char,
        md_lifetime_ms: i64,
        md_principal_name: *const c_char,
        extensions: *mut *const c_char,
        extension_size: usize,
        errstr: *mut c_char,
        errstr_size: usize,
    ) -> c_int;

    pub(super) fn rd_kafka_oauthbearer_set_token_failure(
        rk: *mut rd_kafka_t,
        errstr: *const c_char,
    ) -> c_int;

    pub(super) fn rd_kafka_metadata(
        rk: *mut rd_kafka_t,
        all_topics: c_int,
        only_topic: *mut rd_kafka_topic_t,
        metadata: *mut *const rd_kafka_metadata_t,
        timeout_ms: c_int,
    ) -> c_int;

    pub(super) fn rd_kafka_producev(rk: *mut rd_kafka_t, ...) -> c_int;

    pub(super) fn rd_kafka_purge(rk: *mut rd_kafka_t, flags: c_int) -> c_int;

    pub(super) fn rd_kafka_set_log_queue(
        rk: *mut rd_kafka_t,
        queue: *mut rd_kafka_queue_t,
    ) -> c_int;
}
