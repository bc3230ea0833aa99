//! Configurations of any names and values: librdkafka's own properties, with values that they take
//! and values that they do not, and names that nobody knows.
//!
//! What must hold: nothing panics or hangs; the properties are those of a simple model, in order;
//! and a secret value shows in no `Debug`, error, or line of a log.
//!
//! Left out is what acts on the system outside of the process, or on the process as a whole:
//! plugins, which are loaded when they are set; and, where a client is made, files and commands
//! (`*.location`, `*.file`, keytab, kinit, the SSL engine), foreign addresses, in-process clusters
//! (`test.mock.num.brokers` starts a thread for each broker), and the signal that ends threads.
//! A client is some threads and takes milliseconds, so only a part of the inputs makes one.
#![no_main]

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tokio_rdkafka::{
    BaseProducer, ClientConfig, ClientContext, DeliveryResult, KafkaError, Producer,
    ProducerContext, RDKafkaLogLevel,
};

/// What no text may contain.
const MARKER: &str = "xS3CR3Tx";

#[derive(Arbitrary, Debug)]
struct Input {
    operations: Vec<Operation>,
    /// A client is made where it is 0 modulo 16; a configuration that is wrong is cheap to refuse.
    create: u8,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Set(Name, Value),
    SetSecret(u8, Secret),
    SetTogether(Together, Secret),
    Remove(Name),
    SetLogLevel(u8),
    Extend(Vec<(Name, Value)>),
}

/// Properties that do something only together.
#[derive(Arbitrary, Debug)]
enum Together {
    UnsecuredToken,
    Plain,
    Scram,
    Pem,
}

#[derive(Arbitrary, Debug)]
enum Name {
    Known(u16),
    Any(String),
    /// A known one with another text behind it.
    Near(u16, char),
}

#[derive(Arbitrary, Debug)]
enum Value {
    Known(u8),
    Number(i32),
    Any(String),
    Repeated(char, u16),
}

/// A value with the marker in it, in the shapes that librdkafka parses and complains about.
#[derive(Arbitrary, Debug)]
enum Secret {
    Alone,
    Between(String, String),
    Principal,
    Unrecognized,
    Lifetime,
    Extension,
    Pem,
    Long(u16),
}

impl Name {
    fn text(&self) -> String {
        let known = |index: u16| KNOWN[usize::from(index) % KNOWN.len()];
        let name = match self {
            Name::Known(index) => known(*index).to_owned(),
            Name::Any(text) => text.replace(MARKER, ""),
            Name::Near(index, c) => format!("{}{c}", known(*index)),
        };
        if name.contains("plugin.library.paths") {
            "client.id".to_owned()
        } else {
            name
        }
    }
}

impl Value {
    fn text(&self) -> String {
        match self {
            Value::Known(index) => VALUES[usize::from(*index) % VALUES.len()].to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Any(text) => text.replace(MARKER, ""),
            Value::Repeated(c, times) => c.to_string().repeat(usize::from(*times % 2048)),
        }
    }
}

impl Secret {
    fn text(&self) -> String {
        match self {
            Secret::Alone => MARKER.to_owned(),
            Secret::Between(before, after) => format!("{before}{MARKER}{after}"),
            Secret::Principal => format!("principal={MARKER}"),
            Secret::Unrecognized => format!("principal=p {MARKER}=1"),
            Secret::Lifetime => format!("principal=p lifeSeconds={MARKER}"),
            Secret::Extension => format!("principal=p extension_key={MARKER}\u{1}"),
            Secret::Pem => {
                format!("-----BEGIN PRIVATE KEY-----\n{MARKER}\n-----END PRIVATE KEY-----")
            }
            Secret::Long(times) => MARKER.repeat(usize::from(*times % 256)),
        }
    }
}

fn is_safe_to_create(config: &ClientConfig) -> bool {
    let words = [
        "location",
        ".file",
        "keytab",
        "kinit",
        "ssl.engine",
        "certificate.stores",
        "signal",
        "url",
        "rtt",
    ];
    config.iter().all(|(property, _)| {
        property != "test.mock.num.brokers" && !words.iter().any(|word| property.contains(word))
    })
}

/// Keeps whatever a client says.
#[derive(Default)]
struct Listening(Mutex<Vec<String>>);

impl Listening {
    fn hear(&self, text: String) {
        self.0.lock().expect("no panic").push(text);
    }
}

impl ClientContext for Listening {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        self.hear(format!("{facility}: {message}"));
    }

    fn error(&self, error: &KafkaError) {
        self.hear(format!("{error} {error:?}"));
    }

    fn stats(&self, json: &str) {
        self.hear(json.to_owned());
    }
}

impl ProducerContext for Listening {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

fn shows_no_secret(text: &str) {
    assert!(!text.contains(MARKER), "a secret in {text:?}");
}

fn debug_shows_no_secret(value: &impl Debug) {
    shows_no_secret(&format!("{value:?}"));
    shows_no_secret(&format!("{value:#?}"));
}

fn check_error(error: &KafkaError) {
    debug_shows_no_secret(error);
    shows_no_secret(&error.to_string());
    shows_no_secret(error.field().unwrap_or_default());
}

/// The configuration, and what it should have.
#[derive(Default)]
struct Model {
    config: ClientConfig,
    properties: Vec<(String, String)>,
}

impl Model {
    fn set(&mut self, name: String, value: String) {
        self.config.set(name.as_str(), value.as_str());
        self.expect(name, value);
    }

    fn expect(&mut self, name: String, value: String) {
        self.properties.retain(|(other, _)| *other != name);
        self.properties.push((name, value));
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Set(name, value) => self.set(name.text(), value.text()),
            Operation::SetSecret(index, secret) => {
                let name = SENSITIVE[usize::from(*index) % SENSITIVE.len()];
                self.set(name.to_owned(), secret.text());
            }
            Operation::SetTogether(together, secret) => {
                let secret = secret.text();
                let properties: &[(&str, &str)] = match together {
                    Together::UnsecuredToken => &[
                        ("security.protocol", "sasl_plaintext"),
                        ("sasl.mechanisms", "OAUTHBEARER"),
                        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
                        ("sasl.oauthbearer.config", &secret),
                    ],
                    Together::Plain => &[
                        ("security.protocol", "sasl_plaintext"),
                        ("sasl.mechanisms", "PLAIN"),
                        ("sasl.username", &secret),
                        ("sasl.password", &secret),
                    ],
                    Together::Scram => &[
                        ("security.protocol", "sasl_plaintext"),
                        ("sasl.mechanisms", "SCRAM-SHA-256"),
                        ("sasl.username", &secret),
                        ("sasl.password", &secret),
                    ],
                    Together::Pem => &[
                        ("security.protocol", "ssl"),
                        ("ssl.ca.pem", &secret),
                        ("ssl.key.pem", &secret),
                        ("ssl.key.password", &secret),
                    ],
                };
                for (name, value) in properties {
                    self.set((*name).to_owned(), (*value).to_owned());
                }
            }
            Operation::Remove(name) => {
                let name = name.text();
                self.config.remove(&name);
                self.properties.retain(|(other, _)| *other != name);
            }
            Operation::SetLogLevel(level) => {
                let index = usize::from(*level) % LEVELS.len();
                self.config.set_log_level(LEVELS[index]);
                self.expect("log_level".to_owned(), index.to_string());
            }
            Operation::Extend(properties) => {
                let texts = properties
                    .iter()
                    .map(|(name, value)| (name.text(), value.text()));
                self.config.extend(texts.clone());
                texts.for_each(|(name, value)| self.expect(name, value));
            }
        }
    }
}

fuzz_target!(|input: Input| {
    let mut model = Model::default();
    input
        .operations
        .iter()
        .for_each(|operation| model.apply(operation));
    let Model {
        mut config,
        properties,
    } = model;
    let pairs = properties
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    assert!(config.iter().eq(pairs));
    for (name, value) in &properties {
        assert_eq!(config.get(name), Some(value.as_str()));
    }
    assert_eq!(properties.iter().cloned().collect::<ClientConfig>(), config);
    debug_shows_no_secret(&config);

    // Outside of a runtime there is no client to be made, whatever else is right or wrong.
    check_error(&config.create::<Producer>().expect_err("no runtime"));

    if !input.create.is_multiple_of(16) || !is_safe_to_create(&config) {
        return;
    }
    config
        .remove("metadata.broker.list")
        .set("bootstrap.servers", "127.0.0.1:1");
    match config.create_with_context::<_, BaseProducer<Listening>>(Listening::default()) {
        Ok(producer) => {
            producer.poll(Duration::from_millis(1));
            debug_shows_no_secret(&producer);
            for text in producer.context().0.lock().expect("no panic").iter() {
                shows_no_secret(text);
            }
        }
        Err(error) => check_error(&error),
    }
});

/// The properties that librdkafka marks as sensitive, their aliases, others whose values have
/// secrets in them, and some that librdkafka does not know.
const SENSITIVE: &[&str] = &[
    "sasl.jaas.config",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "sasl.username",
    "ssl.ca.pem",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "ssl_key",
    "sasl.pasword",
    "SASL.PASSWORD",
    "ssl.truststore.password",
];

/// In the order of their numbers.
const LEVELS: [RDKafkaLogLevel; 8] = [
    RDKafkaLogLevel::Emerg,
    RDKafkaLogLevel::Alert,
    RDKafkaLogLevel::Critical,
    RDKafkaLogLevel::Error,
    RDKafkaLogLevel::Warning,
    RDKafkaLogLevel::Notice,
    RDKafkaLogLevel::Info,
    RDKafkaLogLevel::Debug,
];

const VALUES: &[&str] = &[
    "",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "all",
    "none",
    "gzip",
    "lz4",
    "snappy",
    "zstd",
    "plaintext",
    "ssl",
    "sasl_plaintext",
    "sasl_ssl",
    "PLAIN",
    "GSSAPI",
    "SCRAM-SHA-256",
    "OAUTHBEARER",
    "oidc",
    "default",
    "consistent_random",
    "murmur2_random",
    "fnv1a",
    "random",
    "fifo",
    "lifo",
    "v4",
    "any",
    "use_all_dns_ips",
    "rebootstrap",
    "https",
    "security,broker,eos",
    "localhost:1",
    "name with spaces",
];

/// librdkafka's properties (rdkafka_conf.c), but for `plugin.library.paths`.
const KNOWN: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "background_event_cb",
    "batch.num.messages",
    "batch.size",
    "bootstrap.servers",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "builtin.features",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "client.software.name",
    "client.software.version",
    "closesocket_cb",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connect_cb",
    "connections.max.idle.ms",
    "consume.callback.max.messages",
    "consume_cb",
    "coordinator.query.interval.ms",
    "debug",
    "default_topic_conf",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "dr_cb",
    "dr_msg_cb",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.metrics.push",
    "enable.partition.eof",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.sparse.connections",
    "enable.ssl.certificate.verification",
    "enable_sasl_queue",
    "enabled_events",
    "error_cb",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "https.ca.location",
    "https.ca.pem",
    "interceptors",
    "internal.termination.signal",
    "isolation.level",
    "linger.ms",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_cb",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metadata.request.timeout.ms",
    "msg_order_cmp",
    "oauthbearer_token_refresh_cb",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "offset_commit_cb",
    "opaque",
    "open_cb",
    "partition.assignment.strategy",
    "partitioner",
    "partitioner_cb",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "queuing.strategy",
    "rebalance_cb",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.required.acks",
    "request.timeout.ms",
    "resolve_cb",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.jaas.config",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "socket_cb",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.certificate.verify_cb",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.sigalgs.list",
    "ssl.truststore.location",
    "ssl_ca",
    "ssl_certificate",
    "ssl_engine_callback_data",
    "ssl_key",
    "statistics.interval.ms",
    "stats_cb",
    "sticky.partitioning.linger.ms",
    "test.mock.broker.rtt",
    "test.mock.num.brokers",
    "throttle_cb",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
    "transaction.timeout.ms",
    "transactional.id",
    "ut_handle_ProduceResponse",
];
