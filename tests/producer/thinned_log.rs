//! librdkafka's lines that repeat: the first is logged at once, and the others are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_rdkafka::{
    BaseProducer, ClientConfig, ClientContext, DefaultProducerContext, DeliveryResult, KafkaError,
    Producer, ProducerContext, ProducerRecord, RDKafkaErrorCode, RDKafkaLogLevel,
};
use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{DEADLINE, cluster, config, until};

/// Counts what librdkafka tells, and passes it on to the default context.
#[derive(Debug, Default)]
struct Passing {
    all_down: AtomicUsize,
    refused: AtomicUsize,
    lines: AtomicUsize,
}

impl ClientContext for Passing {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.lines.fetch_add(1, Ordering::SeqCst);
        DefaultProducerContext.log(level, facility, message);
    }

    fn error(&self, error: &KafkaError) {
        DefaultProducerContext.error(error);
        let count = match error.code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => &self.all_down,
            _ => &self.refused,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

impl ProducerContext for Passing {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

fn lines<'l>(log: &'l str, part: &str) -> Vec<&'l str> {
    log.lines().filter(|line| line.contains(part)).collect()
}

/// The number of lines that a line stands for.
fn stands_for(line: &str) -> usize {
    match line.split_once(" more like it") {
        None => 1,
        Some((before, _)) => {
            let (_, number) = before.rsplit_once('(').expect("a number");
            1 + number.parse::<usize>().unwrap()
        }
    }
}

const ALL_DOWN: &str = "brokers are down";

/// `lines` were logged since `started`.
fn assert_thinned(lines: &[&str], started: Instant) {
    // The first, one at the end, and one after each interval.
    let most = 2 + started.elapsed().as_secs() / 10;
    assert!(
        !lines.is_empty() && lines.len() as u64 <= most,
        "{lines:#?}"
    );
}

#[tokio::test]
async fn all_brokers_down_is_logged_at_once_and_then_counted() {
    let cluster = cluster("t", 1);
    let context = Arc::new(Passing::default());
    let producer: Producer<Arc<Passing>> = config(&cluster)
        .set("reconnect.backoff.ms", "1")
        .set("reconnect.backoff.max.ms", "1")
        .create_with_context(Arc::clone(&context))
        .unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    let (_guard, log) = captured(Level::INFO);
    let started = Instant::now();
    cluster.broker_down(1).unwrap();
    producer
        .try_enqueue_detached(ProducerRecord::to("t"))
        .unwrap();
    let all_down = || context.all_down.load(Ordering::SeqCst);
    until(|| all_down() > 0).await;
    assert_thinned(&lines(&log(), ALL_DOWN), started);
    until(|| all_down() >= 6).await;
    producer.close_timeout(Duration::ZERO).await;
    let log = log();
    let down = lines(&log, ALL_DOWN);
    assert_thinned(&down, started);
    // None is lost.
    let told: usize = down.iter().map(|line| stands_for(line)).sum();
    assert_eq!(told, all_down(), "{log}");
}

fn unreachable() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1");
    config
}

fn poll_until<C: ProducerContext>(producer: &BaseProducer<C>, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "the condition never came");
        producer.poll(Duration::from_millis(20));
    }
}

/// librdkafka logs it, and raises an error with the same text.
#[test]
fn a_refused_connection_is_one_line() {
    let context = Arc::new(Passing::default());
    let (_guard, log) = captured(Level::INFO);
    let producer: BaseProducer<Arc<Passing>> = unreachable()
        .create_with_context(Arc::clone(&context))
        .unwrap();
    let started = Instant::now();
    poll_until(&producer, || {
        context.refused.load(Ordering::SeqCst) > 0 && context.all_down.load(Ordering::SeqCst) > 0
    });
    // A context of one's own gets both.
    assert!(context.lines.load(Ordering::SeqCst) > 0);
    drop(producer);
    let log = log();
    assert_thinned(&lines(&log, "Connection refused"), started);
    assert!(
        lines(&log, "client error")
            .iter()
            .all(|line| line.contains(ALL_DOWN)),
        "{log}"
    );
    assert_thinned(&lines(&log, ALL_DOWN), started);
}

/// Without log lines the errors are what is left.
#[test]
fn a_refused_connection_that_is_not_logged_is_an_error() {
    let (_guard, log) = captured(Level::INFO);
    let producer: BaseProducer = unreachable()
        .set_log_level(RDKafkaLogLevel::Emerg)
        .create()
        .unwrap();
    poll_until(&producer, || log().contains("Connection refused"));
    assert!(log().contains("client error"), "{}", log());
}

/// What one producer has logged does not delay another's first line.
#[test]
fn each_producer_has_its_own_first_line() {
    for _ in 0..2 {
        let (_guard, log) = captured(Level::INFO);
        let producer: BaseProducer = unreachable().create().unwrap();
        poll_until(&producer, || log().contains("Connection refused"));
    }
}

/// Whoever sets `debug` wants all of it.
#[test]
fn debug_lines_are_all_logged() {
    let context = Arc::new(Passing::default());
    let (_guard, log) = captured(Level::DEBUG);
    let producer: BaseProducer<Arc<Passing>> = unreachable()
        .set("debug", "broker")
        .set("reconnect.backoff.ms", "1")
        .set("reconnect.backoff.max.ms", "1")
        .create_with_context(Arc::clone(&context))
        .unwrap();
    const STATE: &str = "Broker changed state";
    poll_until(&producer, || lines(&log(), STATE).len() >= 20);
    assert!(
        lines(&log(), STATE)
            .iter()
            .all(|line| stands_for(line) == 1)
    );
}
