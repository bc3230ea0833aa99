//! Copies an error object of librdkafka, `rd_kafka_error_t`.

use rdkafka_sys::bindings as sys;

use super::convert::to_string;
use super::redeclared::rd_kafka_error_code;
use crate::error::Class;

/// The error of a call that returns an error object.
#[derive(Debug)]
pub(crate) struct CallError {
    pub(crate) class: Class,
    pub(crate) code: i32,
    /// librdkafka's text, which may contain values of the configuration.
    pub(crate) text: String,
}

impl CallError {
    /// Converts what a call returned: NULL is success. Copies an error and destroys it.
    ///
    /// # Safety
    ///
    /// `error` is NULL, or a valid error object that is not used after this.
    pub(super) unsafe fn check(error: *mut sys::rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: by this function's contract the error is valid and ours to destroy. Its string
        // is copied before that.
        unsafe {
            // The order in which rdkafka.h checks them; only one should be set.
            let class = if sys::rd_kafka_error_is_fatal(error) != 0 {
                Class::Fatal
            } else if sys::rd_kafka_error_txn_requires_abort(error) != 0 {
                Class::RequiresAbort
            } else if sys::rd_kafka_error_is_retriable(error) != 0 {
                Class::Retriable
            } else {
                Class::Other
            };
            let copy = Self {
                class,
                code: rd_kafka_error_code(error),
                text: to_string(sys::rd_kafka_error_string(error)),
            };
            sys::rd_kafka_error_destroy(error);
            Err(copy)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use crate::error::{KNOWN, RDKafkaErrorCode};
    use crate::ffi::redeclared::{rd_kafka_err2name, rd_kafka_err2str};

    #[test]
    fn every_known_code_has_librdkafkas_name_and_description() {
        assert!(KNOWN.len() > 150);
        for &raw in KNOWN {
            let code = RDKafkaErrorCode::from(raw);
            // SAFETY: for every code that librdkafka lists, both functions return a C string with
            // static lifetime.
            let (name, description) = unsafe {
                (
                    CStr::from_ptr(rd_kafka_err2name(raw)),
                    CStr::from_ptr(rd_kafka_err2str(raw)),
                )
            };
            assert_eq!(name.to_str(), Ok(&*code.name()), "{raw}");
            assert_eq!(description.to_str(), Ok(&*code.description()), "{raw}");
        }
    }
}
