//! The reasons for which a connection to a broker fails.

/// Why a connection to a broker fails: [`KafkaError::connect_failure`].
///
/// [`UnknownHost`](Self::UnknownHost), [`Refused`](Self::Refused) and
/// [`SecurityProtocol`](Self::SecurityProtocol) may go away by themselves, for instance when a
/// broker has started. The others need a change of the configuration, of the user's rights or of a
/// certificate.
///
/// Sources: the codes `_AUTHENTICATION`, `_SSL`, `_RESOLVE` and `_TRANSPORT` of librdkafka's error
/// events with their texts, and OpenSSL's verdict on a certificate (`ssl_cert_verify_cb`).
///
/// [`KafkaError::connect_failure`]: crate::KafkaError::connect_failure
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// The broker rejected the login: a wrong password, an unknown user, a mechanism that it does
    /// not support, or an invalid or missing token. Brokers do not distinguish wrong passwords from
    /// unknown users.
    Authentication,
    /// No trusted CA has signed the broker's certificate. Set `ssl.ca.location` to the CA's
    /// certificate.
    UnknownCa,
    /// The broker's certificate is for another host name than that of the connection.
    WrongHost,
    /// The broker's certificate, or one of the chain that signed it, has expired.
    Expired,
    /// The broker's certificate was rejected for another reason, for instance because it is not
    /// valid yet.
    Certificate,
    /// The broker rejected the client's certificate, or requires one and got none.
    ClientCertificate,
    /// The TLS handshake failed for another reason.
    Tls,
    /// The name of the broker's host has no address.
    UnknownHost,
    /// The broker's host refused the connection: nothing listens on the port.
    Refused,
    /// The broker closed the connection during the first exchange. Mostly its listener has another
    /// `security.protocol`.
    SecurityProtocol,
    /// The server answered in another protocol than Kafka's, for instance in HTTP. Mostly
    /// `bootstrap.servers` has the port of another service.
    NotKafka,
}

impl ConnectFailure {
    /// Returns true if the failure lasts until somebody removes its cause.
    pub(crate) fn is_lasting(self) -> bool {
        !matches!(
            self,
            Self::UnknownHost | Self::Refused | Self::SecurityProtocol
        )
    }
}
