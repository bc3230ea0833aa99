//! `ready`, with TLS and logins.

use std::env;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tokio_rdkafka::{
    ClientConfig, ClientContext, ConnectFailure, DeliveryResult, KafkaError, Producer,
    ProducerContext, RDKafkaErrorCode, RDKafkaLogLevel, TransactionalProducer,
};

use crate::support::logins::Locked;
use crate::support::trials::Module;

/// The time within which a lasting failure must be reported.
const DEADLINE: Duration = Duration::from_secs(30);

const MODULE: Module = Module("ready");

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_right_certificate_is_ready", right_certificate),
        trial("right_logins_are_ready", right_logins),
        trial("a_wrong_password_is_reported", wrong_password),
        trial("a_missing_token_is_reported", missing_token),
        trial("an_unknown_ca_is_reported", unknown_ca),
        trial("the_certificate_of_another_host_is_reported", wrong_host),
        trial("an_expired_certificate_is_reported", expired),
        trial("what_is_not_verified_is_accepted", unverified),
        trial(
            "a_missing_client_certificate_is_reported",
            client_certificate,
        ),
        trial("another_protocol_is_reported", protocol),
        trial("one_that_is_right_is_enough", one_is_enough),
        trial("a_transactional_producer_is_reported", transactional),
    ]
}

fn trial<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    MODULE
        .trial(name, |_| test())
        .with_ignored_flag(!Locked::is_there())
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} of tests/with-kafka"))
}

fn tls_file(name: &str) -> String {
    format!("{}/{name}", var("KAFKA_TLS_DIR"))
}

/// All texts that a client reports.
#[derive(Default)]
struct Recorded {
    lines: Mutex<Vec<String>>,
    failures: Mutex<Vec<ConnectFailure>>,
}

impl Recorded {
    fn record(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

impl ClientContext for Recorded {
    fn log(&self, _: RDKafkaLogLevel, _: &str, message: &str) {
        self.record(message.to_owned());
    }

    fn error(&self, error: &KafkaError) {
        self.record(format!("{error} {error:?}"));
        let mut failures = self.failures.lock().unwrap();
        failures.extend(error.connect_failure());
    }
}

impl ProducerContext for Recorded {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// A client of that listener: of each of the three nodes, or of one.
fn client(listener: &str, nodes: usize, protocol: &str) -> ClientConfig {
    let servers = var(&format!("KAFKA_{listener}BOOTSTRAP_SERVERS"));
    let servers: Vec<&str> = servers.split(',').take(nodes).collect();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers.join(","))
        .set("security.protocol", protocol);
    if protocol.ends_with("ssl") {
        config.set("ssl.ca.location", tls_file("ca.pem"));
    }
    config
}

fn login(nodes: usize, mechanism: &str, user: &str, password: &str) -> ClientConfig {
    let mut config = client("SASL_SSL_", nodes, "sasl_ssl");
    config
        .set("sasl.mechanism", mechanism)
        .set("sasl.username", user)
        .set("sasl.password", password);
    config
}

async fn is_ready(config: &ClientConfig) {
    let producer: Producer = config.create().unwrap();
    producer.ready(DEADLINE).await.unwrap();
    producer.close().await;
}

/// The failure is reported in time, to the context too, and again when librdkafka suppresses it.
async fn is_reported(config: &ClientConfig, failure: ConnectFailure) -> KafkaError {
    let recorded = Arc::new(Recorded::default());
    let producer: Producer<_> = config.create_with_context(Arc::clone(&recorded)).unwrap();
    for _ in 0..3 {
        let started = Instant::now();
        let error = producer.ready(DEADLINE).await.unwrap_err();
        let took = started.elapsed();
        println!("{took:?}: {error}");
        assert_eq!(error.connect_failure(), Some(failure), "{error:?}");
        assert!(!error.is_timed_out() && took < DEADLINE, "{took:?}");
        recorded.record(format!("{error} {error:?}"));
    }
    // Nobody asks any more.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let error = producer.ready(DEADLINE).await.unwrap_err();
    assert_eq!(error.connect_failure(), Some(failure), "{error:?}");
    producer.close().await;
    if let Some(password) = config.get("sasl.password") {
        let lines = recorded.lines.lock().unwrap();
        assert!(lines.iter().all(|line| !line.contains(password)));
    }
    let failures = recorded.failures.lock().unwrap();
    assert!(
        failures.iter().all(|recorded| *recorded == failure),
        "{failures:?}"
    );
    error
}

async fn right_certificate() {
    is_ready(&client("SSL_", 3, "ssl")).await;
    let mut config = client("MTLS_", 3, "ssl");
    config
        .set("ssl.certificate.location", tls_file("client.pem"))
        .set("ssl.key.location", tls_file("client.key"));
    is_ready(&config).await;
}

async fn right_logins() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let password = var("KAFKA_WRITER_PASSWORD");
        is_ready(&login(3, mechanism, "writer", &password)).await;
    }
}

async fn wrong_password() {
    for (nodes, mechanism, user) in [
        (1, "PLAIN", "writer"),
        (3, "PLAIN", "nobody"),
        (1, "SCRAM-SHA-256", "writer"),
        (3, "SCRAM-SHA-512", "writer"),
    ] {
        let config = login(nodes, mechanism, user, "not-the-password");
        let error = is_reported(&config, ConnectFailure::Authentication).await;
        assert_eq!(error.code(), Some(RDKafkaErrorCode::Authentication));
        assert!(!error.is_retriable());
    }
}

async fn missing_token() {
    let mut config = client("SASL_SSL_", 1, "sasl_ssl");
    config
        .set("sasl.mechanism", "OAUTHBEARER")
        .set("enable.sasl.oauthbearer.unsecure.jwt", "true")
        // Without its principal.
        .set("sasl.oauthbearer.config", "lifeSeconds=60");
    is_reported(&config, ConnectFailure::Authentication).await;
}

async fn unknown_ca() {
    for nodes in [1, 3] {
        let mut config = client("SSL_", nodes, "ssl");
        config.set("ssl.ca.location", tls_file("other-ca.pem"));
        let error = is_reported(&config, ConnectFailure::UnknownCa).await;
        assert!(!error.is_retriable());
        assert!(error.to_string().contains("unknown CA"), "{error}");
    }
    // That of the system's store.
    let mut config = client("SSL_", 3, "ssl");
    config.remove("ssl.ca.location");
    is_reported(&config, ConnectFailure::UnknownCa).await;
}

async fn wrong_host() {
    for nodes in [1, 3] {
        let config = client("SSL_WRONG_HOST_", nodes, "ssl");
        let error = is_reported(&config, ConnectFailure::WrongHost).await;
        assert!(error.to_string().contains("another host"), "{error}");
        // librdkafka raises either, depending on which of its calls gets the answer of OpenSSL.
        let codes = [
            RDKafkaErrorCode::SSL,
            RDKafkaErrorCode::BrokerTransportFailure,
        ];
        assert!(
            error.code().is_some_and(|it| codes.contains(&it)),
            "{error}"
        );
    }
    let mut config = client("SSL_WRONG_HOST_", 3, "ssl");
    config.set("ssl.endpoint.identification.algorithm", "none");
    is_ready(&config).await;
}

async fn expired() {
    for nodes in [1, 3] {
        let config = client("SSL_EXPIRED_", nodes, "ssl");
        let error = is_reported(&config, ConnectFailure::Expired).await;
        assert!(error.to_string().contains("has expired"), "{error}");
        assert!(!error.to_string().contains("ssl.ca.location"), "{error}");
    }
}

/// The callback is no stricter than the configuration.
async fn unverified() {
    for listener in ["SSL_EXPIRED_", "SSL_WRONG_HOST_"] {
        let mut config = client(listener, 3, "ssl");
        config.set("enable.ssl.certificate.verification", "false");
        is_ready(&config).await;
    }
}

async fn client_certificate() {
    for nodes in [1, 3] {
        let config = client("MTLS_", nodes, "ssl");
        is_reported(&config, ConnectFailure::ClientCertificate).await;
        let mut config = client("MTLS_", nodes, "ssl");
        config
            .set("ssl.certificate.location", tls_file("other-client.pem"))
            .set("ssl.key.location", tls_file("other-client.key"));
        is_reported(&config, ConnectFailure::ClientCertificate).await;
    }
}

async fn protocol() {
    for (listener, protocol) in [
        ("SSL_", "plaintext"),
        ("SASL_SSL_", "plaintext"),
        ("", "ssl"),
    ] {
        let config = client(listener, 3, protocol);
        let error = is_reported(&config, ConnectFailure::SecurityProtocol).await;
        assert!(error.to_string().contains("security.protocol"), "{error}");
    }
    let mut config = client("", 3, "sasl_plaintext");
    config
        .set("sasl.mechanism", "PLAIN")
        .set("sasl.username", "writer")
        .set("sasl.password", "any");
    let error = is_reported(&config, ConnectFailure::SecurityProtocol).await;
    assert!(error.to_string().contains("security.protocol"), "{error}");
    // This broker says which requests it takes, and then takes none without a login: it may as well
    // have gone away.
    let producer: Producer = client("SASL_SSL_", 3, "ssl").create().unwrap();
    let error = producer.ready(DEADLINE).await.unwrap_err();
    assert!(
        error.connect_failure().is_none() && !error.is_timed_out(),
        "{error:?}"
    );
    assert!(error.to_string().contains("in state UP"), "{error}");
    producer.close().await;
}

async fn one_is_enough() {
    let mut config = client("SSL_", 1, "ssl");
    let expired = client("SSL_EXPIRED_", 1, "ssl");
    for _ in 0..5 {
        let servers = [&expired, &config].map(|config| config.get("bootstrap.servers").unwrap());
        let servers = servers.join(",");
        let mut both = config.clone();
        both.set("bootstrap.servers", servers);
        is_ready(&both).await;
    }
    config.set("bootstrap.servers", "127.0.0.1:1");
    is_reported(&config, ConnectFailure::Refused).await;
}

async fn transactional() {
    let mut config = client("SSL_EXPIRED_", 3, "ssl");
    config.set("transactional.id", "kafka-ready");
    let producer: TransactionalProducer = config.create().unwrap();
    let error = producer.ready(DEADLINE).await.unwrap_err();
    assert_eq!(error.connect_failure(), Some(ConnectFailure::Expired));
    config.set(
        "bootstrap.servers",
        client("SSL_", 3, "ssl").get("bootstrap.servers").unwrap(),
    );
    let mut producer: TransactionalProducer = config.create().unwrap();
    producer.ready(DEADLINE).await.unwrap();
    producer.init(DEADLINE).await.unwrap();
    producer.close().await;
}
