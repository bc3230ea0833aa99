//! Why a connection to a broker fails.

/// Why a connection to a broker does not come about, as far as that can be told:
/// [`KafkaError::connect_failure`].
///
/// A broker that cannot be reached may be there a moment later. The rest does not go away by itself:
/// somebody has to change the configuration, or a certificate.
///
/// Source: the codes `_AUTHENTICATION`, `_SSL`, `_RESOLVE` and `_TRANSPORT` of librdkafka's error
/// events, and their texts; of certificates OpenSSL's own verdict, through `ssl_cert_verify_cb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// The broker did not let the client log in: a wrong password, an unknown user, a mechanism that
    /// it does not have, a token that is not valid, or none. Brokers do not tell wrong passwords from
    /// unknown users.
    Authentication,
    /// The broker's certificate is of a CA that is not known here (`ssl.ca.location`).
    UnknownCa,
    /// The broker's certificate is of another host than the one connected to.
    WrongHost,
    /// The broker's certificate has expired, or one of those that vouch for it.
    Expired,
    /// The broker's certificate is not accepted for another reason, say because it is not valid yet.
    Certificate,
    /// The broker does not accept the client's certificate, or asks for one where there is none.
    ClientCertificate,
    /// The TLS handshake failed for another reason.
    Tls,
    /// There is no address for the name of the broker's host.
    UnknownHost,
    /// Nobody listens on the broker's port.
    Refused,
    /// The broker closed the connection at the first words: mostly, it speaks another
    /// `security.protocol` on this port.
    SecurityProtocol,
}

impl ConnectFailure {
    /// Whether it stays as it is until somebody does something about it.
    pub(crate) fn is_lasting(self) -> bool {
        !matches!(
            self,
            Self::UnknownHost | Self::Refused | Self::SecurityProtocol
        )
    }
}
