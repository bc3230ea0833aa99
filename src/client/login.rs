//! How a client logs in, and which new passwords it takes.

use std::ffi::CString;
use std::fmt;

use crate::error::KafkaError;
use crate::ffi::Conf;
use crate::values::RDKafkaLogLevel;

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
    pub(super) fn check_password(&self) -> Result<(), KafkaError> {
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

/// What the user has changed since the creation of the client, for one that replaces it.
#[derive(Clone, Default)]
pub(super) struct Changes {
    /// `sasl.username` and `sasl.password`
    pub(super) credentials: Option<(String, String)>,
    pub(super) log_level: Option<RDKafkaLogLevel>,
}

/// Does not show the password.
impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("log_level", &self.log_level)
            .finish_non_exhaustive()
    }
}

/// Returns a value of a login as a C string.
///
/// # Errors
///
/// Returns an error that names the property, and does not show the value.
pub(super) fn login_value(property: &str, value: &str) -> Result<CString, KafkaError> {
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
