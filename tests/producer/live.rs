//! Changes of a running producer: its log level and its password.

use std::cell::Cell;
use std::sync::Mutex;

use tokio_rdkafka::{
    BaseProducer, ClientConfig, ClientContext, DeliveryResult, KafkaError, Producer,
    ProducerContext, ProducerRecord, RDKafkaErrorCode, RDKafkaLogLevel, TransactionalProducer,
};

use crate::support::mock::{DEADLINE, blocking_until, cluster, config};

/// Keeps the log lines.
#[derive(Default)]
struct Lines(Mutex<Vec<(RDKafkaLogLevel, String)>>);

impl Lines {
    fn take(&self) -> Vec<(RDKafkaLogLevel, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl ClientContext for Lines {
    fn log(&self, level: RDKafkaLogLevel, _: &str, message: &str) {
        self.0.lock().unwrap().push((level, message.to_owned()));
    }
}

impl ProducerContext for Lines {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

fn has_debug(lines: &Lines) -> bool {
    let lines = lines.take();
    lines
        .iter()
        .any(|(level, _)| *level == RDKafkaLogLevel::Debug)
}

#[tokio::test]
async fn the_log_level_changes_at_run_time() {
    let cluster = cluster("t", 1);
    // A record that is sent is logged.
    let producer = Producer::builder(config(&cluster).set("debug", "msg,protocol"))
        .context(Lines::default())
        .create()
        .unwrap();
    let lines = producer.context();
    // Lines of before may still come, so each level is waited for.
    let until_debug = async |expected: bool| {
        let sent = async {
            loop {
                lines.take();
                let record = ProducerRecord::to("t").payload("v");
                producer.send(record).await.unwrap();
                if has_debug(lines) == expected {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, sent).await;
        in_time.unwrap_or_else(|_| panic!("debug lines: {}", !expected));
    };
    until_debug(true).await;
    producer.set_log_level(RDKafkaLogLevel::Info);
    until_debug(false).await;
    producer.clone().set_log_level(RDKafkaLogLevel::Debug);
    until_debug(true).await;
    producer.set_log_level(RDKafkaLogLevel::Emerg);
    until_debug(false).await;
    producer.close().await;
    producer.set_log_level(RDKafkaLogLevel::Debug);
}

#[tokio::test]
async fn a_transactional_producers_log_level_changes_too() {
    let cluster = cluster("t", 1);
    let mut producer: TransactionalProducer<Lines> = config(&cluster)
        .set("transactional.id", "tests")
        .set("debug", "msg,protocol")
        .create_with_context(Lines::default())
        .unwrap();
    producer.init(DEADLINE).await.unwrap();
    producer.set_log_level(RDKafkaLogLevel::Warning);
    let quiet = async {
        loop {
            producer.context().take();
            let transaction = producer.begin().await.unwrap();
            let record = ProducerRecord::to("t").payload("v");
            transaction.send(record).await.unwrap();
            transaction.abort().await.unwrap();
            if !has_debug(producer.context()) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, quiet).await.expect("quiet");
    producer.close().await;
}

fn unreachable() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1");
    config
}

fn with_password() -> ClientConfig {
    let mut config = unreachable();
    config
        .set("security.protocol", "sasl_plaintext")
        .set("sasl.mechanism", "PLAIN")
        .set("sasl.username", "the-old-user")
        .set("sasl.password", "the-old-password");
    config
}

#[test]
fn a_base_producers_log_level_changes_and_a_new_password_is_never_shown() {
    // Texts that librdkafka logs again and again while nothing listens.
    const USER: &str = "Connection refused";
    const PASSWORD: &str = "127.0.0.1:1/boot";
    let producer: BaseProducer<Lines> = with_password()
        .set("debug", "broker")
        .set("reconnect.backoff.max.ms", "100")
        .create_with_context(Lines::default())
        .unwrap();
    let poll = || {
        producer.poll(std::time::Duration::from_millis(10));
        producer.context().take()
    };
    let has = |text: &str| poll().iter().any(|(_, line)| line.contains(text));
    blocking_until(|| has(USER));
    blocking_until(|| has(PASSWORD));
    producer.set_sasl_credentials(USER, PASSWORD).unwrap();
    let redacted = Cell::new(0);
    blocking_until(|| {
        for (_, line) in poll() {
            assert!(!line.contains(USER) && !line.contains(PASSWORD), "{line}");
            redacted.set(redacted.get() + line.matches("[redacted]").count());
        }
        redacted.get() > 10
    });
    assert!(!format!("{producer:?}").contains(PASSWORD));

    producer.set_log_level(RDKafkaLogLevel::Emerg);
    // Lines of before are served at once; attempts to connect go on.
    let polls_without_a_line = Cell::new(0);
    blocking_until(|| {
        let before = polls_without_a_line.get();
        polls_without_a_line.set(if poll().is_empty() { before + 1 } else { 0 });
        polls_without_a_line.get() == 50
    });
}

fn assert_names(error: &KafkaError, property: &str, texts: &[&str]) {
    assert_eq!(error.field(), Some(property), "{error}");
    assert_eq!(error.code(), Some(RDKafkaErrorCode::InvalidArgument));
    let text = format!("{error} {error:?}");
    assert!(text.contains("set_sasl_credentials"), "{text}");
    for expected in texts {
        assert!(text.contains(expected), "{text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_producer_without_passwords_refuses_one() {
    let producer: Producer = unreachable().create().unwrap();
    let error = producer.set_sasl_credentials("user", "s3cret").unwrap_err();
    let texts = ["security.protocol is plaintext", "sasl.mechanism"];
    assert_names(&error, "security.protocol", &texts);

    let producer: Producer = unreachable()
        .set("sasl.mechanism", "PLAIN")
        .set("sasl.username", "user")
        .set("sasl.password", "s3cret")
        .create()
        .unwrap();
    let error = producer.set_sasl_credentials("user", "s3cret").unwrap_err();
    assert_names(&error, "security.protocol", &texts);

    if cfg!(feature = "ssl") {
        let producer: Producer = unreachable()
            .set("security.protocol", "sasl_plaintext")
            .set("sasl.mechanism", "OAUTHBEARER")
            .create()
            .unwrap();
        let error = producer.set_sasl_credentials("user", "s3cret").unwrap_err();
        let texts = ["sasl.mechanism is OAUTHBEARER", "SCRAM-SHA-512"];
        assert_names(&error, "sasl.mechanism", &texts);
    }
}

#[tokio::test]
async fn a_bad_user_or_password_is_refused_without_showing_it() {
    let producer: Producer = with_password().create().unwrap();
    let set = |user: &str, password: &str| producer.set_sasl_credentials(user, password);
    let (user, password) = ("sasl.username", "sasl.password");
    assert_names(&set("", "s3cret").unwrap_err(), user, &["empty"]);
    assert_names(&set("s3cret", "").unwrap_err(), password, &["empty"]);
    assert_names(&set("\0s3cret", "p").unwrap_err(), user, &["NUL"]);
    assert_names(&set("u", "s3cret\0").unwrap_err(), password, &["NUL"]);
    let long = "s3cret".repeat(20_000);
    assert_names(&set(&long, "p").unwrap_err(), user, &["65535"]);
    assert_names(&set("u", &long).unwrap_err(), password, &["65535"]);
    set("u", "p").unwrap();
    set("ü€ \"\\", " with spaces ").unwrap();
    set(&"u".repeat(65_535), &"p".repeat(65_535)).unwrap();
    producer.close().await;
    let error = set("user", "s3cret").unwrap_err();
    assert!(error.is_closed(), "{error:?}");
}

#[tokio::test]
async fn a_transactional_producer_takes_a_new_password() {
    let mut producer: TransactionalProducer = with_password()
        .set("transactional.id", "tests")
        .create()
        .unwrap();
    producer.set_sasl_credentials("user", "s3cret").unwrap();
    let error = producer.set_sasl_credentials("", "s3cret").unwrap_err();
    assert_names(&error, "sasl.username", &["empty"]);
    producer.close().await;
}
