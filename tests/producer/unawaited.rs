//! Failures that nobody awaits: they are logged, with their number, and in the report of the close.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use tokio_rdkafka::{
    ApiKey, ClientContext, DeliveryFuture, DeliveryResult, MockCluster, Producer, ProducerContext,
    ProducerRecord, PurgeConfig, RDKafkaErrorCode,
};
use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{DEADLINE, cluster, config, until};

const LINE: &str = "nobody awaits their results";

/// The broker refuses the next records, one by one.
fn refusing(cluster: &MockCluster, records: usize) -> Producer {
    refuse(cluster, records);
    one_by_one(cluster).create().unwrap()
}

fn refuse(cluster: &MockCluster, records: usize) {
    cluster.request_errors(
        ApiKey::Produce,
        &vec![RDKafkaErrorCode::InvalidRecord; records],
    );
}

fn one_by_one(cluster: &MockCluster) -> tokio_rdkafka::ClientConfig {
    let mut config = config(cluster);
    config
        .set("batch.num.messages", "1")
        .set("max.in.flight", "1")
        .set("message.max.bytes", "2000");
    config
}

fn record() -> ProducerRecord<'static> {
    ProducerRecord::to("t")
        .key("the-key")
        .payload("the-payload")
}

/// The number of records that the lines tell of.
fn told(log: &str) -> u64 {
    let lines = log.lines().filter(|line| line.contains(LINE));
    lines
        .map(|line| {
            let (_, number) = line.split_once("records=").expect("a number");
            let number = number.split(' ').next().unwrap();
            number.parse::<u64>().unwrap()
        })
        .sum()
}

async fn until_completed(producer: &Producer) {
    until(|| producer.in_flight_count() == 0).await;
}

#[tokio::test]
async fn refused_detached_records_are_logged_and_in_the_report() {
    let cluster = cluster("t", 1);
    let producer = refusing(&cluster, 10);
    let (_guard, log) = captured(Level::WARN);
    let started = Instant::now();
    for _ in 0..10 {
        producer.enqueue_detached(record()).await.unwrap();
    }
    // The first is logged without a close.
    until(|| told(&log()) > 0).await;
    until_completed(&producer).await;
    let report = producer.close().await;
    assert_eq!((report.failed, report.failed_before), (10, 10));
    assert_eq!((report.delivered, report.undelivered), (0, 0));
    assert!(report.records().is_empty());
    let log = log();
    assert_eq!(told(&log), 10, "{log}");
    let lines = log.lines().filter(|line| line.contains(LINE)).count();
    // The first, one at the close, and one after each interval.
    assert!(
        lines as u64 <= 2 + started.elapsed().as_secs() / 10,
        "{log}"
    );
    for part in [
        "ERROR",
        r#"topic="t""#,
        "code=\"INVALID_RECORD\"",
        "persistence=\"not persisted\"",
        "Broker failed to validate record",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(!log.contains("the-key") && !log.contains("the-payload"));
}

/// The delivery callback may do nothing, and so it does not count as somebody who awaits.
#[tokio::test]
async fn a_context_of_ones_own_changes_nothing() {
    struct OnlyTokens;
    impl ClientContext for OnlyTokens {}
    impl ProducerContext for OnlyTokens {
        type DeliveryOpaque = ();
        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
    }
    let cluster = cluster("t", 1);
    refuse(&cluster, 1);
    let producer: Producer<OnlyTokens> = one_by_one(&cluster)
        .create_with_context(OnlyTokens)
        .unwrap();
    let (_guard, log) = captured(Level::ERROR);
    producer.enqueue_detached(record()).await.unwrap();
    until(|| told(&log()) == 1).await;
    assert_eq!(producer.close().await.failed, 1);
}

#[tokio::test]
async fn a_future_that_is_dropped_before_its_result_awaits_nothing() {
    let cluster = cluster("t", 1);
    let producer = refusing(&cluster, 4);
    let (_guard, log) = captured(Level::ERROR);
    // Dropped before the failure.
    drop(producer.enqueue(record()).await.unwrap());
    let awaited = producer.enqueue(record()).await.unwrap();
    // Dropped after it, without a look.
    let unseen = producer.enqueue(record()).await.unwrap();
    {
        let mut sent = std::pin::pin!(producer.send(record()));
        assert!(futures::poll!(&mut sent).is_pending());
    }
    until_completed(&producer).await;
    awaited.await.unwrap_err();
    until(|| told(&log()) > 0).await;
    drop(unseen);
    let report = producer.close().await;
    assert_eq!((report.failed, report.failed_before), (3, 3));
    assert_eq!(told(&log()), 3, "{}", log());
}

#[tokio::test]
async fn the_other_failures_of_a_join_are_told() {
    let cluster = cluster("t", 1);
    let producer = refusing(&cluster, 5);
    let (_guard, log) = captured(Level::ERROR);
    let mut futures = Vec::new();
    for _ in 0..5 {
        futures.push(producer.enqueue(record()).await.unwrap());
    }
    futures::future::try_join_all(futures).await.unwrap_err();
    until_completed(&producer).await;
    assert_eq!(producer.close().await.failed, 4);
    assert_eq!(told(&log()), 4, "{}", log());
}

#[tokio::test]
async fn a_refusal_in_a_dropped_future_is_told() {
    let cluster = cluster("t", 1);
    let producer: Producer = one_by_one(&cluster).create().unwrap();
    let (_guard, log) = captured(Level::ERROR);
    let permit = producer.reserve().await.unwrap();
    drop(permit.send(record().payload(vec![0; 5_000])));
    let report = producer.close().await;
    assert_eq!((report.failed, report.failed_before), (1, 1));
    let log = log();
    assert_eq!(told(&log), 1, "{log}");
    assert!(log.contains("code=\"MSG_SIZE_TOO_LARGE\""), "{log}");
}

#[tokio::test]
async fn a_stopped_sink_tells_of_the_failures_that_it_has_not_returned() {
    let cluster = cluster("t", 1);
    let producer = refusing(&cluster, 5);
    let (_guard, log) = captured(Level::ERROR);
    let records = stream::iter((0..5).map(|_| Ok(record())));
    records.forward(producer.sink()).await.unwrap_err();
    until_completed(&producer).await;
    assert_eq!(producer.close().await.failed, 4);
    assert_eq!(told(&log()), 4, "{}", log());
}

/// What failures of a kind follow the first is told after an interval, also if nothing else
/// happens. The paused clock jumps over it.
#[tokio::test(start_paused = true)]
async fn the_number_is_told_without_a_further_failure() {
    let cluster = cluster("t", 1);
    let producer = refusing(&cluster, 10);
    let (_guard, log) = captured(Level::ERROR);
    for _ in 0..10 {
        producer.enqueue_detached(record()).await.unwrap();
    }
    let started = Instant::now();
    while told(&log()) < 10 {
        assert!(started.elapsed() < DEADLINE, "{}", log());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(told(&log()), 10);
    assert_eq!(producer.in_flight_count(), 0);
}

/// There is no close whose report could tell.
#[tokio::test]
async fn failures_after_the_last_handle_was_dropped_are_told() {
    let cluster = cluster("t", 1);
    let producer = refusing(&cluster, 10);
    let (_guard, log) = captured(Level::ERROR);
    for _ in 0..10 {
        producer.enqueue_detached(record()).await.unwrap();
    }
    drop(producer);
    until(|| told(&log()) == 10).await;
}

#[tokio::test]
async fn a_future_that_outlives_its_producer_tells() {
    let cluster = cluster("t", 1);
    let producer = refusing(&cluster, 2);
    let (_guard, log) = captured(Level::ERROR);
    let first = producer.enqueue(record()).await.unwrap();
    let other = ProducerRecord::to("u").payload("the-payload");
    let second = producer.enqueue(other).await.unwrap();
    assert_eq!(producer.close().await.failed, 2);
    drop(first);
    assert_eq!(told(&log()), 1, "{}", log());
    drop(producer);
    drop(second);
    assert_eq!(told(&log()), 2, "{}", log());
}

#[tokio::test]
async fn a_purge_is_told_and_counts_as_no_failure() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "60000").create().unwrap();
    let (_guard, log) = captured(Level::WARN);
    for _ in 0..3 {
        producer.enqueue_detached(record()).await.unwrap();
    }
    assert_eq!(producer.purge(PurgeConfig::default().queue()).await, 3);
    let report = producer.close().await;
    assert_eq!((report.failed, report.undelivered), (0, 0));
    let log = log();
    assert_eq!(told(&log), 3, "{log}");
    assert!(
        log.contains("records were purged") && !log.contains("ERROR"),
        "{log}"
    );
}

/// Drops the future of the first record when the second is delivered.
#[derive(Default)]
struct Drops {
    first: Mutex<Option<DeliveryFuture>>,
    calls: AtomicUsize,
}

impl ClientContext for Drops {}

impl ProducerContext for Drops {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 1 {
            drop(self.first.lock().unwrap().take());
        }
    }
}

#[tokio::test]
async fn a_future_dropped_during_the_close_leaves_its_record_to_the_report() {
    let cluster = cluster("t", 1);
    refuse(&cluster, 1);
    let producer: Producer<Drops> = one_by_one(&cluster)
        .create_with_context(Drops::default())
        .unwrap();
    let (_guard, log) = captured(Level::ERROR);
    let first = producer.try_enqueue(record()).unwrap();
    *producer.context().first.lock().unwrap() = Some(first);
    let second = producer.try_enqueue(record()).unwrap();
    let report = producer.close().await;
    second.await.unwrap();
    // Counted once.
    assert_eq!(
        (report.delivered, report.failed, report.failed_before),
        (1, 1, 0)
    );
    let [failed] = report.records() else {
        panic!("{report:?}");
    };
    assert_eq!(failed.code(), Some(RDKafkaErrorCode::InvalidRecord));
    assert_eq!(failed.record().get_payload(), Some(&b"the-payload"[..]));
    assert_eq!(told(&log()), 1, "{}", log());
}

/// The report has the records of the failures during the close, and the number of those before.
#[tokio::test]
async fn failures_before_and_during_a_close_are_told_apart() {
    let cluster = cluster("t", 1);
    let producer = refusing(&cluster, 5);
    for _ in 0..2 {
        producer.try_enqueue_detached(record()).unwrap();
    }
    until_completed(&producer).await;
    for _ in 0..3 {
        producer.try_enqueue_detached(record()).unwrap();
    }
    let report = producer.close().await;
    assert_eq!((report.failed, report.failed_before), (5, 2));
    assert_eq!(report.records().len(), 3);
    let again = producer.close().await;
    assert_eq!((again.failed, again.records().len()), (5, 3));
}
