//! Answers to librdkafka's requests for an OAuth token.

use std::ffi::{CString, c_char};

use super::client::Client;
use super::convert::with_errstr;
use super::redeclared::{rd_kafka_oauthbearer_set_token, rd_kafka_oauthbearer_set_token_failure};

/// A token converted for C.
pub(crate) struct RawToken {
    pub(crate) value: CString,
    /// Milliseconds since the Unix epoch.
    pub(crate) expires_at: i64,
    pub(crate) principal: CString,
    /// Names and values, alternating.
    pub(crate) extensions: Vec<CString>,
}

impl Client {
    /// Sets the token with which connections authenticate from now on.
    ///
    /// # Errors
    ///
    /// Returns librdkafka's code and text. The text may contain the token.
    pub(crate) fn set_oauth_token(&self, token: &RawToken) -> Result<(), (i32, String)> {
        let mut extensions: Vec<*const c_char> = token
            .extensions
            .iter()
            .map(|extension| extension.as_ptr())
            .collect();
        let (code, text) = with_errstr(|errstr, size| {
            // SAFETY: the client is valid. All strings are C strings that live during the call,
            // which copies them. List and buffer have the given sizes.
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

    /// Reports that there is no token, and why. librdkafka asks again about 10 seconds later.
    ///
    /// # Errors
    ///
    /// Returns librdkafka's code.
    pub(crate) fn set_oauth_token_failure(&self, reason: &str) -> Result<(), i32> {
        let reason = CString::new(reason.replace('\0', "")).unwrap_or_default();
        // SAFETY: the client is valid. The reason is a C string that lives during the call, which
        // copies it.
        match unsafe { rd_kafka_oauthbearer_set_token_failure(self.as_ptr(), reason.as_ptr()) } {
            0 => Ok(()),
            code => Err(code),
        }
    }
}
