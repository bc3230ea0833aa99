//! The listeners with TLS and logins of the cluster that `tests/with-kafka` started; its usage
//! tells of users and rights.

use std::env;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio_rdkafka::ClientConfig;

/// May do everything. The client's certificates are of this user.
pub const WRITER: &str = "writer";

/// Must not write to topics that begin with [`GUARDED`].
pub const READER: &str = "reader";

/// What the names of topics and transactional ids begin with on which the writer alone has all
/// rights.
pub const GUARDED: &str = "guarded-";

/// The mechanisms by which the users log in with their passwords.
pub const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

#[derive(Debug)]
pub struct Locked {
    tls: PathBuf,
}

impl Locked {
    /// Whether there is such a cluster, and a librdkafka that can do TLS.
    pub fn is_there() -> bool {
        cfg!(feature = "ssl") && env::var_os("KAFKA_TLS_DIR").is_some()
    }

    pub fn from_env() -> Self {
        let tls = PathBuf::from(variable("KAFKA_TLS_DIR"));
        Self { tls }
    }

    /// The path of a key or a certificate.
    pub fn file(&self, name: &str) -> String {
        let path = self.tls.join(name);
        assert!(path.exists(), "{}", path.display());
        path.into_os_string().into_string().expect("text")
    }

    /// A key or a certificate.
    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).expect("a file")
    }

    /// What must never be seen in any output: passwords, and the client's key by a line of it.
    pub fn secrets(&self) -> Vec<String> {
        let key = self.text("client.key");
        let line = key.lines().nth(1).expect("a line of the key");
        vec![
            line.to_owned(),
            key_password(),
            password(WRITER),
            password(READER),
        ]
    }

    /// TLS without a client's certificate: any client may do everything.
    pub fn ssl(&self) -> ClientConfig {
        self.config("KAFKA_SSL_BOOTSTRAP_SERVERS", "ssl")
    }

    /// The same, with the CA given as text.
    pub fn ssl_pem(&self) -> ClientConfig {
        let mut config = self.ssl();
        config
            .remove("ssl.ca.location")
            .set("ssl.ca.pem", self.text("ca.pem"));
        config
    }

    /// TLS, with the brokers' certificates checked by a CA that did not sign them.
    pub fn ssl_unknown_ca(&self) -> ClientConfig {
        let mut config = self.ssl();
        config.set("ssl.ca.location", self.file("other-ca.pem"));
        config
    }

    /// TLS with brokers whose certificates have expired.
    pub fn ssl_expired(&self) -> ClientConfig {
        self.config("KAFKA_SSL_EXPIRED_BOOTSTRAP_SERVERS", "ssl")
    }

    /// TLS with brokers that have the certificate of another host.
    pub fn ssl_wrong_host(&self) -> ClientConfig {
        self.config("KAFKA_SSL_WRONG_HOST_BOOTSTRAP_SERVERS", "ssl")
    }

    /// TLS with brokers that want a client's certificate, without one.
    pub fn mtls_without_certificate(&self) -> ClientConfig {
        self.config("KAFKA_MTLS_BOOTSTRAP_SERVERS", "ssl")
    }

    /// TLS with the writer's certificate.
    pub fn mtls(&self) -> ClientConfig {
        let mut config = self.mtls_without_certificate();
        config
            .set("ssl.certificate.location", self.file("client.pem"))
            .set("ssl.key.location", self.file("client.key"));
        config
    }

    /// The same, with the key encrypted.
    pub fn mtls_encrypted_key(&self) -> ClientConfig {
        let mut config = self.mtls();
        config
            .set("ssl.key.location", self.file("client-encrypted.key"))
            .set("ssl.key.password", key_password());
        config
    }

    /// The same, with everything given as text instead of by path.
    pub fn mtls_pem(&self) -> ClientConfig {
        let mut config = self.mtls_without_certificate();
        config
            .remove("ssl.ca.location")
            .set("ssl.ca.pem", self.text("ca.pem"))
            .set("ssl.certificate.pem", self.text("client.pem"))
            .set("ssl.key.pem", self.text("client.key"));
        config
    }

    /// A login with the user's password.
    pub fn login(&self, mechanism: &str, user: &str) -> ClientConfig {
        self.login_with(mechanism, user, &password(user))
    }

    /// A login with whatever password.
    pub fn login_with(&self, mechanism: &str, user: &str, password: &str) -> ClientConfig {
        let mut config = self.sasl_ssl(mechanism);
        config
            .set("sasl.username", user)
            .set("sasl.password", password);
        config
    }

    /// A login by tokens that librdkafka makes itself.
    pub fn login_unsecured(&self, user: &str) -> ClientConfig {
        let mut config = self.sasl_ssl("OAUTHBEARER");
        config
            .set("enable.sasl.oauthbearer.unsecure.jwt", "true")
            .set("sasl.oauthbearer.config", format!("principal={user}"));
        config
    }

    /// Whether there is a KDC, too.
    pub fn has_kerberos() -> bool {
        cfg!(feature = "gssapi") && Self::is_there() && env::var_os("KAFKA_KRB5_DIR").is_some()
    }

    /// A login of the writer by Kerberos, with the keys in that keytab.
    pub fn kerberos(&self, keytab: &str) -> ClientConfig {
        let keytab = format!("{}/{keytab}.keytab", variable("KAFKA_KRB5_DIR"));
        let mut config = ClientConfig::new();
        config
            .set(
                "bootstrap.servers",
                variable("KAFKA_GSSAPI_BOOTSTRAP_SERVERS"),
            )
            .set("security.protocol", "sasl_plaintext")
            .set("sasl.mechanisms", "GSSAPI")
            .set("sasl.kerberos.principal", WRITER)
            .set("sasl.kerberos.keytab", keytab);
        config
    }

    /// Where a process is to keep its tickets, for itself.
    pub fn tickets(name: &str) -> String {
        format!("FILE:{}/tickets-{name}", variable("KAFKA_TLS_DIR"))
    }

    /// Where logins are wanted, by this mechanism, with nothing to log in with.
    pub fn sasl_ssl(&self, mechanism: &str) -> ClientConfig {
        let mut config = self.config("KAFKA_SASL_SSL_BOOTSTRAP_SERVERS", "sasl_ssl");
        config.set("sasl.mechanisms", mechanism);
        config
    }

    fn config(&self, bootstrap_servers: &str, protocol: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", variable(bootstrap_servers))
            .set("security.protocol", protocol)
            .set("ssl.ca.location", self.file("ca.pem"))
            .set("linger.ms", "0");
        config
    }
}

/// The claims of a token that the brokers take from this user until its time is over.
pub fn claims(user: &str, lifetime: Duration) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a time since 1970");
    let (issued, expires) = (now.as_secs(), (now + lifetime).as_secs());
    format!(r#"{{"sub":"{user}","iat":{issued},"exp":{expires}}}"#)
}

fn password(user: &str) -> String {
    variable(&format!("KAFKA_{}_PASSWORD", user.to_uppercase()))
}

fn key_password() -> String {
    variable("KAFKA_TLS_KEY_PASSWORD")
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
