//! Finds out which file or text of the TLS configuration is at fault, and why.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::config::ClientConfig;
use super::config_errors::{creation_error, property_in};
use super::secrets::Secrets;
use crate::error::KafkaError;
use crate::ffi::CreationFailure;

/// Returns the error for a client that could not be created.
///
/// Of OpenSSL's errors, librdkafka's text has only the last, such as "system lib". The others are
/// in its logs.
pub(super) fn error_of(
    failure: &CreationFailure,
    config: &ClientConfig,
    secrets: &Secrets,
) -> KafkaError {
    let CreationFailure { text, logs } = failure;
    let Some(property) = property_at_fault(text, config) else {
        return creation_error(text, config, secrets);
    };
    let value = config.get(property).unwrap_or_default().trim_start();
    let shown = if property.ends_with(".location") {
        shown_path(value)
    } else {
        String::new()
    };
    let Some(cause) = cause(property, value, text, logs, config) else {
        let error = creation_error(text, config, secrets);
        let Some(log) = logs.last() else {
            return error;
        };
        let text = format!("{}: {}", property, secrets.redact(log));
        return KafkaError::config(
            Some(property),
            format!(
                "cannot create the client: {}; {text}",
                secrets.redact(&failure.text)
            ),
        );
    };
    KafkaError::config(
        Some(property),
        format!("cannot create the client: {property}{shown}: {cause}"),
    )
}

/// Returns the property that names the file or has the text that OpenSSL refused.
fn property_at_fault<'c>(text: &'c str, config: &ClientConfig) -> Option<&'c str> {
    const KEYS: &[&str] = &["ssl.key.location", "ssl.key.pem", "ssl.keystore.location"];
    let is_set = |property: &&str| config.get(property).is_some();
    if text.starts_with("Private key check failed") {
        // librdkafka loads them in this order, and the last one counts.
        return KEYS.iter().rev().copied().find(|it| is_set(it));
    }
    let is_file = |it: &&str| {
        let has_file = it.ends_with(".location") || it.ends_with(".pem");
        has_file && (it.starts_with("ssl.") || it.starts_with("https."))
    };
    // Another text is about several properties, and says all.
    let is_about_one = text.contains("error:")
        || text.contains("No further error")
        || text.contains("must be an existing file");
    property_in(text).filter(|it| is_about_one && is_file(it) && is_set(it))
}

/// Returns a path between quotes after a space. Empty if the text may be a key instead.
fn shown_path(path: &str) -> String {
    const NAMES: &[&str] = &["pem", "crt", "cer", "key", "p12", "pfx", "jks", "der"];
    let is_named = |path: &Path| {
        let extension = path.extension().and_then(|it| it.to_str());
        extension.is_some_and(|it| NAMES.contains(&&*it.to_ascii_lowercase()))
    };
    let path_of = Path::new(path);
    let is_path = !path.contains(['\n', '\r'])
        && (path_of.exists()
            || ["./", "../", "~/"].iter().any(|it| path.starts_with(it))
            || path_of.is_absolute()
            || is_named(path_of));
    if is_path {
        format!(" {path:?}")
    } else {
        String::new()
    }
}

/// Returns why the file or the text was refused.
fn cause(
    property: &str,
    value: &str,
    text: &str,
    logs: &[String],
    config: &ClientConfig,
) -> Option<String> {
    let is_file = property.ends_with(".location");
    if is_file {
        if value.contains("-----BEGIN") {
            let other = property.replace(".location", ".pem");
            return Some(format!("it is a text, not a path; set {other} to it"));
        }
        if let Some(problem) = problem_of_file(value) {
            return Some(problem);
        }
    }
    let all = logs.iter().map(String::as_str).chain([text]);
    let all = all.collect::<Vec<_>>().join("\n").to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| all.contains(phrase));
    let is_keystore = property == "ssl.keystore.location";
    let password = if is_keystore {
        "ssl.keystore.password"
    } else {
        "ssl.key.password"
    };
    let is_key = is_keystore || property.starts_with("ssl.key.");
    let has_password = config.get(password).is_some_and(|it| !it.is_empty());
    let problem = if is_key && says(&["no password configured"]) {
        format!("the key is encrypted; set {password}")
    } else if is_key
        && has_password
        && says(&[
            "bad decrypt",
            "bad password read",
            "wrong final block",
            "mac verify",
            "maybe wrong password",
            "pkcs12 cipherfinal",
            "interrupted or cancelled",
        ])
    {
        format!("wrong {password}")
    } else if is_key && says(&["mac verify", "bad password read", "bad decrypt"]) {
        format!("it needs a password; set {password}")
    } else if says(&["key values mismatch", "key type mismatch"]) {
        "the private key does not belong to the certificate".to_owned()
    } else if says(&["no certificate assigned"]) {
        "there is a private key but no certificate; set ssl.certificate.location or \
         ssl.certificate.pem"
            .to_owned()
    } else if says(&[
        "ee key too small",
        "ca key too small",
        "ca md too weak",
        "md too weak",
    ]) {
        "OpenSSL refuses the certificate as too weak (its security level)".to_owned()
    } else if is_keystore && says(&["asn1", "not enough data", "wrong tag", "bad object header"]) {
        "it is not a PKCS#12 keystore".to_owned()
    } else if !is_keystore && !has_pem(property, value, is_key) {
        let what = if is_key { "private key" } else { "certificate" };
        format!("it contains no {what} in PEM format")
    } else if says(&[
        "pem routines",
        "asn1",
        "wrong tag",
        "not enough data",
        "unsupported",
        "no certificate or crl found",
        "not in pem format",
    ]) {
        "its PEM is damaged, or of a kind that OpenSSL does not read".to_owned()
    } else {
        return None;
    };
    Some(problem)
}

/// Returns true if a text, or the beginning of a file, has a PEM block of the kind that the property
/// is for. Also true if the file cannot be read.
fn has_pem(property: &str, value: &str, is_key: bool) -> bool {
    const MOST: u64 = 1 << 20;
    let mut content = Vec::new();
    if property.ends_with(".location") {
        let read = File::open(value).map(|file| file.take(MOST).read_to_end(&mut content));
        if !matches!(read, Ok(Ok(_))) {
            return true;
        }
    } else {
        content.extend_from_slice(value.as_bytes());
    }
    let content = String::from_utf8_lossy(&content);
    let ends: &[&str] = if is_key {
        &["PRIVATE KEY-----"]
    } else {
        &["CERTIFICATE-----", "X509 CRL-----"]
    };
    content.contains("-----BEGIN") && ends.iter().any(|end| content.contains(end))
}

/// Returns why a file cannot be read, as the system says. `None` if it has content.
fn problem_of_file(path: &str) -> Option<String> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Some(error.to_string()),
    };
    // librdkafka takes a directory for the CA certificates.
    if metadata.is_dir() {
        return Some("it is a directory".to_owned());
    }
    // Opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return None;
    }
    let read = File::open(path).and_then(|mut file| file.read(&mut [0]));
    match read {
        Err(error) => Some(error.to_string()),
        Ok(0) => Some("the file is empty".to_owned()),
        Ok(_) => None,
    }
}
