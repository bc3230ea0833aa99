//! TLS, logins and rights.
//!
//! `TOKIO_RDKAFKA_TOKENS_SECONDS` is how long short tokens are tried under load.
//!
//! Everything that is printed on the way, with librdkafka at its most verbose, is searched for
//! secrets.

use std::collections::VecDeque;
use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, io};

use futures::future::join_all;
use libtest_mimic::Trial;
use tokio::task::spawn_blocking;
use tokio_rdkafka::{
    BaseProducer, BoxError, ClientConfig, ClientContext, ConnectFailure, DeliveryResult,
    KafkaError, OAuthToken, Persistence, Producer, ProducerContext, ProducerRecord,
    RDKafkaErrorCode, RDKafkaLogLevel, TransactionalProducer,
};

use crate::support::kafka::{Cluster, DEADLINE};
use crate::support::logins::{GUARDED, Locked, READER, WRITER};
use crate::support::trials::{Module, many_threads};
use crate::support::unsecured_token::unsecured_token;

const MODULE: Module = Module("logins");

pub fn trials() -> Vec<Trial> {
    if is_possible() {
        // For the whole process: what the other modules log is searched, too.
        Printed::watch();
    }
    vec![
        trial("tls_with_a_certificate_in_files", tls_files),
        trial("tls_with_a_certificate_as_text", tls_text),
        trial("tls_with_an_encrypted_key", tls_encrypted_key),
        trial("tls_that_cannot_work_says_why", tls_failures),
        trial("sasl_plain", |cluster| logs_in(cluster, "PLAIN")),
        trial("sasl_scram_256", |cluster| {
            logs_in(cluster, "SCRAM-SHA-256")
        }),
        trial("sasl_scram_512", |cluster| {
            logs_in(cluster, "SCRAM-SHA-512")
        }),
        trial("a_wrong_password_is_reported", wrong_password),
        MODULE
            .trial_alone(
                many_threads,
                "a_password_changes_under_load",
                async |cluster| {
                    password_under_load(cluster).await;
                    Printed::assert_no_secret();
                },
            )
            .with_ignored_flag(!is_possible() || !Cluster::has_nodes_to_kill()),
        trial("sasl_gssapi", kerberos).with_ignored_flag(!Locked::has_kerberos()),
        trial("tokens_are_refreshed_under_load", tokens_under_load),
        trial("a_refresh_that_fails_is_asked_again", failing_refresh),
        trial("a_token_that_is_refused_is_reported", refused_token),
        trial("a_transactional_producer_has_tokens", transactional),
        trial("a_base_producer_has_tokens", base_producer),
        trial("without_the_right_to_write_records_come_back", no_right),
    ]
}

fn is_possible() -> bool {
    Cluster::is_there() && Locked::is_there()
}

fn trial<F: Future<Output = ()>>(
    name: &str,
    test: impl FnOnce(Cluster) -> F + Send + 'static,
) -> Trial {
    MODULE
        .trial(name, async |cluster| {
            test(cluster).await;
            Printed::assert_no_secret();
        })
        .with_ignored_flag(!is_possible())
}

// --- what is printed ------------------------------------------------------------------------------

static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static LINES: AtomicUsize = AtomicUsize::new(0);

/// Looks for secrets in all that is traced; each event is one write.
struct Printed;

impl Printed {
    fn watch() {
        let locked = Locked::from_env();
        let mut secrets = locked.secrets();
        secrets.push(WRONG_PASSWORD.to_owned());
        for key in ["client.key", "client-encrypted.key"] {
            let text = locked.text(key);
            let lines = text.lines().filter(|line| !line.starts_with('-'));
            secrets.extend(lines.map(str::to_owned));
        }
        assert!(
            secrets.iter().all(|secret| secret.len() >= 8),
            "too short to look for"
        );
        *SECRETS.lock().unwrap() = secrets;
        // The search finds what it looks for.
        assert!(Self::has_secret(&format!("a {WRONG_PASSWORD}.")));
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(|| Printed)
            .init();
    }

    fn has_secret(text: &str) -> bool {
        let secrets = SECRETS.lock().unwrap();
        secrets.iter().any(|secret| text.contains(secret.as_str()))
    }

    fn look_at(text: &str) {
        LINES.fetch_add(1, Ordering::Relaxed);
        if Self::has_secret(text) {
            LEAKS.lock().unwrap().push(text.to_owned());
        }
    }

    fn assert_no_secret() {
        let leaks = LEAKS.lock().unwrap();
        assert!(leaks.is_empty(), "secrets are shown: {leaks:#?}");
        assert!(LINES.load(Ordering::Relaxed) > 100, "nothing was looked at");
    }
}

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::look_at(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error, of which everything that it shows has been looked at.
fn shown<E: Debug + Display>(error: E) -> E {
    Printed::look_at(&format!("{error} {error:?} {error:#?}"));
    error
}

// --- configurations -------------------------------------------------------------------------------

const WRONG_PASSWORD: &str = "not-the-password-of-anybody";

/// With librdkafka at its most verbose.
fn verbose(mut config: ClientConfig) -> ClientConfig {
    config
        .set("debug", "all")
        .set_log_level(RDKafkaLogLevel::Debug);
    config
}

/// Of a login by tokens.
fn by_token() -> ClientConfig {
    verbose(Locked::from_env().sasl_ssl("OAUTHBEARER"))
}

/// A producer, the `Debug` of whose configuration is looked at.
fn create(config: &ClientConfig, context: Context) -> Result<Producer<Context>, KafkaError> {
    Printed::look_at(&format!("{config:?} {config:#?}"));
    config.create_with_context(context).map_err(shown)
}

/// What writer alone may write to.
async fn guarded_topic(cluster: &Cluster) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let topic = format!("{GUARDED}{}-{number}", std::process::id());
    cluster.create_topic_named(&topic, 1, 3).await;
    topic
}

/// Writes to a topic that writer alone may write to.
async fn writes(cluster: &Cluster, config: &ClientConfig) {
    let topic = guarded_topic(cluster).await;
    let producer = create(config, Context::default()).unwrap();
    let delivery = producer
        .send(ProducerRecord::to(&*topic).payload("v"))
        .await;
    assert_eq!(delivery.map_err(shown).unwrap().offset(), Some(0));
    assert_eq!(producer.close().await.failed, 0);
}

/// A producer with that configuration reports an error of that code, and its record times out.
async fn fails(config: &mut ClientConfig, code: RDKafkaErrorCode) -> KafkaError {
    let context = Context::default();
    config.set("message.timeout.ms", "3000");
    let producer = create(config, context.clone()).unwrap();
    let error = producer
        .send(ProducerRecord::to("t").payload("v"))
        .await
        .unwrap_err();
    let error = shown(error);
    assert_eq!(error.code(), Some(RDKafkaErrorCode::MessageTimedOut));
    assert_eq!(error.record().get_payload(), Some(&b"v"[..]));
    let found = context.until_error(|error| error.code() == Some(code));
    let found = found.await;
    producer.close().await;
    found
}

// --- TLS ------------------------------------------------------------------------------------------

async fn tls_files(cluster: Cluster) {
    writes(&cluster, &verbose(Locked::from_env().mtls())).await;
}

async fn tls_text(cluster: Cluster) {
    writes(&cluster, &verbose(Locked::from_env().mtls_pem())).await;
}

async fn tls_encrypted_key(cluster: Cluster) {
    let locked = Locked::from_env();
    let in_file = verbose(locked.mtls_encrypted_key());
    let mut as_text = in_file.clone();
    as_text
        .remove("ssl.key.location")
        .set("ssl.key.pem", locked.text("client-encrypted.key"));
    for (mut config, key) in [(in_file, "ssl.key.location"), (as_text, "ssl.key.pem")] {
        writes(&cluster, &config).await;
        config.set("ssl.key.password", WRONG_PASSWORD);
        let error = create(&config, Context::default()).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
}

async fn tls_failures(_: Cluster) {
    let locked = Locked::from_env();
    for mut config in [locked.ssl_unknown_ca(), locked.ssl_wrong_host()].map(verbose) {
        fails(&mut config, RDKafkaErrorCode::SSL).await;
    }

    let without_certificate = verbose(locked.mtls_without_certificate());
    let mut other_client = without_certificate.clone();
    other_client
        .set("ssl.certificate.pem", locked.text("other-client.pem"))
        .set("ssl.key.pem", locked.text("other-client.key"));
    fails(&mut other_client, RDKafkaErrorCode::BrokerTransportFailure).await;

    for (property, value) in [
        ("ssl.ca.location", "missing.pem".to_owned()),
        ("ssl.key.pem", locked.text("client.pem")),
    ] {
        let mut config = without_certificate.clone();
        let error = create(config.set(property, value), Context::default()).unwrap_err();
        assert!(error.to_string().contains(property), "{error}");
    }
}

// --- passwords ------------------------------------------------------------------------------------

async fn logs_in(cluster: Cluster, mechanism: &str) {
    let config = verbose(Locked::from_env().login(mechanism, WRITER));
    writes(&cluster, &config).await;
}

async fn wrong_password(_: Cluster) {
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let config = Locked::from_env().login_with(mechanism, WRITER, WRONG_PASSWORD);
        fails(&mut verbose(config), RDKafkaErrorCode::Authentication).await;
    }
}

/// The brokers' connections are cut: none of them is left that logged in with the old password.
async fn password_under_load(cluster: Cluster) {
    const MECHANISM: &str = "SCRAM-SHA-512";
    const PARTITIONS: i32 = 3;
    const NODES: [i32; 3] = [1, 2, 3];
    let user = format!("rotating-{}", std::process::id());
    let [old, new] = ["old", "new"].map(|age| format!("the-{age}-password-{}", std::process::id()));
    SECRETS.lock().unwrap().extend([old.clone(), new.clone()]);
    let set_password = |password: &str| {
        let (user, password) = (user.clone(), password.to_owned());
        spawn_blocking(move || Cluster::set_password(&user, &password))
    };
    set_password(&old).await.unwrap();

    let topic = cluster.create_topic(PARTITIONS, 3).await;
    let mut config = verbose(Locked::from_env().login_with(MECHANISM, &user, &old));
    config.set("message.timeout.ms", "60000");
    let producer = create(&config, Context::default()).unwrap();
    let to_all = async || {
        for partition in 0..PARTITIONS {
            let record = ProducerRecord::to(&*topic).partition(partition);
            producer
                .send(record.payload("v"))
                .await
                .map_err(shown)
                .unwrap();
        }
    };
    let is_done = AtomicBool::new(false);
    let rotation = async {
        to_all().await;
        set_password(&new).await.unwrap();
        producer
            .set_sasl_credentials(&user, &new)
            .map_err(shown)
            .unwrap();
        let cluster = Arc::new(cluster);
        for node in NODES {
            let (cluster, topic) = (Arc::clone(&cluster), topic.clone());
            let restarted = spawn_blocking(move || {
                Cluster::node("stop", node);
                Cluster::node("start", node);
                let started = Instant::now();
                while !cluster.is_whole_for(node, &topic) {
                    assert!(started.elapsed() < DEADLINE, "node {node} is not in sync");
                }
            });
            restarted.await.unwrap();
        }
        to_all().await;
        is_done.store(true, Ordering::SeqCst);
    };
    let load = send_until(&producer, &topic, || is_done.load(Ordering::SeqCst));
    let (sent, ()) = tokio::join!(load, rotation);
    assert_eq!(producer.close().await.failed, 0);
    eprintln!("{sent} records while the password changed");

    // The old one is not good any more: the connections above had the new one.
    let producer = create(&config, Context::default()).unwrap();
    let error = shown(producer.ready(DEADLINE).await.unwrap_err());
    let failure = error.connect_failure();
    assert_eq!(failure, Some(ConnectFailure::Authentication), "{error}");
    // It works again once the producer has the new one, too.
    producer.set_sasl_credentials(&user, &new).unwrap();
    let record = ProducerRecord::to(&*topic).payload("v");
    producer.send(record).await.map_err(shown).unwrap();
    producer.close().await;
}

async fn kerberos(cluster: Cluster) {
    let config = |keytab| verbose(Locked::from_env().kerberos(keytab));
    // First what fails: the tickets are the process's.
    let error = fails(&mut config("wrong"), RDKafkaErrorCode::Authentication).await;
    assert!(error.to_string().contains("credential"), "{error}");
    let producer = create(&config("wrong"), Context::default()).unwrap();
    let started = Instant::now();
    let error = shown(producer.ready(Duration::from_secs(30)).await.unwrap_err());
    let failure = error.connect_failure();
    assert_eq!(failure, Some(ConnectFailure::Authentication), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
    producer.close().await;
    writes(&cluster, &config("writer")).await;
}

async fn no_right(cluster: Cluster) {
    let topic = guarded_topic(&cluster).await;
    let config = verbose(Locked::from_env().login("PLAIN", READER));
    let producer = create(&config, Context::default()).unwrap();
    // At first a report says so, later the produce call itself may.
    for payload in ["1", "2", "3"] {
        let record = ProducerRecord::to(&*topic).key("k").payload(payload);
        let error = shown(producer.send(record).await.unwrap_err());
        let code = RDKafkaErrorCode::TopicAuthorizationFailed;
        assert_eq!(error.code(), Some(code), "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert!(!error.is_fatal() && !error.is_retriable());
        let record = error.into_record();
        assert_eq!(record.get_payload(), Some(payload.as_bytes()));
        assert_eq!(record.get_key(), Some(&b"k"[..]));
    }
    // Elsewhere it goes on.
    let open = cluster.create_topic(1, 3).await;
    let sent = producer.send(ProducerRecord::to(&*open).payload("v")).await;
    sent.map_err(shown).unwrap();
    producer.close().await;
}

// --- tokens ---------------------------------------------------------------------------------------

/// What a refresh does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Token,
    Fail,
    /// A token that the broker does not take.
    Wrong,
}

/// Acts in turn, the last one again and again, and keeps errors.
#[derive(Clone, Default)]
struct Context(Arc<Kept>);

#[derive(Default)]
struct Kept {
    acts: Mutex<VecDeque<Act>>,
    refreshes: AtomicUsize,
    errors: Mutex<Vec<KafkaError>>,
}

impl Context {
    fn new(acts: &[Act]) -> Self {
        let context = Self::default();
        context.0.acts.lock().unwrap().extend(acts);
        context
    }

    fn refreshes(&self) -> usize {
        self.0.refreshes.load(Ordering::SeqCst)
    }

    fn errors(&self) -> Vec<KafkaError> {
        self.0.errors.lock().unwrap().clone()
    }

    /// Waits for an error.
    async fn until_error(&self, is_wanted: impl Fn(&KafkaError) -> bool) -> KafkaError {
        let started = Instant::now();
        loop {
            let errors = self.errors();
            if let Some(found) = errors.iter().find(|error| is_wanted(error)) {
                return found.clone();
            }
            assert!(started.elapsed() < DEADLINE, "{errors:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How many errors said that a refresh failed.
    fn failures(&self) -> usize {
        let errors = self.errors();
        let is_ours = |error: &&KafkaError| error.to_string().contains("as asked");
        errors.iter().filter(is_ours).count()
    }

    fn next_act(&self) -> Act {
        self.0.refreshes.fetch_add(1, Ordering::SeqCst);
        let mut acts = self.0.acts.lock().unwrap();
        match acts.len() {
            0 => Act::Token,
            1 => acts[0],
            _ => acts.pop_front().unwrap(),
        }
    }
}

impl ClientContext for Context {
    fn error(&self, error: &KafkaError) {
        tracing::error!(%error, ?error);
        self.0.errors.lock().unwrap().push(shown(error.clone()));
    }

    async fn refresh_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, BoxError> {
        tokio::time::sleep(Duration::from_millis(50)).await;
        match self.next_act() {
            Act::Token => Ok(token()),
            Act::Fail => Err("failed as asked".into()),
            Act::Wrong => Ok(wrong_token()),
        }
    }

    fn oauth_token_requested(&self, _: Option<&str>) {
        self.next_act();
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        tracing::trace!(?result);
    }
}

/// Of the user writer, for librdkafka to be replaced within 5 seconds, to the broker good for longer.
fn token() -> OAuthToken {
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).unwrap().as_secs();
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let claims = format!(
        r#"{{"sub":"writer","iat":{seconds},"exp":{},"jti":"{number}"}}"#,
        seconds + 120
    );
    let token = unsecured_token(&claims);
    let secret = token.split('.').nth(1).expect("claims").to_owned();
    SECRETS.lock().unwrap().push(secret);
    let token = OAuthToken::new(token, "writer", now + Duration::from_secs(5));
    Printed::look_at(&format!("{token:?}"));
    token
}

fn wrong_token() -> OAuthToken {
    let text = "this-is-no-token";
    SECRETS.lock().unwrap().push(text.to_owned());
    OAuthToken::new(text, "writer", SystemTime::now() + Duration::from_secs(60))
}

/// Sends records until it is enough; none fails. How many there were.
async fn send_until(
    producer: &Producer<Context>,
    topic: &str,
    is_enough: impl Fn() -> bool,
) -> usize {
    let mut sent = 0;
    let started = Instant::now();
    while !is_enough() {
        assert!(started.elapsed() < 2 * DEADLINE, "never enough");
        let records = (0..20).map(|_| producer.send(ProducerRecord::to(topic).payload("v")));
        for result in join_all(records).await {
            result.map_err(shown).unwrap();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sent
}

async fn tokens_under_load(cluster: Cluster) {
    let seconds = env::var("TOKIO_RDKAFKA_TOKENS_SECONDS").ok();
    let seconds = seconds.map_or(10, |text| text.parse().expect("a number of seconds"));
    let topic = cluster.create_topic(3, 3).await;
    let context = Context::default();
    let producer = create(&by_token(), context.clone()).unwrap();
    let started = Instant::now();
    let duration = Duration::from_secs(seconds);
    let sent = send_until(&producer, &topic, || started.elapsed() > duration).await;
    let report = producer.close().await;
    assert_eq!((report.failed, report.undelivered), (0, 0));
    // One in 4 to 5 seconds, and the first.
    let refreshes = context.refreshes() as u64;
    let most = started.elapsed().as_secs() / 4 + 2;
    let expected = seconds / 6 + 1..=most;
    assert!(expected.contains(&refreshes), "{refreshes} in {seconds} s");
    assert_eq!(context.failures(), 0);
    let errors = context.errors();
    eprintln!("{sent} records, {refreshes} tokens in {seconds} s; errors: {errors:?}");
}

async fn failing_refresh(cluster: Cluster) {
    use Act::{Fail, Token};
    let topic = cluster.create_topic(1, 3).await;
    let later = async {
        let context = Context::new(&[Token, Fail, Fail, Fail, Token]);
        let producer = create(&by_token(), context.clone()).unwrap();
        let sent = send_until(&producer, &topic, || context.refreshes() >= 6).await;
        assert_eq!(producer.close().await.failed, 0);
        assert_eq!(context.failures(), 3, "{:?}", context.errors());
        eprintln!("{sent} records while three refreshes failed");
    };
    let from_the_start = async {
        let context = Context::new(&[Fail, Fail, Fail, Token]);
        let producer = create(&by_token(), context.clone()).unwrap();
        let record = ProducerRecord::to(&*topic).payload("v");
        producer.send(record).await.map_err(shown).unwrap();
        assert_eq!(context.failures(), 3, "{:?}", context.errors());
        // The next may be due.
        assert!(context.refreshes() >= 4);
        producer.close().await;
    };
    tokio::join!(later, from_the_start);
}

async fn refused_token(_: Cluster) {
    let context = Context::new(&[Act::Wrong]);
    let mut config = by_token();
    config.set("message.timeout.ms", "3000");
    let producer = create(&config, context.clone()).unwrap();
    let record = ProducerRecord::to("t").payload("v");
    let error = shown(producer.send(record).await.unwrap_err());
    assert_eq!(error.code(), Some(RDKafkaErrorCode::MessageTimedOut));
    let is_refusal = |error: &KafkaError| {
        error.code() == Some(RDKafkaErrorCode::Authentication)
            && error.to_string().contains("invalid_token")
    };
    context.until_error(is_refusal).await;
    producer.close().await;
}

async fn transactional(cluster: Cluster) {
    let topic = guarded_topic(&cluster).await;
    let mut producer: TransactionalProducer<Context> = by_token()
        .set("transactional.id", &topic)
        .create_with_context(Context::default())
        .unwrap();
    producer.init(DEADLINE).await.map_err(shown).unwrap();
    let transaction = producer.begin().await.map_err(shown).unwrap();
    let record = ProducerRecord::to(&*topic).payload("v");
    transaction.send(record).await.map_err(shown).unwrap();
    transaction.commit().await.unwrap();
    producer.close().await;
}

async fn base_producer(cluster: Cluster) {
    let topic = guarded_topic(&cluster).await;
    let context = Context::default();
    let producer: BaseProducer<Context> = by_token().create_with_context(context.clone()).unwrap();
    let record = ProducerRecord::to(&*topic).payload("v");
    producer.send(record).unwrap();
    let started = Instant::now();
    let mut answered = 0;
    // Until it has been delivered, and the token replaced.
    while producer.in_flight_count() > 0 || answered < 3 {
        assert!(started.elapsed() < DEADLINE, "{answered} answers");
        producer.poll(Duration::from_millis(50));
        if context.refreshes() > answered {
            producer.set_oauth_token(token()).map_err(shown).unwrap();
            answered += 1;
        }
    }
    assert_eq!(context.failures(), 0);
}
