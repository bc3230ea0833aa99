//! What log lines say beside their text: client, broker, facility, level, and the target.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_rdkafka::{
    BaseProducer, ClientConfig, ClientContext, DefaultProducerContext, DeliveryResult, KafkaError,
    Producer, ProducerContext, ProducerRecord, RDKafkaLogLevel,
};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;

use crate::support::logs::{ask_all_subscribers, captured};
use crate::support::mock::{DEADLINE, cluster, config, until};

#[derive(Clone, Debug)]
struct Line {
    target: String,
    level: Level,
    fields: BTreeMap<String, String>,
}

impl Line {
    fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields
            .insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields
            .insert(field.name().to_owned(), format!("{value:?}"));
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

impl Lines {
    fn all(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }

    fn with_target(&self, target: &str) -> Vec<Line> {
        let lines = self.all().into_iter();
        lines.filter(|line| line.target == target).collect()
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line {
            target: event.metadata().target().to_owned(),
            level: *event.metadata().level(),
            fields: BTreeMap::new(),
        };
        event.record(&mut line);
        self.0.lock().unwrap().push(line);
    }
}

/// Keeps the lines of this thread that the filter lets through.
fn filtered(filter: &str) -> (DefaultGuard, Lines) {
    ask_all_subscribers();
    let lines = Lines::default();
    let filter = EnvFilter::builder().parse(filter).unwrap();
    let subscriber = registry().with(lines.clone().with_filter(filter));
    (tracing::subscriber::set_default(subscriber), lines)
}

fn unreachable() -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", "127.0.0.1:1")
        .set("client.id", "orders");
    config
}

fn poll_until<C: ProducerContext>(producer: &BaseProducer<C>, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "the condition never came");
        producer.poll(Duration::from_millis(20));
    }
}

/// `orders#producer-7`
fn is_client(name: Option<&str>) -> bool {
    let number = name.and_then(|name| name.strip_prefix("orders#producer-"));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

#[test]
fn a_line_of_librdkafka_has_its_parts_as_fields() {
    let (_guard, lines) = filtered("info");
    let producer: BaseProducer = unreachable().create().unwrap();
    let fail = || lines.with_target("librdkafka::FAIL");
    poll_until(&producer, || !fail().is_empty());
    let line = &fail()[0];
    assert_eq!(line.level, Level::ERROR);
    assert_eq!(line.get("facility"), Some("FAIL"));
    assert_eq!(line.get("level"), Some("Error"));
    assert_eq!(line.get("broker"), Some("127.0.0.1:1/bootstrap"));
    assert!(is_client(line.get("client")), "{line:?}");
    // The text is librdkafka's.
    let text = line.get("message").unwrap();
    assert!(text.contains("127.0.0.1:1/bootstrap: Connect to"), "{text}");
    // All brokers are down, which no broker tells.
    poll_until(&producer, || {
        let errors = lines.with_target("librdkafka");
        let down = errors.iter().find(|line| {
            let error = line.get("error").unwrap_or_default();
            error.contains("brokers are down")
        });
        down.is_some_and(|line| is_client(line.get("client")) && line.get("broker").is_none())
    });
}

/// A context that passes lines on names the client, too.
#[test]
fn a_context_may_pass_lines_on() {
    struct Passing;
    impl ClientContext for Passing {
        fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
            DefaultProducerContext.log(level, facility, message);
        }
        fn error(&self, error: &KafkaError) {
            DefaultProducerContext.error(error);
        }
    }
    impl ProducerContext for Passing {
        type DeliveryOpaque = ();
        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
    }
    let (_guard, lines) = filtered("info");
    let producer: BaseProducer<Passing> = unreachable().create_with_context(Passing).unwrap();
    let fail = || lines.with_target("librdkafka::FAIL");
    poll_until(&producer, || !fail().is_empty());
    assert!(is_client(fail()[0].get("client")));
    // Outside of a client's callback there is no client.
    DefaultProducerContext.log(RDKafkaLogLevel::Warning, "FAIL", "a:1/2: of nobody");
    let last = fail().pop().unwrap();
    assert_eq!((last.level, last.get("client")), (Level::WARN, None));
    assert_eq!(last.get("broker"), Some("a:1/2"));
}

#[test]
fn a_filter_selects_facilities() {
    let (_guard, lines) = filtered("off,librdkafka::STATE=debug,librdkafka::FAIL=error");
    let producer: BaseProducer = unreachable().set("debug", "all").create().unwrap();
    poll_until(&producer, || {
        !lines.with_target("librdkafka::STATE").is_empty()
            && !lines.with_target("librdkafka::FAIL").is_empty()
    });
    let has_others = |line: &Line| {
        !matches!(&*line.target, "librdkafka::STATE" | "librdkafka::FAIL")
            || (line.target.ends_with("FAIL") && line.level != Level::ERROR)
    };
    assert!(!lines.all().iter().any(has_others), "{:?}", lines.all());
    drop(producer);
    drop(_guard);
    // The prefix selects all, as before there were targets for facilities.
    let (_guard, lines) = filtered("off,librdkafka=debug,librdkafka::STATE=off");
    let producer: BaseProducer = unreachable().set("debug", "broker").create().unwrap();
    poll_until(&producer, || {
        !lines.with_target("librdkafka::FAIL").is_empty()
            && !lines.with_target("librdkafka::BRKMAIN").is_empty()
    });
    assert!(lines.with_target("librdkafka::STATE").is_empty());
}

/// Of two producers in one process each line names its own.
#[test]
fn two_producers_are_told_apart() {
    let (_guard, lines) = filtered("info");
    let producers: [BaseProducer; 2] =
        ["orders", "rows"].map(|id| unreachable().set("client.id", id).create().unwrap());
    for (producer, id) in producers.iter().zip(["orders#", "rows#"]) {
        poll_until(producer, || {
            let mut fail = lines.with_target("librdkafka::FAIL").into_iter();
            fail.any(|line| line.get("client").is_some_and(|name| name.starts_with(id)))
        });
    }
}

#[tokio::test]
async fn the_crates_own_lines_name_the_client_and_quote_their_texts() {
    let (_guard, log) = captured(Level::INFO);
    let cluster = cluster("t", 1);
    let with_a_record_that_lingers = || {
        let producer: Producer = config(&cluster)
            .set("client.id", "orders")
            .set("linger.ms", "60000")
            .create()
            .unwrap();
        producer
            .try_enqueue_detached(ProducerRecord::to("t").payload("v"))
            .unwrap();
        producer
    };
    let closed = with_a_record_that_lingers();
    drop(closed.close_timeout(Duration::ZERO).await);
    drop(with_a_record_that_lingers());
    until(|| log().contains("nobody awaits") && log().contains("last handle")).await;
    for line in log().lines() {
        assert!(line.contains("client=\"orders#producer-"), "{line}");
    }
    assert!(log().contains("persistence=\"not persisted\""), "{}", log());
    assert!(
        log().contains("error=\"Local: Purged in queue"),
        "{}",
        log()
    );
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every line that the crate writes names its client, and records texts as strings, which
/// subscribers quote. `%` would write them as they are.
#[test]
fn no_event_of_the_crate_lacks_the_client() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut events = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for level in ["error!(", "warn!(", "info!(", "debug!(", "trace!("] {
            for (begin, _) in text.match_indices(&format!("tracing::{level}")) {
                let event = text[begin..].split(");").next().unwrap();
                events += 1;
                assert!(event.contains("client"), "{}: {event}", file.display());
                assert!(!event.contains('%'), "{}: {event}", file.display());
            }
        }
    }
    assert!(events > 10, "{events} events");
}
