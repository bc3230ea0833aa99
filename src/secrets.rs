//! Which values of a configuration may be secret, and striking them out of texts.

use std::borrow::Cow;

/// What a secret is replaced by.
pub(crate) const REDACTED: &str = "[redacted]";

/// Properties that librdkafka marks as sensitive (`_RK_SENSITIVE` in rdkafka_conf.c), and the
/// aliases of them, which it does not mark.
const SENSITIVE: &[&str] = &[
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "sasl.username",
    "ssl.ca.pem",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "ssl_key",
];

pub(crate) fn is_sensitive(property: &str) -> bool {
    SENSITIVE.contains(&property)
}

/// The secret values of one configuration.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    pub(crate) fn new(values: impl Iterator<Item = String>) -> Self {
        let mut values: Vec<_> = values.filter(|value| !value.is_empty()).collect();
        // The longest first: one secret may be part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(values)
    }

    /// The text without the secrets.
    pub(crate) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REDACTED).into();
            }
        }
        text
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_secrets_go_the_longest_first() {
        let secrets = ["pass", "", "password"].map(str::to_owned);
        let secrets = Secrets::new(secrets.into_iter());
        assert_eq!(
            secrets.redact("my password, my pass"),
            "my [redacted], my [redacted]"
        );
        assert_eq!(secrets.redact("nothing"), "nothing");
    }
}
