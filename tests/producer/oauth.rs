//! Tokens for OAUTHBEARER, as far as they go without a broker. Logins with tokens on real Kafka are
//! in `tests/kafka/logins.rs`.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc};
use tokio_rdkafka::{
    BaseProducer, BoxError, ClientConfig, ClientContext, DeliveryResult, KafkaError, OAuthToken,
    Producer, ProducerContext, ProducerRecord, RDKafkaErrorCode, RDKafkaLogLevel,
    TransactionalProducer,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// What a refresh does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A token with this lifetime in seconds.
    Token(u64),
    Fail,
    Panic,
    /// A token that librdkafka would show in its error.
    Malformed,
    Expired,
    Hang,
}

/// Acts in turn, and keeps what is reported to it.
#[derive(Default)]
struct Script {
    acts: Mutex<VecDeque<Act>>,
    calls: AtomicUsize,
    configs: Mutex<Vec<Option<String>>>,
    errors: Mutex<Vec<String>>,
    logs: Mutex<Vec<String>>,
    /// A refresh is under way.
    is_running: AtomicBool,
    /// Something of this is another than before.
    changed: Notify,
}

impl Script {
    fn new(acts: &[Act]) -> Arc<Self> {
        Arc::new(Self {
            acts: Mutex::new(acts.iter().copied().collect()),
            ..Self::default()
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Errors that are not of the connection.
    fn errors(&self) -> Vec<String> {
        let errors = self.errors.lock().unwrap();
        let of_tokens = errors.iter().filter(|text| text.contains("token"));
        of_tokens.cloned().collect()
    }

    fn is_running(&self) -> bool {
        self.is_running.load(Ordering::SeqCst)
    }

    fn note(&self, config: Option<&str>) {
        self.configs.lock().unwrap().push(config.map(str::to_owned));
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits for a condition.
    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let mut changed = pin!(self.changed.notified());
                // From here on no change is missed.
                changed.as_mut().enable();
                if condition(self) {
                    return;
                }
                changed.await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, wait).await;
        in_time.expect("the condition never came");
    }
}

struct Running<'s>(&'s Script);

impl<'s> Running<'s> {
    fn begin(script: &'s Script) -> Self {
        script.is_running.store(true, Ordering::SeqCst);
        script.changed.notify_waiters();
        Self(script)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

fn token(seconds: u64) -> OAuthToken {
    let expires_at = SystemTime::now() + Duration::from_secs(seconds);
    OAuthToken::new("t0p-s3cret", "svc", expires_at).extension("cluster", "c1")
}

/// An error with a cause.
#[derive(Debug)]
struct Failure(Option<Box<Failure>>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.0.is_some() {
            "no answer"
        } else {
            "down"
        };
        f.write_str(text)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|failure| failure as _)
    }
}

impl ClientContext for Script {
    fn error(&self, error: &KafkaError) {
        let text = format!("{error} {error:?}");
        self.errors.lock().unwrap().push(text);
        self.changed.notify_waiters();
    }

    fn log(&self, _: RDKafkaLogLevel, _: &str, message: &str) {
        self.logs.lock().unwrap().push(message.to_owned());
        self.changed.notify_waiters();
    }

    async fn refresh_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, BoxError> {
        self.note(config);
        let _running = Running::begin(self);
        tokio::task::yield_now().await;
        let act = self.acts.lock().unwrap().pop_front();
        match act.unwrap_or(Act::Hang) {
            Act::Token(seconds) => Ok(token(seconds)),
            Act::Fail => Err(Failure(Some(Box::new(Failure(None)))).into()),
            Act::Panic => panic!("as asked"),
            Act::Malformed => Ok(OAuthToken::new(
                "t0p-s3cret\u{1}",
                "svc",
                SystemTime::now() + Duration::from_secs(60),
            )),
            Act::Expired => Ok(OAuthToken::new(
                "t0p-s3cret",
                "svc",
                SystemTime::now() - Duration::from_secs(60),
            )),
            Act::Hang => std::future::pending().await,
        }
    }

    fn oauth_token_requested(&self, config: Option<&str>) {
        self.note(config);
    }
}

impl ProducerContext for Script {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", "127.0.0.1:1")
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanisms", "OAUTHBEARER");
    config
}

fn producer(script: &Arc<Script>) -> Producer<Arc<Script>> {
    config().create_with_context(Arc::clone(script)).unwrap()
}

/// Waits until nothing else has it.
async fn until_alone<T>(shared: &Arc<T>) {
    let started = Instant::now();
    while Arc::strong_count(shared) > 1 {
        assert!(started.elapsed() < DEADLINE, "somebody keeps it");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_token_is_asked_for_again_before_it_expires() {
    let script = Script::new(&[Act::Token(5), Act::Token(5), Act::Token(600)]);
    let mut config = config();
    config.set("sasl.oauthbearer.config", "for the context");
    let producer: Producer<_> = config.create_with_context(Arc::clone(&script)).unwrap();
    script.until(|script| script.calls() == 3).await;
    script.until(|script| !script.is_running()).await;
    producer.close().await;
    assert_eq!(script.calls(), 3);
    assert_eq!(script.errors(), [""; 0]);
    let configs = script.configs.lock().unwrap();
    let expected = Some("for the context".to_owned());
    assert!(
        configs.iter().all(|config| *config == expected),
        "{configs:?}"
    );
}

#[tokio::test]
async fn an_error_is_reported_each_time_and_asked_again() {
    let script = Script::new(&[Act::Fail, Act::Fail, Act::Token(600)]);
    let producer = producer(&script);
    script.until(|script| script.errors().len() == 1).await;
    let first = Instant::now();
    script.until(|script| script.errors().len() == 2).await;
    // With a pause.
    assert!(
        first.elapsed() > Duration::from_secs(5),
        "{:?}",
        first.elapsed()
    );
    script.until(|script| script.calls() == 3).await;
    let errors = script.errors();
    for error in &errors {
        assert!(error.contains("no answer: down"), "{error}");
        assert!(error.contains("_AUTHENTICATION"), "{error}");
    }
    assert!(errors[1].contains("failure 2 in a row"), "{errors:?}");
    producer.close().await;
    assert_eq!(script.errors().len(), 2);
}

#[tokio::test]
async fn a_panic_or_a_bad_token_is_an_error() {
    for (act, text) in [
        (Act::Panic, "refresh_oauth_token panicked: as asked"),
        (Act::Malformed, "character that RFC 7628 forbids"),
        (Act::Expired, "unexpired"),
    ] {
        let script = Script::new(&[act]);
        let producer = producer(&script);
        script.until(|script| script.errors().len() == 1).await;
        let errors = script.errors();
        assert!(errors[0].contains(text), "{errors:?}");
        assert!(!errors[0].contains("t0p-s3cret"), "{errors:?}");
        let panics = u64::from(matches!(act, Act::Panic));
        assert_eq!(producer.callback_panics(), panics);
        producer.close().await;
    }
}

#[tokio::test]
async fn the_default_says_what_to_implement() {
    struct Telling(mpsc::UnboundedSender<KafkaError>);
    impl ClientContext for Telling {
        fn error(&self, error: &KafkaError) {
            // After the first one nobody may listen.
            _ = self.0.send(error.clone());
        }
    }
    impl ProducerContext for Telling {
        type DeliveryOpaque = ();
        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
    }
    let (telling, mut errors) = mpsc::unbounded_channel();
    let context = Telling(telling);
    let _producer: Producer<Telling> = config().create_with_context(context).unwrap();
    let error = tokio::time::timeout(DEADLINE, errors.recv()).await;
    let error = error.expect("an error in time").expect("an error");
    assert_eq!(error.code(), Some(RDKafkaErrorCode::Authentication));
    assert!(
        error
            .to_string()
            .contains("ClientContext::refresh_oauth_token"),
        "{error}"
    );
    assert!(!error.is_fatal());
}

#[tokio::test]
async fn a_refresh_that_hangs_stops_neither_deliveries_nor_the_end() {
    let script = Script::new(&[Act::Hang]);
    let mut config = config();
    config.set("message.timeout.ms", "1000");
    let producer: Producer<_> = config.create_with_context(Arc::clone(&script)).unwrap();
    script.until(|script| script.is_running()).await;
    let error = producer
        .send(ProducerRecord::to("t").payload("v"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::MessageTimedOut));
    assert!(script.is_running());
    tokio::time::timeout(DEADLINE, producer.close())
        .await
        .unwrap();
    script.until(|script| !script.is_running()).await;
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn a_refresh_ends_with_the_last_handle() {
    let script = Script::new(&[Act::Hang]);
    let producer = producer(&script);
    script.until(|script| script.is_running()).await;
    drop(producer);
    script.until(|script| !script.is_running()).await;
    // Nor does it keep anything.
    until_alone(&script).await;
}

#[test]
fn a_refresh_ends_with_the_runtime() {
    let script = Script::new(&[Act::Hang]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let producer = runtime.block_on(async {
        let producer = producer(&script);
        script.until(|script| script.is_running()).await;
        producer
    });
    runtime.shutdown_background();
    let started = Instant::now();
    while script.is_running() {
        assert!(started.elapsed() < DEADLINE);
        std::thread::yield_now();
    }
    drop(producer);
    while Arc::strong_count(&script) > 1 {
        assert!(started.elapsed() < DEADLINE);
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_transactional_producer_refreshes_too() {
    let script = Script::new(&[Act::Fail]);
    let mut producer: TransactionalProducer<_> = config()
        .set("transactional.id", "tx")
        .create_with_context(Arc::clone(&script))
        .unwrap();
    script.until(|script| script.errors().len() == 1).await;
    producer.close().await;
}

#[test]
fn a_base_producer_is_asked_in_poll_and_answers() {
    let script = Script::new(&[]);
    let producer: BaseProducer<_> = config().create_with_context(Arc::clone(&script)).unwrap();
    let poll_until = |condition: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < DEADLINE, "the condition never came");
            producer.poll(Duration::from_millis(20));
        }
    };
    assert!(producer.poll(DEADLINE) >= 1);
    poll_until(&|| script.calls() == 1);
    producer
        .set_oauth_token_failure("the\0 vault is shut")
        .unwrap();
    poll_until(&|| script.errors().len() == 1);
    // Asked again; the same reason is another error.
    poll_until(&|| script.calls() == 2);
    producer
        .set_oauth_token_failure("the vault is shut")
        .unwrap();
    poll_until(&|| script.errors().len() == 2);
    let errors = script.errors();
    assert!(
        errors.iter().all(|text| text.contains("the vault is shut")),
        "{errors:?}"
    );

    // A token may come at any time; one that is refused is no answer.
    let expired = OAuthToken::new("t0p-s3cret", "svc", SystemTime::UNIX_EPOCH);
    let error = producer.set_oauth_token(expired).unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::InvalidArgument));
    assert!(!format!("{error} {error:?}").contains("t0p-s3cret"));
    producer.set_oauth_token(token(5)).unwrap();
    poll_until(&|| script.calls() == 3);
    // To C it is empty.
    producer.set_oauth_token_failure("\0").unwrap();
    poll_until(&|| script.errors().len() == 3);
    assert!(script.errors()[2].contains("no reason given"));
}

#[test]
fn an_answer_that_nobody_asked_for_is_an_error() {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", "127.0.0.1:1")
        .create()
        .unwrap();
    let error = producer.set_oauth_token(token(60)).unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::State));
    let error = producer.set_oauth_token_failure("no").unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::State));
}

/// How many tokens librdkafka says were set.
fn tokens_set(script: &Script) -> usize {
    let logs = script.logs.lock().unwrap();
    logs.iter()
        .filter(|line| line.contains("after setting OAUTHBEARER token"))
        .count()
}

#[tokio::test]
async fn unsecured_tokens_are_made_by_librdkafka_again_and_again() {
    let script = Script::new(&[]);
    let producer: Producer<_> = config()
        .set("enable.sasl.oauthbearer.unsecure.jwt", "true")
        .set("sasl.oauthbearer.config", "principal=svc lifeSeconds=2")
        .set("debug", "security")
        .create_with_context(Arc::clone(&script))
        .unwrap();
    script.until(|script| tokens_set(script) >= 2).await;
    producer.close().await;
    assert_eq!(script.calls(), 0);
}

#[cfg(feature = "curl")]
mod oidc {
    use crate::support::token_endpoint::{token_endpoint, token_endpoint_with};
    use crate::support::unsecured_token::unsecured_token;

    use super::*;

    fn oidc(url: &str) -> ClientConfig {
        let mut config = config();
        config
            .set("sasl.oauthbearer.method", "oidc")
            .set("sasl.oauthbearer.client.id", "svc")
            .set("sasl.oauthbearer.client.secret", "t0p-s3cret")
            .set("sasl.oauthbearer.token.endpoint.url", url)
            .set("debug", "all");
        config
    }

    #[tokio::test]
    async fn oidc_is_librdkafkas_own() {
        let token = unsecured_token(r#"{"sub":"svc","iat":0,"exp":4102444800}"#);
        let url = token_endpoint_with(&token);
        let script = Script::new(&[]);
        let producer: Producer<_> = oidc(&url).create_with_context(Arc::clone(&script)).unwrap();
        script.until(|script| tokens_set(script) == 1).await;
        producer.close().await;
        assert_eq!(script.calls(), 0);
        let logs = script.logs.lock().unwrap().concat();
        assert!(!logs.contains("t0p-s3cret") && !logs.contains("eyJzdWIi"));
    }

    #[tokio::test]
    async fn a_failure_of_oidc_is_reported_without_the_secret() {
        let body = r#"{"error":"invalid_client","error_description":"t0p-s3cret is wrong"}"#;
        let url = token_endpoint("401 Unauthorized", body);
        let script = Script::new(&[]);
        let producer: Producer<_> = oidc(&url).create_with_context(Arc::clone(&script)).unwrap();
        script.until(|script| script.errors().len() == 1).await;
        producer.close().await;
        let shown = script.errors().concat() + &script.logs.lock().unwrap().concat();
        assert!(shown.contains("invalid_client"), "{shown}");
        assert!(!shown.contains("t0p-s3cret"), "{shown}");
    }
}
