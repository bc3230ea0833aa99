//! The token with which a client authenticates by SASL/OAUTHBEARER.

use std::ffi::CString;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::secrets::REDACTED;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::RawToken;

/// A token for SASL/OAUTHBEARER authentication.
///
/// Return one from [`ClientContext::refresh_oauth_token`], or pass one to
/// [`BaseProducer::set_oauth_token`].
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tokio_rdkafka::OAuthToken;
///
/// let expires_at = SystemTime::now() + Duration::from_secs(300);
/// let token = OAuthToken::new("eyJhbGciOi...", "billing", expires_at)
///     .extension("logicalCluster", "lkc-1");
/// assert!(!format!("{token:?}").contains("eyJ"));
/// ```
///
/// `Debug` shows neither the token nor the values of its extensions.
///
/// A token is checked when the producer gets it. It is refused if it:
///
/// - is empty;
/// - contains other characters than visible ASCII, space, tab, CR and LF;
/// - has an extension whose name is empty, contains other characters than ASCII letters, or is
///   `auth`;
/// - has an extension whose value contains a character that a token may not contain;
/// - has a principal with a NUL byte.
///
/// [`BaseProducer::set_oauth_token`]: crate::BaseProducer::set_oauth_token
/// [`ClientContext::refresh_oauth_token`]: crate::ClientContext::refresh_oauth_token
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct OAuthToken {
    token: String,
    principal_name: String,
    expires_at: SystemTime,
    extensions: Vec<(String, String)>,
}

impl OAuthToken {
    /// Creates a token from its value, usually a JWT.
    ///
    /// `principal_name` is shown in librdkafka's logs and errors. The producer asks for the next
    /// token after 80 % of the time from now until `expires_at`.
    pub fn new(
        token: impl Into<String>,
        principal_name: impl Into<String>,
        expires_at: SystemTime,
    ) -> Self {
        Self {
            token: token.into(),
            principal_name: principal_name.into(),
            expires_at,
            extensions: Vec::new(),
        }
    }

    /// Adds a SASL extension, which is sent to the broker with the token (RFC 7628, section 3.1).
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    /// Returns the name of the principal.
    pub fn principal_name(&self) -> &str {
        &self.principal_name
    }

    /// Returns the time when the token expires.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Checks the token and converts it for C.
    ///
    /// # Errors
    ///
    /// Returns an error that says what is wrong, without showing the token. librdkafka's own errors
    /// do show it.
    pub(crate) fn to_raw(&self) -> Result<RawToken, KafkaError> {
        if self.token.is_empty() {
            return Err(invalid("the token is empty"));
        }
        let since_epoch = self.expires_at.duration_since(UNIX_EPOCH);
        let millis = since_epoch.map_or(0, |since| since.as_millis());
        let mut extensions = Vec::new();
        for (name, value) in &self.extensions {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return Err(invalid(
                    "the name of an extension must consist of ASCII letters",
                ));
            }
            if name == "auth" {
                return Err(invalid("an extension must not have the name auth"));
            }
            let wrong = "the value of an extension contains a character that RFC 7628 forbids";
            extensions.push(to_c(name, wrong)?);
            extensions.push(visible(value, wrong)?);
        }
        Ok(RawToken {
            value: visible(
                &self.token,
                "the token contains a character that RFC 7628 forbids",
            )?,
            // librdkafka converts it to microseconds.
            expires_at: i64::try_from(millis).map_or(MAX_MILLIS, |millis| millis.min(MAX_MILLIS)),
            principal: to_c(&self.principal_name, "the principal contains a NUL byte")?,
            extensions,
        })
    }
}

/// The latest time that librdkafka can represent.
const MAX_MILLIS: i64 = i64::MAX / 1000;

/// Converts a value, if it contains only what RFC 7628 allows: visible characters and white space.
fn visible(text: &str, wrong: &str) -> Result<CString, KafkaError> {
    let is_allowed = |byte: u8| matches!(byte, b'!'..=b'~' | b' ' | b'\t' | b'\r' | b'\n');
    if text.bytes().all(is_allowed) {
        to_c(text, wrong)
    } else {
        Err(invalid(wrong))
    }
}

fn to_c(text: &str, wrong: &str) -> Result<CString, KafkaError> {
    CString::new(text).map_err(|_| invalid(wrong))
}

fn invalid(problem: &str) -> KafkaError {
    let text = format!("invalid OAuth token: {problem}");
    KafkaError::with_text(RDKafkaErrorCode::InvalidArgument, text)
}

impl fmt::Debug for OAuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.extensions.iter().map(|(name, _)| name);
        f.debug_struct("OAuthToken")
            .field("token", &REDACTED)
            .field("principal_name", &self.principal_name)
            .field("expires_at", &self.expires_at)
            .field("extensions", &names.collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn token(value: &str) -> OAuthToken {
        OAuthToken::new(value, "svc", SystemTime::now() + Duration::from_secs(60))
    }

    #[test]
    fn debug_shows_no_secret() {
        let debug = format!("{:?}", token("s3cret").extension("cluster", "s3cret"));
        assert!(!debug.contains("s3cret"), "{debug}");
        assert!(
            debug.contains("svc") && debug.contains("cluster"),
            "{debug}"
        );
    }

    #[test]
    fn an_invalid_token_is_refused_without_showing_it() {
        for (wrong, problem) in [
            (token(""), "empty"),
            (token("s3cret\u{e9}"), "character"),
            (token("s3cret\0"), "character"),
            (token("s3cret").extension("a1", "v"), "name"),
            (token("s3cret").extension("", "v"), "name"),
            (token("s3cret").extension("auth", "v"), "auth"),
            (token("v").extension("a", "s3cret\u{1}"), "extension"),
            (OAuthToken::new("s3cret", "\0", UNIX_EPOCH), "principal"),
        ] {
            let error = wrong.to_raw().err().expect("an error");
            let shown = format!("{error} {error:?}");
            assert!(
                shown.contains(problem) && !shown.contains("s3cret"),
                "{shown}"
            );
        }
    }

    #[test]
    fn any_time_of_expiry_can_be_converted() {
        let far = UNIX_EPOCH + Duration::from_secs(1 << 60);
        let raw = OAuthToken::new("t", "p", far).to_raw().unwrap();
        assert_eq!(raw.expires_at, MAX_MILLIS);
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let raw = OAuthToken::new("t", "p", before).to_raw().unwrap();
        assert_eq!(raw.expires_at, 0);
    }
}
