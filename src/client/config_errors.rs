//! The errors of a configuration. They name the property and never show a value.

use super::secrets::Secrets;
use crate::error::KafkaError;
use crate::ffi::{Conf, ConfError};

/// Returns the error for a property that cannot work with this crate.
pub(super) fn refused(property: &str, reason: &str) -> KafkaError {
    let text = format!("configuration property {property} is refused: {reason}");
    KafkaError::config(Some(property), text)
}

/// Returns the error for a property that librdkafka refuses.
///
/// librdkafka's own text may contain the value, so only known phrases are copied from it.
pub(super) fn property_error(property: &str, value: &str, error: &ConfError) -> KafkaError {
    let reason = match error {
        ConfError::Unknown => {
            let text = format!("unknown configuration property {property:?}");
            return KafkaError::config(Some(property), text);
        }
        ConfError::Invalid(text) => text,
    };
    const SAFE: &[&str] = &[
        "outside allowed range",
        "not supported in this build",
        "NUL byte",
        "empty value",
    ];
    let safe = SAFE
        .iter()
        .find_map(|phrase| Some(reason[reason.find(phrase)?..].to_owned()));
    let detail = safe.or_else(|| Some(missing_feature(property, value)?.to_owned()));
    let detail = detail.map(|detail| format!(": {detail}"));
    KafkaError::config(
        Some(property),
        format!(
            "bad value for configuration property {property}{}",
            detail.unwrap_or_default()
        ),
    )
}

/// Returns which feature of this crate a refused value needs.
fn missing_feature(property: &str, value: &str) -> Option<&'static str> {
    match (property, &*value.to_ascii_lowercase()) {
        ("security.protocol", "ssl" | "sasl_ssl") => {
            Some("TLS needs the feature `ssl` of this crate")
        }
        ("compression.type" | "compression.codec", "zstd") => {
            Some("zstd needs the feature `zstd` of this crate")
        }
        _ => None,
    }
}

/// Returns the error for a configuration that librdkafka refuses as a whole.
///
/// librdkafka's text names the property, with a dot in it or between backticks.
pub(crate) fn creation_error(text: &str, secrets: &Secrets) -> KafkaError {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let mut words = text
        .split(|c| !is_name(c))
        .map(|word| word.trim_end_matches('.'));
    let property = words.find(|word| {
        (word.contains('.') || text.contains(&format!("`{word}`"))) && Conf::knows(word)
    });
    KafkaError::config(
        property,
        format!("cannot create the client: {}", secrets.redact(text)),
    )
}
