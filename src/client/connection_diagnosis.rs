//! Why no connection to a broker comes about: what librdkafka's texts say, taken apart.

use crate::error::{ConnectFailure, KafkaError, RDKafkaErrorCode};

/// Of an error of librdkafka; `flaw` is what is known to be wrong with the certificate of that
/// broker.
fn failure_of(
    code: RDKafkaErrorCode,
    text: &str,
    flaw: Option<ConnectFailure>,
) -> Option<ConnectFailure> {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    // OpenSSL's, of what the other side said: within the handshake, or after it since TLS 1.3.
    let is_refused = says(&["alert "]) && says(&["certificate", "unknown ca"]);
    match code {
        RDKafkaErrorCode::Authentication => Some(ConnectFailure::Authentication),
        RDKafkaErrorCode::SSL if is_refused => {
            Some(flaw.unwrap_or(ConnectFailure::ClientCertificate))
        }
        RDKafkaErrorCode::SSL => Some(flaw.unwrap_or(ConnectFailure::Tls)),
        RDKafkaErrorCode::Resolve => Some(ConnectFailure::UnknownHost),
        RDKafkaErrorCode::BrokerTransportFailure => {
            // The handshake ended on another way.
            if flaw.is_some() {
                flaw
            // The system's words; the second are those of Windows.
            } else if says(&["Connection refused", "actively refused"]) {
                Some(ConnectFailure::Refused)
            } else if is_refused {
                Some(ConnectFailure::ClientCertificate)
            // librdkafka's, of its first request, of the next ones and of the handshake.
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

/// What stands before librdkafka's text, where that does not say it.
fn explanation(failure: ConnectFailure) -> Option<&'static str> {
    match failure {
        ConnectFailure::UnknownCa => Some("the broker's certificate is of an unknown CA"),
        ConnectFailure::WrongHost => Some("the broker's certificate is of another host"),
        ConnectFailure::Expired => Some("the broker's certificate has expired"),
        ConnectFailure::Certificate => Some("the broker's certificate is not accepted"),
        ConnectFailure::ClientCertificate => {
            Some("the broker does not accept the client's certificate")
        }
        ConnectFailure::SecurityProtocol => Some("the broker may speak another security.protocol"),
        _ => None,
    }
}

/// What librdkafka's OpenSSL says of a certificate that did not pass.
const NOT_VERIFIED: &[&str] = &["certificate verify failed", "Failed to verify"];

/// The error of librdkafka's client, which shows its text without secrets, `shown`; `flaw_of` tells
/// what was wrong with the certificate of a broker when it was last looked at.
pub(crate) fn client_error(
    code: i32,
    text: &str,
    shown: &str,
    flaw_of: impl FnOnce(&str) -> Option<ConnectFailure>,
) -> KafkaError {
    let code = RDKafkaErrorCode::from(code);
    let is_certificate = NOT_VERIFIED.iter().any(|part| text.contains(part));
    let flaw = if is_certificate {
        flaw_of(broker_of(text)).or(Some(ConnectFailure::Certificate))
    } else {
        None
    };
    let Some(failure) = failure_of(code, text, flaw) else {
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

/// librdkafka takes every failed certificate for one of an unknown CA.
fn without_advice(text: &str) -> &str {
    const ADVICE: &str = ": broker certificate could not be verified";
    text.split_once(ADVICE).map_or(text, |(text, _)| text)
}

/// Which broker a text is about, as `host:port`: before the first colon with a space stands its name,
/// say `sasl_ssl://host:9092/bootstrap`. Of a text about none, whatever stands there.
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
    fn brokers_are_known_by_host_and_port() {
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
    fn the_flaw_of_a_certificate_counts_where_the_text_is_about_it() {
        let flaw_of = |broker: &str| (broker == "h:1").then_some(ConnectFailure::Expired);
        let code = RDKafkaErrorCode::SSL.raw();
        let failure = |text: &str| client_error(code, text, "", flaw_of).connect_failure();
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
        // As TLS 1.2 has it.
        assert_eq!(
            failure("ssl://h:1/1: SSL handshake failed: SSL routines::tlsv1 alert unknown ca"),
            Some(ConnectFailure::ClientCertificate)
        );
    }

    #[test]
    fn a_failed_certificate_may_come_as_a_lost_connection() {
        let text = "ssl://h:1/bootstrap: error:0A000086:SSL routines::certificate verify failed \
                    (after 3ms in state SSL_HANDSHAKE)";
        let error = client_error(TRANSPORT.raw(), text, text, |_| {
            Some(ConnectFailure::Expired)
        });
        assert_eq!(error.connect_failure(), Some(ConnectFailure::Expired));
        assert!(!error.is_retriable() && error.to_string().contains("has expired"));
    }

    #[test]
    fn what_is_not_shown_counts_too() {
        let flaw_of = |broker: &str| (broker == "kafka-1:9093").then_some(ConnectFailure::Expired);
        let code = RDKafkaErrorCode::SSL.raw();
        let behind = "-1:9093/1: SSL handshake failed: certificate verify failed";
        let (text, shown) = (
            format!("ssl://kafka{behind}"),
            format!("ssl://[redacted]{behind}"),
        );
        let error = client_error(code, &text, &shown, flaw_of);
        assert_eq!(error.connect_failure(), Some(ConnectFailure::Expired));
        assert!(error.to_string().contains(&shown), "{error}");
    }

    #[test]
    fn texts_of_a_lost_connection_tell_what_they_can() {
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
