//! The configuration: every error names the property, and no secret shows.

use tokio_rdkafka::{
    BaseProducer, ClientConfig, KafkaError, Producer, ProducerRecord, RDKafkaErrorCode,
    RDKafkaLogLevel,
};

fn create(properties: &[(&str, &str)]) -> Result<BaseProducer, KafkaError> {
    let mut config: ClientConfig = [("bootstrap.servers", "127.0.0.1:1")].into_iter().collect();
    config.set_log_level(RDKafkaLogLevel::Emerg);
    config.extend(properties.iter().copied());
    config.create()
}

fn refusal(properties: &[(&str, &str)]) -> String {
    create(properties).unwrap_err().to_string()
}

/// The error names the property and shows the value.
fn names_and_shows(properties: &[(&str, &str)], property: &str, value: &str) {
    let error = create(properties).unwrap_err();
    assert_eq!(error.field(), Some(property), "{error}");
    let shown = format!("bad value {value:?} for configuration property {property}");
    assert!(error.to_string().starts_with(&shown), "{error}");
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
    for (property, value, allowed) in [
        ("linger.ms", "87654321", "0..900000"),
        ("linger.ms", "five", "0..900000"),
        ("linger.ms", "", "0..900000"),
        ("message.timeout.ms", "-5", "0..2147483647"),
        ("topic.message.timeout.ms", "-5", "0..2147483647"),
        ("batch.num.messages", "many", "1..1000000"),
        ("enable.idempotence", "yes", "true, false"),
        ("enable.idempotence", "perhaps", "true, false"),
        ("compression.type", "brotli", "snappy, lz4, zstd"),
        ("topic.compression.type", "brotli", "snappy, lz4, zstd"),
        ("acks", "maybe", "0, 1, -1, all"),
        ("acks", "-2", "0, 1, -1, all"),
        ("request.required.acks", "maybe", "0, 1, -1, all"),
        ("security.protocol", "tls", "plaintext, ssl"),
        ("debug", "everything", "all"),
        ("broker.address.family", "ipv5", "any, v4, v6"),
        ("client.dns.lookup", "x", "use_all_dns_ips"),
        ("queuing.strategy", "x", "fifo, lifo"),
        ("sasl.mechanism", "plain", "write it as PLAIN"),
        ("sasl.mechanisms", "SCRAM", "PLAIN, SCRAM-SHA-256"),
    ] {
        let error = create(&[(property, value)]).unwrap_err();
        assert_eq!(error.field(), Some(property), "{error}");
        assert!(error.to_string().contains(allowed), "{error}");
        if !property.starts_with("sasl") {
            names_and_shows(&[(property, value)], property, value);
        }
    }
    // Texts are not shown.
    let error = refusal(&[("partitioner", "s3cret")]);
    assert!(
        error.contains("murmur2_random") && !error.contains("s3cret"),
        "{error}"
    );
}

/// A secret of the configuration is not shown, whatever property it is put under.
#[test]
fn a_known_secret_is_not_shown_as_a_value() {
    let password = ("sasl.password", "t0p-s3cret");
    for property in [
        "acks",
        "linger.ms",
        "enable.idempotence",
        "compression.type",
    ] {
        for value in ["t0p-s3cret", "x t0p-s3cret"] {
            names(&[password, (property, value)], property, "t0p-s3cret");
        }
    }
    let servers = "SASL://alice:t0p-s3cret@127.0.0.1:9092";
    names(
        &[("bootstrap.servers", servers)],
        "bootstrap.servers",
        "t0p-s3cret",
    );
    let servers = "127.0.0.1:t0p-s3cret";
    names(
        &[password, ("bootstrap.servers", servers)],
        "bootstrap.servers",
        "t0p-s3cret",
    );
    // A long text is no number: it may have been pasted.
    let pasted = "-----BEGIN PRIVATE KEY----- MIIEvQIBADANBgkqhkiG9w0BAQ";
    names(&[("linger.ms", pasted)], "linger.ms", "MIIE");
}

#[test]
fn the_nearest_name_is_suggested() {
    for (wrong, meant) in [
        ("bootstrap.server", "bootstrap.servers"),
        ("bootstrap_servers", "bootstrap.servers"),
        ("linger", "linger.ms"),
        ("compression", "compression.type"),
        ("enable.idempotent", "enable.idempotence"),
        ("topic.message.timeout", "message.timeout.ms"),
        ("sasl.pasword", "sasl.password"),
        ("ssl.ca.locaton", "ssl.ca.location"),
    ] {
        let error = refusal(&[(wrong, "x")]);
        let expected = format!("unknown configuration property {wrong:?}; did you mean {meant}?");
        assert!(error.starts_with(&expected), "{error}");
    }
    for unlike in ["no.such.property", "partitioner.type", "key.callback"] {
        let error = refusal(&[(unlike, "x")]);
        assert!(!error.contains("did you mean"), "{error}");
    }
}

/// A line that was not split into name and value.
#[test]
fn a_value_behind_the_name_is_not_shown() {
    for wrong in [
        "sasl.password=t0p-s3cret",
        "sasl.password: t0p-s3cret",
        "sasl.password t0p-s3cret",
        "sasl.password,t0p-s3cret",
        "sasl.password;t0p-s3cret",
    ] {
        names(&[(wrong, "")], "sasl.password", "t0p-s3cret");
        let mut config = ClientConfig::new();
        config.set(wrong, "");
        assert!(!format!("{config:?}").contains("t0p-s3cret"));
    }
    let servers = "127.0.0.1:9092?password=t0p-s3cret";
    let property = "bootstrap.servers";
    names(&[(property, servers)], property, "t0p-s3cret");
}

#[test]
fn a_property_of_the_java_client_names_ours() {
    for (java, ours) in [
        ("max.block.ms", "ProducerBuilder::max_block"),
        ("buffer.memory", "queue.buffering.max.kbytes"),
        ("max.request.size", "message.max.bytes"),
        ("key.serializer", "payload"),
        ("value.serializer", "payload"),
        ("partitioner.class", "murmur2_random"),
        ("partitioner.ignore.keys", "partitioner=random"),
        ("interceptor.classes", "ProducerContext::delivery"),
        ("send.buffer.bytes", "socket.send.buffer.bytes"),
        ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
        ("metric.reporters", "statistics.interval.ms"),
        ("metrics.num.samples", "statistics.interval.ms"),
        ("compression.zstd.level", "compression.level"),
        ("sasl.jaas.config", "sasl.username"),
        ("sasl.login.callback.handler.class", "refresh_oauth_token"),
        ("sasl.login.refresh.window.factor", "refresh_oauth_token"),
        ("ssl.truststore.location", "ssl.ca.location"),
        ("ssl.truststore.certificates", "ssl.ca.pem"),
        ("ssl.keystore.key", "ssl.key.pem"),
        ("ssl.keystore.type", "PKCS#12"),
        ("ssl.enabled.protocols", "OpenSSL"),
    ] {
        let error = create(&[(java, "t0p-s3cret")]).unwrap_err();
        assert_eq!(error.field(), Some(java));
        let text = error.to_string();
        assert!(
            text.contains("Java's client") && text.contains(ours),
            "{error}"
        );
        assert!(!text.contains("t0p-s3cret"), "{error}");
    }
    for (wrong, java) in [
        ("max_block_ms", "max.block.ms"),
        ("maxBlockMs", "max.block.ms"),
        ("Buffer.Memory", "buffer.memory"),
        ("key.serialiser", "key.serializer"),
        ("producer.max.request.size", "max.request.size"),
        ("ssl_truststore_location", "ssl.truststore.location"),
    ] {
        let error = refusal(&[(wrong, "x")]);
        let expected = format!("did you mean {java}? It is a property of Java's client: ");
        assert!(error.contains(&expected), "{error}");
    }
    // Names that librdkafka has too.
    for (property, value) in [
        ("delivery.timeout.ms", "120000"),
        ("max.in.flight.requests.per.connection", "5"),
        ("retries", "3"),
        ("batch.size", "16384"),
        ("retry.backoff.max.ms", "1000"),
        ("metadata.max.age.ms", "300000"),
    ] {
        create(&[(property, value)]).unwrap();
    }
}

#[test]
fn bootstrap_servers_that_librdkafka_would_misread_are_refused() {
    for (servers, reason) in [
        (",", "names no server"),
        (
            "http://localhost:9092",
            "\"http://localhost:9092\" has a scheme",
        ),
        ("localhost:99999", "\"localhost:99999\" has the port 99999"),
        ("127.0.0.1:1,localhost:0", "\"localhost:0\" has the port 0"),
        ("ssl://localhost:9093", "set security.protocol=ssl"),
        ("localhost:9092;localhost:9093", "commas"),
    ] {
        for property in ["bootstrap.servers", "metadata.broker.list"] {
            let error = create(&[(property, servers)]).unwrap_err();
            assert_eq!(error.field(), Some(property), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
    for servers in [
        "127.0.0.1:1, [::1]:1,",
        "PLAINTEXT://127.0.0.1:1",
        "127.0.0.1",
    ] {
        create(&[("bootstrap.servers", servers)]).unwrap();
    }
    // librdkafka puts its own servers in their place.
    create(&[("bootstrap.servers", ","), ("test.mock.num.brokers", "1")]).unwrap();
}

/// librdkafka writes it into the JSON of the statistics as it is.
#[test]
fn a_client_id_that_breaks_the_statistics_is_refused() {
    for id in ["a\"b", "a\\b", "a\nb", "\u{1}"] {
        let error = create(&[("client.id", id)]).unwrap_err();
        assert_eq!(error.field(), Some("client.id"));
        assert!(error.to_string().contains("statistics"), "{error}");
    }
    for id in ["service/1 (Bücher)", "it's"] {
        create(&[("client.id", id)]).unwrap();
    }
}

#[test]
fn a_topic_that_breaks_the_statistics_is_refused() {
    let producer = create(&[]).unwrap();
    for topic in ["a\"b", "a\\b", "a b", "..", "a\n", "ü"] {
        for _again in 0..2 {
            let record = ProducerRecord::to(topic).payload("v");
            let error = producer.send(record).unwrap_err();
            assert_eq!(error.code(), Some(RDKafkaErrorCode::InvalidTopic));
            assert!(error.to_string().contains("topic"), "{error}");
            assert_eq!(error.into_record().get_topic(), topic);
        }
    }
    assert_eq!(producer.in_flight_count(), 0);
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
    // Under the name by which it was set, with its value.
    for (property, value) in [
        ("acks", "1"),
        ("request.required.acks", "0"),
        ("topic.acks", "1"),
        ("retries", "0"),
        ("message.send.max.retries", "0"),
        ("max.in.flight", "6"),
        ("max.in.flight.requests.per.connection", "6"),
        ("queuing.strategy", "lifo"),
    ] {
        let error = create(&[("enable.idempotence", "true"), (property, value)]).unwrap_err();
        assert_eq!(error.field(), Some(property), "{error}");
        let shown = format!("{property} is set to {value:?}");
        assert!(error.to_string().contains(&shown), "{error}");
    }
}

#[test]
fn a_text_that_librdkafka_cannot_parse_says_what_is_allowed() {
    for (property, value, reason) in [
        ("broker.version.fallback", "", "such as 0.10.0"),
        ("builtin.features", "x", "remove it"),
        ("plugin.library.paths", "no-such-plugin", "shared libraries"),
        ("topic.blacklist", "x(", "regular expressions"),
        ("message.max.bytes", "1MB", "it is not a decimal number"),
        ("message.max.bytes", "1", "it is out of range"),
    ] {
        let error = create(&[(property, value)]).unwrap_err();
        assert_eq!(error.field(), Some(property));
        assert!(error.to_string().contains(reason), "{error}");
    }
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
        // librdkafka would begin a client whose every record fails.
        ("transactional.id", " ", "it is blank"),
        (
            "linger.ms",
            "300000",
            "it is 300000 ms, and must be below message.timeout.ms, which is 300000 ms",
        ),
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
#[cfg_attr(
    feature = "dynamic-linking",
    ignore = "what the system's librdkafka can do depends on its own build"
)]
fn what_takes_a_feature_says_so() {
    let (ssl, curl) = (cfg!(feature = "ssl"), cfg!(feature = "curl"));
    let (gssapi, libz) = (cfg!(feature = "gssapi"), cfg!(feature = "libz"));
    for (property, value, feature, is_there) in [
        ("security.protocol", "SASL_SSL", "`ssl`", ssl),
        ("security.protocol", "ssl", "`ssl`", ssl),
        ("compression.type", "zstd", "`zstd`", cfg!(feature = "zstd")),
        (
            "compression.codec",
            "zstd",
            "`zstd`",
            cfg!(feature = "zstd"),
        ),
        (
            "topic.compression.type",
            "zstd",
            "`zstd`",
            cfg!(feature = "zstd"),
        ),
        ("compression.type", "gzip", "`libz`", libz),
        ("sasl.mechanism", "SCRAM-SHA-256", "`ssl`", ssl),
        ("sasl.mechanisms", "SCRAM-SHA-512", "`ssl`", ssl),
        ("sasl.mechanism", "OAUTHBEARER", "`ssl`", ssl),
        ("sasl.mechanism", "GSSAPI", "`gssapi`", gssapi),
        ("security.protocol", "sasl_plaintext", "`gssapi`", gssapi),
        ("ssl.ca.location", "/x", "`ssl`", ssl),
        ("ssl.key.password", "x", "`ssl`", ssl),
        ("ssl.cipher.suites", "DEFAULT", "`ssl`", ssl),
        ("ssl.sigalgs.list", "x", "`ssl`", ssl),
        ("ssl.providers", "x", "`ssl`", ssl),
        ("ssl.engine.location", "x", "`ssl`", ssl),
        ("enable.ssl.certificate.verification", "false", "`ssl`", ssl),
        ("sasl.oauthbearer.config", "x", "`ssl`", ssl),
        ("sasl.oauthbearer.method", "oidc", "`curl`", curl),
        ("sasl.oauthbearer.client.id", "x", "`curl`", curl),
        (
            "sasl.oauthbearer.token.endpoint.url",
            "http://x",
            "`curl`",
            curl,
        ),
        ("https.ca.location", "/x", "`curl`", curl),
    ] {
        if is_there {
            continue;
        }
        let error = create(&[(property, value)]).unwrap_err();
        let of_default = property == "security.protocol" && value == "sasl_plaintext";
        let field = if of_default {
            "sasl.mechanism"
        } else {
            property
        };
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(error.to_string().contains(feature), "{error}");
        assert!(error.to_string().contains("of tokio-rdkafka"), "{error}");
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
        names_and_shows(&[(property, value)], property, value);
        let error = refusal(&[(property, value)]);
        assert!(
            error.contains("not a decimal number") || error.contains("allowed"),
            "{error}"
        );
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
        ("compression.type", "lz4"),
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

/// A secret under the name of a property that has none.
#[test]
fn debug_shows_no_secret_in_servers_and_urls_and_no_pasted_key() {
    let pem = "-----BEGIN PRIVATE KEY-----\nt0p-s3cret\n-----END PRIVATE KEY-----";
    for (property, value) in [
        ("bootstrap.servers", "alice:t0p-s3cret@h:9092"),
        ("metadata.broker.list", "h:9092,alice:t0p-s3cret@h:9092"),
        ("bootstrap.servers", "h:9092?password=t0p-s3cret"),
        (
            "bootstrap.servers",
            "Endpoint=sb://h/;SharedAccessKeyName=Root;SharedAccessKey=t0p-s3cret",
        ),
        (
            "sasl.oauthbearer.token.endpoint.url",
            "https://idp/token?client_secret=t0p-s3cret",
        ),
        ("ssl.certificate.location", pem),
        ("ssl.keystore.location", pem),
        ("ssl.ca.location", pem),
        ("client.id", pem),
    ] {
        let mut config = ClientConfig::new();
        config.set("linger.ms", "5").set(property, value);
        let debug = format!("{config:?} {config:#?}");
        assert!(!debug.contains("t0p-s3cret"), "{debug}");
        assert!(debug.contains(property) && debug.contains('5'), "{debug}");
        if let Err(error) = config.create::<BaseProducer>() {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("t0p-s3cret"), "{shown}");
        }
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

/// The files and texts of TLS: the error names the one at fault, and why.
#[cfg(feature = "ssl")]
mod tls {
    use std::env;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use tokio_rdkafka::{KafkaError, RDKafkaErrorCode};

    use super::create;

    /// In a process of its own: OpenSSL drops its default provider for the whole process when another
    /// is named, even if that cannot be loaded.
    #[test]
    fn a_library_of_openssl_is_named() {
        const ALONE: &str = "TOKIO_RDKAFKA_TESTS_ALONE";
        if env::var_os(ALONE).is_none() {
            let status = Command::new(env::current_exe().unwrap())
                .args(["--exact", "config::tls::a_library_of_openssl_is_named"])
                .env(ALONE, "")
                .stdout(Stdio::null())
                .status();
            assert!(status.unwrap().success());
            return;
        }
        for property in ["ssl.providers", "ssl.engine.location"] {
            let error = refused(&[(property, "no-such-library")]);
            assert_eq!(error.field(), Some(property), "{error}");
        }
        // Whoever names the default provider has it.
        create(&[("security.protocol", "ssl"), ("ssl.providers", "default")]).unwrap();
    }

    /// A folder with keys and certificates, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("tokio-rdkafka-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            let folder = Self(folder);
            for name in ["a", "b"] {
                folder.openssl(&format!(
                    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                     -subj /CN={name} -keyout {name}.key -out {name}.pem"
                ));
            }
            folder.openssl("pkcs8 -topk8 -in a.key -out locked.key -passout pass:right-one");
            folder.openssl(
                "pkcs12 -export -in a.pem -inkey a.key -out a.p12 -passout pass:right-one",
            );
            fs::write(folder.0.join("empty.pem"), "").unwrap();
            fs::write(folder.0.join("garbage.pem"), "nothing of use\n").unwrap();
            let cut = folder.text("a.pem").replacen("MII", "M!I", 1);
            fs::write(folder.0.join("damaged.pem"), cut).unwrap();
            folder
        }

        fn openssl(&self, arguments: &str) {
            let run = Command::new("openssl")
                .args(arguments.split_whitespace())
                .current_dir(&self.0)
                .stderr(Stdio::null())
                .status();
            assert!(run.expect("openssl is installed").success(), "{arguments}");
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).to_str().unwrap().to_owned()
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn refused(properties: &[(&str, &str)]) -> KafkaError {
        let mut all = vec![("security.protocol", "ssl")];
        all.extend(properties);
        let error = create(&all).unwrap_err();
        assert_eq!(error.code(), Some(RDKafkaErrorCode::InvalidArgument));
        error
    }

    #[test]
    fn a_file_is_named_with_the_cause() {
        let folder = Folder::new("files");
        for property in [
            "ssl.ca.location",
            "ssl.certificate.location",
            "ssl.key.location",
            "ssl.crl.location",
        ] {
            let files = [
                ("missing.pem", "No such file"),
                ("empty.pem", "the file is empty"),
                ("garbage.pem", "in PEM format"),
                ("a.pem/x", "Not a directory"),
            ];
            for (name, cause) in files {
                let path = folder.path(name);
                let error = refused(&[(property, &path)]);
                assert_eq!(error.field(), Some(property), "{error}");
                let text = error.to_string();
                assert!(text.contains(&path) && text.contains(cause), "{error}");
            }
        }
        let path = folder.path("");
        for property in ["ssl.certificate.location", "ssl.key.location"] {
            let error = refused(&[(property, &path)]);
            assert!(error.to_string().contains("it is a directory"), "{error}");
        }
        let error = refused(&[("ssl.ca.location", "missing.pem")]);
        assert!(
            error.to_string().contains("\"missing.pem\": No such file"),
            "{error}"
        );
        let damaged = folder.path("damaged.pem");
        let error = refused(&[("ssl.ca.location", &damaged)]);
        assert!(
            error
                .to_string()
                .contains("damaged.pem\": its PEM is damaged"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_password_is_named() {
        let folder = Folder::new("passwords");
        let (certificate, key) = (folder.path("a.pem"), folder.path("locked.key"));
        let certificate = ("ssl.certificate.location", certificate.as_str());
        let key = ("ssl.key.location", key.as_str());
        let error = refused(&[certificate, key, ("ssl.key.password", "wr0ng-one")]);
        assert_eq!(error.field(), Some("ssl.key.location"));
        let text = error.to_string();
        assert!(
            text.contains("locked.key\": wrong ssl.key.password"),
            "{error}"
        );
        assert!(!text.contains("wr0ng-one"), "{error}");

        let error = refused(&[certificate, key]);
        assert!(
            error.to_string().contains("set ssl.key.password"),
            "{error}"
        );

        let pem = folder.text("locked.key");
        let pem = ("ssl.key.pem", pem.as_str());
        let error = refused(&[certificate, pem, ("ssl.key.password", "wr0ng-one")]);
        assert_eq!(error.field(), Some("ssl.key.pem"));
        assert!(
            error.to_string().contains("wrong ssl.key.password"),
            "{error}"
        );
        let error = refused(&[certificate, pem]);
        assert!(
            error.to_string().contains("set ssl.key.password"),
            "{error}"
        );

        let store = folder.path("a.p12");
        let store = ("ssl.keystore.location", store.as_str());
        let error = refused(&[store, ("ssl.keystore.password", "wr0ng-one")]);
        assert_eq!(error.field(), Some("ssl.keystore.location"));
        assert!(
            error.to_string().contains("wrong ssl.keystore.password"),
            "{error}"
        );

        let right = ("ssl.key.password", "right-one");
        create(&[("security.protocol", "ssl"), certificate, key, right]).unwrap();
    }

    #[test]
    fn a_key_of_another_certificate_is_named() {
        let folder = Folder::new("keys");
        let certificate = folder.path("a.pem");
        let certificate = ("ssl.certificate.location", certificate.as_str());
        let error = refused(&[certificate, ("ssl.key.location", &folder.path("b.key"))]);
        assert_eq!(error.field(), Some("ssl.key.location"));
        let cause = "does not belong to the certificate";
        let text = error.to_string();
        assert!(text.contains("b.key") && text.contains(cause), "{error}");
        let pem = folder.text("b.key");
        let error = refused(&[certificate, ("ssl.key.pem", &pem)]);
        assert_eq!(error.field(), Some("ssl.key.pem"));
        let text = error.to_string();
        assert!(text.contains(cause), "{error}");
        for line in pem.lines().filter(|line| !line.starts_with('-')) {
            assert!(!text.contains(line), "{error}");
        }
        let error = refused(&[("ssl.key.location", &folder.path("a.key"))]);
        assert!(error.to_string().contains("no certificate"), "{error}");
    }

    #[test]
    fn a_text_is_named_with_the_cause() {
        let folder = Folder::new("texts");
        for property in ["ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem"] {
            let error = refused(&[(property, "nothing-of-use")]);
            assert_eq!(error.field(), Some(property), "{error}");
            assert!(error.to_string().contains("in PEM format"), "{error}");
            assert!(!error.to_string().contains("nothing-of-use"), "{error}");
        }
        // A key that was pasted where a path belongs.
        let key = folder.text("a.key");
        let error = refused(&[("ssl.key.location", &key)]);
        let text = error.to_string();
        assert!(text.contains("set ssl.key.pem to it"), "{error}");
        for line in key.lines() {
            assert!(!text.contains(line), "{error}");
        }
        // Neither a file nor like a path.
        let error = refused(&[("ssl.key.location", "t0p-s3cret")]);
        assert!(!error.to_string().contains("t0p-s3cret"), "{error}");
        assert!(Path::new(&folder.path("a.pem")).exists());
    }
}

/// Ten errors as users see them.
#[test]
fn errors_say_what_to_do() {
    for (property, value, expected) in [
        (
            "bootstrap.servers",
            ",",
            "bad value for configuration property bootstrap.servers: it names no server; write \
             host:port, with commas between several",
        ),
        (
            "bootstrap.servers",
            "http://localhost:9092",
            "bad value for configuration property bootstrap.servers: \"http://localhost:9092\" has \
             a scheme that is not Kafka's; write host:port, and set security.protocol for TLS and logins",
        ),
        (
            "bootstrap.servers",
            "localhost:99999",
            "bad value for configuration property bootstrap.servers: \"localhost:99999\" has the \
             port 99999, which is not from 1 to 65535",
        ),
        (
            "acks",
            "maybe",
            "bad value \"maybe\" for configuration property acks: allowed: 0, 1, -1, all",
        ),
        (
            "acks",
            "2",
            "bad value \"2\" for configuration property acks: brokers refuse another number of \
             replicas; allowed: 0, 1, -1, all",
        ),
        (
            "enable.idempotence",
            "yes",
            "bad value \"yes\" for configuration property enable.idempotence: allowed: true, false",
        ),
        (
            "linger.ms",
            "87654321",
            "bad value \"87654321\" for configuration property linger.ms: it is out of range; \
             allowed: 0..900000",
        ),
        (
            "bootstrap.server",
            "localhost:9092",
            "unknown configuration property \"bootstrap.server\"; did you mean bootstrap.servers?",
        ),
        (
            "buffer.memory",
            "33554432",
            "unknown configuration property \"buffer.memory\"; it is a property of Java's client: \
             set queue.buffering.max.kbytes, in KiB (buffer.memory divided by 1024)",
        ),
        (
            "dr_cb",
            "x",
            "configuration property dr_cb is refused: only code in C can set it; remove it",
        ),
        #[cfg(all(feature = "libz", not(feature = "zstd")))]
        (
            "compression.type",
            "brotli",
            "bad value \"brotli\" for configuration property compression.type: allowed: none, \
             gzip, snappy, lz4, zstd (with the feature `zstd`)",
        ),
        #[cfg(not(feature = "zstd"))]
        (
            "compression.type",
            "zstd",
            "bad value \"zstd\" for configuration property compression.type: the value needs the \
             feature `zstd` of tokio-rdkafka",
        ),
        #[cfg(not(feature = "ssl"))]
        (
            "ssl.ca.location",
            "/x",
            "configuration property ssl.ca.location is refused: it needs the feature `ssl` of \
             tokio-rdkafka",
        ),
    ] {
        let error = refusal(&[(property, value)]);
        assert_eq!(error, format!("{expected} (_INVALID_ARG)"));
    }
}
