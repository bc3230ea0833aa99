//! The tokens of SASL/OAUTHBEARER.

use std::ffi::{CString, c_char};

use super::client::Client;
use super::convert::with_errstr;
use super::redeclared::{rd_kafka_oauthbearer_set_token, rd_kafka_oauthbearer_set_token_failure};

/// A token as C takes it.
pub(crate) struct RawToken {
    pub(crate) value: CString,
    /// In milliseconds since the epoch.
    pub(crate) expires_at: i64,
    pub(crate) principal: CString,
    /// Names and values in turn.
    pub(crate) extensions: Vec<CString>,
}

impl Client {
    /// Sets the token that connections log in with from now on.
    ///
    /// # Errors
    ///
    /// librdkafka's code and text, which may contain the token.
    pub(crate) fn set_oauth_token(&self, token: &RawToken) -> Result<(), (i32, String)> {
        let mut extensions: Vec<*const c_char> = token
            .extensions
            .iter()
            .map(|extension| extension.as_ptr())
            .collect();
        let (code, text) = with_errstr(|errstr, size| {
            // SAFETY: the client is valid; all strings are C strings that live during the call,
            // which copies them; list and buffer have the sizes that are given.
            unsafe {
                rd_kafka_oauthbearer_set_token(
                    self.as_ptr(),
                    token.value.as_ptr(),
                    token.expires_at,
                    token.principal.as_ptr(),
                    extensions.as_mut_ptr(),
                    extensions.len(),
                    errstr,
                    size,
                )
            }
        });
        if code == 0 { Ok(()) } else { Err((code, text)) }
    }

    /// Tells that there is no token, and why; librdkafka asks again later.
    ///
    /// # Errors
    ///
    /// librdkafka's code.
    pub(crate) fn set_oauth_token_failure(&self, reason: &str) -> Result<(), i32> {
        let reason = CString::new(reason.replace('\0', "")).unwrap_or_default();
        // SAFETY: the client is valid; the reason is a C string that lives during the call, which
        // copies it.
        match unsafe { rd_kafka_oauthbearer_set_token_failure(self.as_ptr(), reason.as_ptr()) } {
            0 => Ok(()),
            code => Err(code),
        }
    }
}
