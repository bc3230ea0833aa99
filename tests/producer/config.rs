//! The configuration: every error names the property, and no secret shows.

use tokio_rdkafka::{BaseProducer, ClientConfig, KafkaError, Producer, RDKafkaLogLevel};

fn create(properties: &[(&str, &str)]) -> Result<BaseProducer, KafkaError> {
    let mut config: ClientConfig = [("bootstrap.servers", "127.0.0.1:1")].into_iter().collect();
    config.set_log_level(RDKafkaLogLevel::Emerg);
    config.extend(properties.iter().copied());
    config.create()
}

/// The error names the property, and does not show the value.
fn names(properties: &[(&str, &str)], property: &str, value: &str) {
    let error = create(properties).unwrap_err();
    assert!(error.to_string().contains(property), "{error}");
    assert_eq!(error.field(), Some(property));
    assert!(
        value.is_empty() || !format!("{error} {error:?}").contains(value),
        "{error:?}"
    );
}

#[test]
fn an_unknown_property_is_named() {
    names(
        &[("no.such.property", "s3cret")],
        "no.such.property",
        "s3cret",
    );
}

#[test]
fn a_bad_value_names_its_property() {
    names(&[("linger.ms", "87654321")], "linger.ms", "87654321");
    names(&[("linger.ms", "s3cret")], "linger.ms", "s3cret");
    names(
        &[("enable.idempotence", "perhaps")],
        "enable.idempotence",
        "perhaps",
    );
    names(
        &[("compression.type", "s3cret")],
        "compression.type",
        "s3cret",
    );
    names(&[("message.timeout.ms", "-5")], "message.timeout.ms", "-5");
    names(&[("linger.ms", "")], "linger.ms", "");
}

#[test]
fn a_range_is_reported() {
    let error = create(&[("linger.ms", "87654321")]).unwrap_err();
    assert!(error.to_string().contains("0..900"), "{error}");
}

#[test]
fn a_missing_property_is_named() {
    let error = ClientConfig::new().create::<BaseProducer>().unwrap_err();
    assert_eq!(error.field(), Some("bootstrap.servers"));
    assert!(
        error.to_string().contains("bootstrap.servers is missing"),
        "{error}"
    );
}

#[test]
fn a_conflict_names_a_property() {
    let error = create(&[("enable.idempotence", "true"), ("acks", "1")]).unwrap_err();
    assert_eq!(error.field(), Some("acks"));
    let error = create(&[("enable.idempotence", "true"), ("max.in.flight", "100")]).unwrap_err();
    assert_eq!(error.field(), Some("max.in.flight"));
}

#[test]
fn what_cannot_work_is_refused_with_a_reason() {
    for (property, value, reason) in [
        ("delivery.report.only.error", "true", "never resolve"),
        ("enabled_events", "1", "up to this crate"),
        ("log.queue", "false", "the driver serves"),
        ("client.software.name", " ", "letter or a digit"),
        ("client.software.name", " -\u{e9}.", "letter or a digit"),
        ("client.software.version", "...", "letter or a digit"),
        ("ut_handle_ProduceResponse", "f", "as a function"),
        ("enable_sasl_queue", "true", "nobody serves"),
        ("linger.ms", "300000", "below message.timeout.ms"),
        (
            "queue.buffering.max.ms",
            "300000",
            "below message.timeout.ms",
        ),
    ] {
        let error = create(&[(property, value)]).unwrap_err();
        assert_eq!(error.field(), Some(property));
        assert!(error.to_string().contains(reason), "{error}");
    }
    create(&[
        ("delivery.report.only.error", "false"),
        ("log.queue", "true"),
    ])
    .unwrap();
}

#[test]
#[cfg(not(any(feature = "ssl", feature = "zstd")))]
fn what_takes_a_feature_says_so() {
    for (property, value, feature) in [
        ("security.protocol", "SASL_SSL", "`ssl`"),
        ("compression.type", "zstd", "`zstd`"),
    ] {
        let error = create(&[(property, value)]).unwrap_err();
        assert_eq!(error.field(), Some(property));
        assert!(error.to_string().contains(feature), "{error}");
    }
}

/// librdkafka would take each for another number.
#[test]
fn a_number_is_taken_for_itself() {
    for (property, value) in [
        ("message.timeout.ms", "5m"),
        ("message.timeout.ms", "4294967297"),
        ("topic.message.timeout.ms", "7s"),
        ("topic.metadata.refresh.interval.ms", "5m"),
        ("queue.buffering.max.ms", "nan"),
        ("linger.ms", "-nan"),
        ("message.send.max.retries", "010"),
        ("batch.size", "0x10"),
        ("batch.num.messages", "1e3"),
        ("queue.buffering.max.messages", "4294967296"),
        ("linger.ms", "nan"),
        ("linger.ms", "5ms"),
        ("acks", "1all"),
    ] {
        names(&[(property, value)], property, value);
    }
    for (property, value) in [
        ("message.timeout.ms", " +60000 "),
        ("linger.ms", "0.25"),
        ("linger.ms", "123456.75"),
        ("linger.ms", "1e3"),
        ("acks", "ALL"),
        ("acks", "-1"),
        ("request.required.acks", "all"),
        // Texts.
        ("client.id", "12e3456"),
        ("client.id", "010"),
        ("client.rack", " Infinity "),
        ("sasl.password", "nan "),
        ("sasl.username", "NaN"),
        ("topic.auto.commit.interval.ms", "1000"),
        ("client.rack", "5m"),
        ("debug", "all"),
        ("compression.type", "gzip"),
        ("enable.idempotence", "1"),
    ] {
        create(&[(property, value)]).unwrap();
    }
    create(&[("linger.ms", "300000"), ("message.timeout.ms", "0")]).unwrap();
    create(&[("linger.ms", "300000"), ("message.timeout.ms", "400000")]).unwrap();
}

#[tokio::test]
async fn a_transactional_id_is_not_for_a_producer_that_can_be_cloned() {
    let error = ClientConfig::new()
        .set("bootstrap.servers", "127.0.0.1:1")
        .set("transactional.id", "tx")
        .create::<Producer>()
        .unwrap_err();
    assert_eq!(error.field(), Some("transactional.id"));
}

#[test]
fn a_producer_outside_of_a_runtime_is_an_error() {
    let mut config = ClientConfig::new();
    let error = config
        .set("bootstrap.servers", "127.0.0.1:1")
        .create::<Producer>()
        .unwrap_err();
    assert!(error.to_string().contains("tokio runtime"), "{error}");
    assert_eq!(error.code(), None);
}

#[test]
fn a_nul_byte_is_an_error() {
    let error = create(&[("linger\0.ms", "1")]).unwrap_err();
    assert_eq!(error.field(), Some("linger\0.ms"));
    names(&[("client.id", "s3cret\0")], "client.id", "s3cret");
}

#[test]
fn properties_keep_their_order() {
    let mut config = ClientConfig::new();
    config
        .set("b", "1")
        .set("a", "2")
        .set("c", "3")
        .set("b", "4");
    let order: Vec<_> = config.iter().collect();
    assert_eq!(order, [("a", "2"), ("c", "3"), ("b", "4")]);
    assert_eq!((config.get("b"), config.get("d")), (Some("4"), None));
    config.remove("b");
    assert_eq!(config.get("b"), None);
}

/// What librdkafka calls sensitive, an alias that it forgets, what it refuses, and what it does not
/// know.
const SECRETS: &[&str] = &[
    "https.ca.pem",
    "sasl.jaas.config",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "sasl.username",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "ssl_ca",
    "ssl_certificate",
    "ssl_key",
    "sasl.pasword",
    "some.plugin.token",
];

#[test]
fn debug_shows_no_secret() {
    for property in SECRETS {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "shown")
            .set(*property, "t0p-s3cret");
        let debug = format!("{config:?} {config:#?}");
        assert!(!debug.contains("t0p-s3cret"), "{debug}");
        assert!(
            debug.contains("shown") && debug.contains(property),
            "{debug}"
        );
    }
}

#[test]
fn an_error_shows_no_secret() {
    for property in SECRETS {
        // Whatever librdkafka makes of it, alone or with a configuration that fails as a whole.
        let secret = [(*property, "t0p-s3cret")];
        let conflict = [secret[0], ("enable.idempotence", "true"), ("acks", "1")];
        for properties in [&secret[..], &conflict[..]] {
            if let Err(error) = create(properties) {
                let shown = format!("{error} {error:?} {error:#?}");
                assert!(!shown.contains("t0p-s3cret"), "{shown}");
            }
        }
    }
}
