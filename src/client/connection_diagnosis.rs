//! Finds out from librdkafka's error texts why a connection to a broker failed.

use crate::error::{ConnectFailure, KafkaError, RDKafkaErrorCode};

/// Classifies an error of librdkafka. `certificate` says why the broker's certificate was refused,
/// if the error is about it.
fn failure_of(
    code: RDKafkaErrorCode,
    text: &str,
    certificate: Option<ConnectFailure>,
) -> Option<ConnectFailure> {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    // OpenSSL's words for an alert of the broker: in the handshake, or with TLS 1.3 after it.
    let is_refused = says(&["alert "]) && says(&["certificate", "unknown ca"]);
    match code {
        // A listener without logins knows no request of a login (ILLEGAL_SASL_STATE).
        RDKafkaErrorCode::Authentication if says(&["Request not valid in current SASL state"]) => {
            Some(ConnectFailure::SecurityProtocol)
        }
        RDKafkaErrorCode::Authentication => Some(ConnectFailure::Authentication),
        RDKafkaErrorCode::SSL if is_refused => {
            Some(certificate.unwrap_or(ConnectFailure::ClientCertificate))
        }
        RDKafkaErrorCode::SSL => Some(certificate.unwrap_or(ConnectFailure::Tls)),
        RDKafkaErrorCode::Resolve => Some(ConnectFailure::UnknownHost),
        RDKafkaErrorCode::BrokerTransportFailure => {
            // The handshake failed, and librdkafka reported a lost connection.
            if certificate.is_some() {
                certificate
            // The operating system's words; the second are those of Windows.
            } else if says(&["Connection refused", "actively refused"]) {
                Some(ConnectFailure::Refused)
            } else if is_refused {
                Some(ConnectFailure::ClientCertificate)
            // librdkafka's words for its first request, for later ones and for the handshake.
            } else if says(&[
                "in state APIVERSION_QUERY",
                "security.protocol",
                "PLAINTEXT broker listener",
            ]) || (says(&["closed by peer", "reset by peer"])
                && says(&["in state SSL_HANDSHAKE"]))
            {
                Some(ConnectFailure::SecurityProtocol)
            } else {
                None
            }
        }
        RDKafkaErrorCode::BadMessage => match response_size(text)?.to_be_bytes() {
            // A TLS record: an alert, or a part of a handshake.
            [0x15 | 0x16, 3, ..] => Some(ConnectFailure::SecurityProtocol),
            _ if says(&["in state APIVERSION_QUERY"]) => Some(ConnectFailure::NotKafka),
            // librdkafka's next try assumes a broker without ApiVersions, and so one that is up.
            // No response has a size of 512 MiB, which are four spaces.
            start if start.iter().all(|byte| matches!(byte, b' '..=b'~')) => {
                Some(ConnectFailure::NotKafka)
            }
            _ => None,
        },
        _ => None,
    }
}

/// librdkafka's words for a response whose size cannot be true.
const INVALID_SIZE: &str = "Invalid response size ";

/// Returns the size of a response that librdkafka took for invalid. It is the first four bytes of
/// the response.
fn response_size(text: &str) -> Option<i32> {
    let (_, size) = text.split_once(INVALID_SIZE)?;
    size.split(' ').next()?.parse().ok()
}

/// Returns an explanation to put before librdkafka's text, if that does not explain itself.
fn explanation(failure: ConnectFailure) -> Option<&'static str> {
    match failure {
        ConnectFailure::UnknownCa => Some("the broker's certificate is of an unknown CA"),
        ConnectFailure::WrongHost => Some("the broker's certificate is of another host"),
        ConnectFailure::Expired => Some("the broker's certificate has expired"),
        ConnectFailure::Certificate => Some("the broker's certificate was refused"),
        ConnectFailure::ClientCertificate => {
            Some("the broker does not accept the client's certificate")
        }
        ConnectFailure::SecurityProtocol => Some("the broker may use another security.protocol"),
        ConnectFailure::NotKafka => Some("the server on this port does not speak Kafka's protocol"),
        _ => None,
    }
}

/// OpenSSL's words for a certificate that was refused.
const NOT_VERIFIED: &[&str] = &["certificate verify failed", "Failed to verify"];

/// Returns a client-level error with its diagnosis.
///
/// `text` is librdkafka's, and `shown` the same without secrets. `certificate_failure` returns why
/// a broker's certificate was last refused.
pub(crate) fn client_error(
    code: i32,
    text: &str,
    shown: &str,
    certificate_failure: impl FnOnce(&str) -> Option<ConnectFailure>,
) -> KafkaError {
    let code = RDKafkaErrorCode::from(code);
    let is_certificate = NOT_VERIFIED.iter().any(|part| text.contains(part));
    let certificate = if is_certificate {
        certificate_failure(broker_of(text)).or(Some(ConnectFailure::Certificate))
    } else {
        None
    };
    let Some(failure) = failure_of(code, text, certificate) else {
        return KafkaError::with_text(code, shown);
    };
    let text = match explanation(failure) {
        Some(explanation) if failure == ConnectFailure::UnknownCa => {
            format!("{explanation}: {shown}")
        }
        Some(explanation) => {
            let is_http = response_size(text) == Some(i32::from_be_bytes(*b"HTTP"));
            let protocol = if is_http { " but HTTP" } else { "" };
            format!("{explanation}{protocol}: {}", without_advice(shown))
        }
        None => shown.to_owned(),
    };
    KafkaError::connect(failure, code, text)
}

/// Cuts off librdkafka's advice, which would mislead: it assumes an unknown CA for every refused
/// certificate, and a large response for every invalid size.
fn without_advice(text: &str) -> &str {
    const ADVICE: [&str; 2] = [
        ": broker certificate could not be verified",
        ": increase receive.message.max.bytes",
    ];
    let advice = ADVICE.iter().find_map(|advice| text.find(advice));
    &text[..advice.unwrap_or(text.len())]
}

/// Returns the `host:port` of the broker that a text is about.
///
/// librdkafka puts the broker's name first, as `sasl_ssl://host:9092/bootstrap: `. If the text is
/// about no broker, the result is some other part of it.
pub(crate) fn broker_of(text: &str) -> &str {
    let name = text.split_once(": ").map_or(text, |(name, _)| name);
    let address = name.split_once("://").map_or(name, |(_, address)| address);
    address.rsplit_once('/').map_or(address, |(node, _)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSPORT: RDKafkaErrorCode = RDKafkaErrorCode::BrokerTransportFailure;

    #[test]
    fn a_text_names_its_broker_by_host_and_port() {
        for (text, broker) in [
            ("127.0.0.1:1/bootstrap: Connect failed", "127.0.0.1:1"),
            ("ssl://[::1]:9093/1: SSL handshake failed: x", "[::1]:9093"),
            ("sasl_ssl://a.b:9094/12: SASL: x/y", "a.b:9094"),
            ("TxnCoordinator: a:1: Connect failed", "TxnCoordinator"),
            ("2/2 brokers are down", "2"),
        ] {
            assert_eq!(broker_of(text), broker);
        }
    }

    #[test]
    fn a_text_about_a_certificate_gets_the_reason_of_its_refusal() {
        let certificate = |broker: &str| (broker == "h:1").then_some(ConnectFailure::Expired);
        let code = RDKafkaErrorCode::SSL.raw();
        let failure = |text: &str| client_error(code, text, "", certificate).connect_failure();
        let not_verified =
            "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed";
        assert_eq!(
            failure(&format!("ssl://h:1/bootstrap: {not_verified}")),
            Some(ConnectFailure::Expired)
        );
        assert_eq!(
            failure(&format!("ssl://h:2/bootstrap: {not_verified}")),
            Some(ConnectFailure::Certificate)
        );
        assert_eq!(
            failure("ssl://h:1/bootstrap: SSL handshake failed: wrong version number"),
            Some(ConnectFailure::Tls)
        );
        // The text with TLS 1.2.
        assert_eq!(
            failure("ssl://h:1/1: SSL handshake failed: SSL routines::tlsv1 alert unknown ca"),
            Some(ConnectFailure::ClientCertificate)
        );
    }

    #[test]
    fn a_lost_connection_may_be_due_to_a_certificate() {
        let text = "ssl://h:1/bootstrap: error:0A000086:SSL routines::certificate verify failed \
                    (after 3ms in state SSL_HANDSHAKE)";
        let error = client_error(TRANSPORT.raw(), text, text, |_| {
            Some(ConnectFailure::Expired)
        });
        assert_eq!(error.connect_failure(), Some(ConnectFailure::Expired));
        assert!(!error.is_retriable() && error.to_string().contains("has expired"));
    }

    #[test]
    fn the_diagnosis_uses_parts_of_the_text_that_are_not_shown() {
        let certificate =
            |broker: &str| (broker == "kafka-1:9093").then_some(ConnectFailure::Expired);
        let code = RDKafkaErrorCode::SSL.raw();
        let behind = "-1:9093/1: SSL handshake failed: certificate verify failed";
        let (text, shown) = (
            format!("ssl://kafka{behind}"),
            format!("ssl://[redacted]{behind}"),
        );
        let error = client_error(code, &text, &shown, certificate);
        assert_eq!(error.connect_failure(), Some(ConnectFailure::Expired));
        assert!(error.to_string().contains(&shown), "{error}");
    }

    #[test]
    fn a_lost_connection_is_classified_by_its_text() {
        let failure = |text: &str| failure_of(TRANSPORT, text, None);
        assert_eq!(
            failure("h:1/bootstrap: Connect to ipv4#h:1 failed: Connection refused"),
            Some(ConnectFailure::Refused)
        );
        assert_eq!(
            failure("SSL alert number 42: ssl/tls alert bad certificate"),
            Some(ConnectFailure::ClientCertificate)
        );
        assert_eq!(
            failure("h:1/bootstrap: Disconnected (after 1ms in state APIVERSION_QUERY)"),
            Some(ConnectFailure::SecurityProtocol)
        );
        let closed = "ssl://h:1/bootstrap: Disconnected: SSL connection closed by peer (after 1ms";
        assert_eq!(
            failure(&format!("{closed} in state SSL_HANDSHAKE)")),
            Some(ConnectFailure::SecurityProtocol)
        );
        assert_eq!(failure(&format!("{closed} in state UP)")), None);
        assert_eq!(failure("h:1/1: Disconnected (after 9ms in state UP)"), None);
    }

    /// From a listener of Kafka without logins, by PLAIN and by SCRAM.
    #[test]
    fn a_listener_without_logins_has_another_protocol() {
        let failure = |text: &str| failure_of(RDKafkaErrorCode::Authentication, text, None);
        for text in [
            "sasl_plaintext://h:1/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Request \
             not valid in current SASL state: broker's supported mechanisms: (empty) (after 1ms in \
             state AUTH_HANDSHAKE)",
            "sasl_plaintext://h:1/bootstrap: SASL SCRAM-SHA-256 mechanism handshake failed: Broker: \
             Request not valid in current SASL state: broker's supported mechanisms: (empty)",
        ] {
            assert_eq!(failure(text), Some(ConnectFailure::SecurityProtocol));
        }
        let wrong = "sasl_ssl://h:1/bootstrap: SASL authentication error: Authentication failed";
        assert_eq!(failure(wrong), Some(ConnectFailure::Authentication));
    }

    #[test]
    fn a_response_of_another_protocol_is_told_by_its_first_bytes() {
        let error = |start: &[u8; 4], state: &str| {
            let text = format!(
                "h:1/bootstrap: Receive failed: Invalid response size {} (0..100000000): increase \
                 receive.message.max.bytes (after 1ms in state {state})",
                i32::from_be_bytes(*start)
            );
            client_error(RDKafkaErrorCode::BadMessage.raw(), &text, &text, |_| None)
        };
        for state in ["APIVERSION_QUERY", "UP"] {
            let http = error(b"HTTP", state);
            assert_eq!(http.connect_failure(), Some(ConnectFailure::NotKafka));
            assert!(!http.is_retriable());
            let text = http.to_string();
            assert!(text.contains("h:1") && text.contains("HTTP"), "{text}");
            assert!(!text.contains("receive.message.max.bytes"), "{text}");
            let ssh = error(b"SSH-", state);
            assert_eq!(ssh.connect_failure(), Some(ConnectFailure::NotKafka));
            assert!(!ssh.to_string().contains("HTTP"), "{ssh}");
            let tls = error(&[0x15, 3, 3, 0], state).connect_failure();
            assert_eq!(tls, Some(ConnectFailure::SecurityProtocol));
        }
        let binary = |state| error(&[0xff, 0, 0, 1], state).connect_failure();
        assert_eq!(binary("APIVERSION_QUERY"), Some(ConnectFailure::NotKafka));
        // It may be a broker's large response.
        assert_eq!(binary("UP"), None);
        let large = error(&[0x10, 0, 0, 0], "UP").to_string();
        assert!(large.contains("receive.message.max.bytes"), "{large}");
    }
}
