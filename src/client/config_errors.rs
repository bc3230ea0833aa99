//! The errors of a configuration. They name the property, show the value if it cannot be secret,
//! and say what is allowed.

use super::config::ClientConfig;
use super::java_properties;
use super::properties::{self, Property, Wanted};
use super::secrets::{REDACTED, Secrets, is_sensitive, shown_name};
use crate::error::KafkaError;
use crate::ffi::{Conf, ConfError};

/// Returns the error for a property that cannot work with this crate.
pub(super) fn refused(property: &str, reason: &str) -> KafkaError {
    let text = format!("configuration property {property} is refused: {reason}");
    KafkaError::config(Some(property), text)
}

/// Returns the error for a value that is not allowed, with what is wrong about it.
///
/// librdkafka's own text may contain any value, so only known phrases of it may be passed on.
pub(super) fn bad_value(
    property: &str,
    value: &str,
    problem: Option<&str>,
    secrets: &Secrets,
) -> KafkaError {
    let known = properties::find(property);
    let value = known
        .as_ref()
        .and_then(|it| shown(it, property, value, secrets));
    let mut text = match value {
        Some(value) => format!("bad value {value} for configuration property {property}"),
        None => format!("bad value for configuration property {property}"),
    };
    let allowed = known.and_then(|it| {
        let allowed = it.allowed()?;
        Some(match it.is_choice() {
            true => with_features(property, &allowed),
            false => allowed,
        })
    });
    let allowed = allowed.map(|allowed| format!("allowed: {allowed}"));
    let mut separator = ": ";
    for part in problem.into_iter().chain(allowed.as_deref()) {
        text.push_str(separator);
        text.push_str(part);
        separator = "; ";
    }
    KafkaError::config(Some(property), text)
}

/// Adds to each of the allowed values the feature that it needs and this build lacks.
fn with_features(property: &str, allowed: &str) -> String {
    let values = allowed.split(", ").map(|value| {
        let feature = if property.starts_with("sasl.mechanism") {
            missing_for_mechanism(value).map(|feature| format!("the feature `{feature}`"))
        } else {
            match Conf::new().set(property, value) {
                Err(ConfError::Invalid(text)) => missing_feature(&text).map(str::to_owned),
                _ => None,
            }
        };
        match feature {
            Some(feature) => format!("{value} (with {feature})"),
            None => value.to_owned(),
        }
    });
    values.collect::<Vec<_>>().join(", ")
}

/// Returns a value between quotes, or `None` if it may be secret.
///
/// A value of a number or a choice was not meant to be a secret, and it cannot be one of those that
/// are set.
fn shown(known: &Property, property: &str, value: &str, secrets: &Secrets) -> Option<String> {
    const MOST: usize = 40;
    let is_secret = is_sensitive(property)
        || !known.is_plain()
        || value.chars().count() > MOST
        || secrets.redact(value) != value;
    (!is_secret).then(|| format!("{value:?}"))
}

/// Returns the error for a property that librdkafka refuses.
pub(super) fn property_error(
    property: &str,
    value: &str,
    error: &ConfError,
    secrets: &Secrets,
) -> KafkaError {
    let instead = java_properties::replacement(property);
    let reason = match error {
        ConfError::Unknown => return unknown(property, instead),
        ConfError::Invalid(text) => text,
    };
    if let Some(instead) = instead {
        return refused(
            property,
            &format!("it is a property of Java's client: {instead}"),
        );
    }
    // The value is before the colon.
    let why = reason.rsplit_once(": ").map_or("", |(_, why)| why);
    if let Some(feature) = missing_feature(why) {
        let known = properties::find(property);
        let value = known.and_then(|known| shown(&known, property, value, secrets));
        let text = match value {
            Some(value) if !reason.contains("not supported in this build") => {
                format!("bad value {value} for configuration property {property}: the value")
            }
            _ => format!("configuration property {property} is refused: it"),
        };
        let text = format!("{text} needs {feature} of tokio-rdkafka");
        return KafkaError::config(Some(property), text);
    }
    if reason.contains("must be set through dedicated") || reason.contains("not settable") {
        return refused(property, "only code in C can set it; remove it");
    }
    const SAFE: &[&str] = &[
        "outside allowed range",
        "not supported in this build",
        "NUL byte",
        "empty value",
    ];
    let safe = SAFE
        .iter()
        .find_map(|phrase| Some(&reason[reason.find(phrase)?..]))
        // The range follows if it is known.
        .map(|it| match properties::find(property) {
            Some(_) if it.starts_with(SAFE[0]) => out_of_range(value),
            _ => it,
        });
    bad_value(property, value, safe, secrets)
}

/// Returns why librdkafka says that a number is out of range. It reads the digits at the beginning.
fn out_of_range(value: &str) -> &'static str {
    match value.trim().parse::<f64>() {
        Ok(_) => "it is out of range",
        Err(_) => "it is not a decimal number",
    }
}

/// Returns the error for a property that librdkafka does not have, with what was most likely meant.
fn unknown(property: &str, instead: Option<&str>) -> KafkaError {
    let (shown, is_cut) = shown_name(property);
    let wanted = Wanted::new(shown);
    let hint = if let Some(instead) = instead {
        format!("; it is a property of Java's client: {instead}")
    } else {
        let known = properties::nearest(&wanted);
        let distance = known.as_ref().map_or(usize::MAX, |(distance, _)| *distance);
        let java = java_properties::nearest(&wanted).filter(|java| java.0 < distance);
        match (java, known) {
            (Some((_, name, instead)), _) => {
                format!("; did you mean {name}? It is a property of Java's client: {instead}")
            }
            (None, Some((_, name))) => format!("; did you mean {name}?"),
            (None, None) => String::new(),
        }
    };
    let rest = if is_cut {
        format!(", followed by {REDACTED}: the value is an argument of its own")
    } else {
        String::new()
    };
    let text = format!("unknown configuration property {shown:?}{rest}{hint}");
    KafkaError::config(Some(shown), text)
}

/// Returns which feature of this crate is missing, by what librdkafka says about its build.
///
/// Source: the macros `_UNSUPPORTED_…` in rdkafka_conf.c.
fn missing_feature(why: &str) -> Option<&'static str> {
    const LIBRARIES: &[(&str, &str)] = &[
        (
            "depends on libcurl and OpenSSL",
            "the features `curl` and `ssl`",
        ),
        (
            "depend on libcurl and OpenSSL",
            "the features `curl` and `ssl`",
        ),
        ("OpenSSL not available", "the feature `ssl`"),
        ("zlib not available", "the feature `libz`"),
        ("libzstd not available", "the feature `zstd`"),
        ("libcurl not available", "the feature `curl`"),
        ("cyrus-sasl", "the feature `gssapi`"),
    ];
    let found = LIBRARIES.iter().find(|(library, _)| why.contains(library));
    // A version is missing: either all of OpenSSL, or it is too old.
    let is_version = || !has_feature("ssl") && why.contains("OpenSSL >=");
    found
        .map(|(_, feature)| *feature)
        .or_else(|| is_version().then_some("the feature `ssl`"))
}

/// Returns true if librdkafka was built with a feature of its own, by the name in
/// `builtin.features`.
fn has_feature(name: &str) -> bool {
    let features = Conf::new().get("builtin.features").unwrap_or_default();
    features.split(',').any(|feature| feature.trim() == name)
}

/// Returns the feature that a SASL mechanism needs and this build lacks.
pub(super) fn missing_for_mechanism(mechanism: &str) -> Option<&'static str> {
    let (builtin, feature) = match mechanism {
        "GSSAPI" => ("sasl_gssapi", "gssapi"),
        "OAUTHBEARER" => ("sasl_oauthbearer", "ssl"),
        _ if mechanism.starts_with("SCRAM-SHA-") => ("sasl_scram", "ssl"),
        _ => return None,
    };
    (!has_feature(builtin)).then_some(feature)
}

/// What librdkafka's errors say instead of the property's name.
const UNNAMED: &[(&str, &str)] = &[
    ("OpenSSL provider", "ssl.providers"),
    ("OpenSSL engine", "ssl.engine.location"),
];

/// Returns the error for a configuration that librdkafka refuses as a whole.
///
/// librdkafka's text names the property, with a dot in it or between backticks. It does not say its
/// value, nor the alias under which it was set.
pub(super) fn creation_error(text: &str, config: &ClientConfig, secrets: &Secrets) -> KafkaError {
    let says = |(phrase, _): &&(&str, _)| text.contains(phrase);
    let named = property_in(text).or_else(|| Some(UNNAMED.iter().find(says)?.1));
    let set = named.and_then(|named| {
        let main = properties::find(named)?.main_name().to_owned();
        let set = config.iter().filter_map(|(name, value)| {
            let known = properties::find(name)?;
            (known.main_name() == main).then_some((known, name, value))
        });
        set.last()
    });
    let mut reason = secrets.redact(text).into_owned();
    if let Some((known, name, value)) = &set {
        if let Some(value) = shown(known, name, value, secrets) {
            reason.push_str(&format!("; {name} is set to {value}"));
        }
    }
    KafkaError::config(
        set.map(|(_, name, _)| name).or(named),
        format!("cannot create the client: {reason}"),
    )
}

/// Returns the property that a text of librdkafka names first.
pub(super) fn property_in(text: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let mut words = text
        .split(|c| !is_name(c))
        .map(|word| word.trim_end_matches('.'));
    words.find(|word| {
        (word.contains('.') || text.contains(&format!("`{word}`"))) && Conf::knows(word)
    })
}
