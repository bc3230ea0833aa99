//! New passwords of a running client.

use std::ffi::CString;

use super::core::Core;
use crate::error::KafkaError;
use crate::ffi::{Conf, Opaque};
use crate::sync::write;

/// The longest user name or password, in bytes. librdkafka copies them to the stack of a thread.
const MAX_LEN: usize = 65_535;

/// How the client logs in, as configured.
#[derive(Debug)]
pub(super) struct Login {
    /// `security.protocol`
    protocol: String,
    /// `sasl.mechanisms`
    mechanism: String,
}

impl Login {
    pub(super) fn of(conf: &Conf) -> Self {
        let value = |property| conf.get(property).unwrap_or_default();
        Self {
            protocol: value("security.protocol"),
            mechanism: value("sasl.mechanisms"),
        }
    }

    /// # Errors
    ///
    /// The client does not log in with a password.
    fn check_password(&self) -> Result<(), KafkaError> {
        const HOW: &str = "set sasl.mechanism to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512";
        let Self {
            protocol,
            mechanism,
        } = self;
        if !protocol.starts_with("sasl_") {
            let text = format!(
                "set_sasl_credentials: the client does not log in: configuration property \
                 security.protocol is {protocol}; set it to sasl_ssl or sasl_plaintext, and {HOW}"
            );
            return Err(KafkaError::config(Some("security.protocol"), text));
        }
        if mechanism != "PLAIN" && !mechanism.starts_with("SCRAM-") {
            let text = format!(
                "set_sasl_credentials: the client logs in without a password: configuration \
                 property sasl.mechanism is {mechanism}; {HOW}"
            );
            return Err(KafkaError::config(Some("sasl.mechanism"), text));
        }
        Ok(())
    }
}

/// Returns a value of a login as a C string.
///
/// # Errors
///
/// Returns an error that names the property, and does not show the value.
fn value(property: &str, value: &str) -> Result<CString, KafkaError> {
    let refused = |why: &str| {
        let text = format!("set_sasl_credentials: bad value for {property}: it {why}");
        KafkaError::config(Some(property), text)
    };
    if value.is_empty() {
        return Err(refused("is empty"));
    }
    if value.len() > MAX_LEN {
        return Err(refused("has more than 65535 bytes"));
    }
    CString::new(value).map_err(|_| refused("contains a NUL byte"))
}

impl<O: Opaque> Core<O> {
    /// Sets the user and the password of new connections.
    ///
    /// # Errors
    ///
    /// The core is closed, the client does not log in with a password, or a value is invalid.
    pub(crate) fn set_sasl_credentials(
        &self,
        username: &str,
        password: &str,
    ) -> Result<(), KafkaError> {
        let client = self.client().ok_or_else(|| self.closed_error())?;
        self.login.check_password()?;
        let raw_username = value("sasl.username", username)?;
        let raw_password = value("sasl.password", password)?;
        {
            // Before librdkafka can show them.
            let mut secrets = write(&self.secrets);
            secrets.add(username);
            secrets.add(password);
        }
        client
            .set_sasl_credentials(&raw_username, &raw_password)
            .map_err(|error| self.call_error("set_sasl_credentials", error))
    }
}
