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
        _ => None,
    }
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
        Some(explanation) => format!("{explanation}: {}", without_advice(shown)),
        None => shown.to_owned(),
    };
    KafkaError::connect(failure, code, text)
}

/// Cuts off librdkafka's advice, which assumes an unknown CA for every refused certificate.
fn without_advice(text: &str) -> &str {
    const ADVICE: &str = ": broker certificate could not be verified";
    text.split_once(ADVICE).map_or(text, |(text, _)| text)
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
}
