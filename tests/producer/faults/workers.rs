//! What waits leaves the only worker of a runtime to others, and needs no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio_rdkafka::{Producer, PurgeConfig, RDKafkaErrorCode as Code};

use super::{MAX_MESSAGES, assert_as_given, enqueue_all, hasty, record};
use crate::support::mock::{DEADLINE, cluster, config, until};

const HOUR: Duration = Duration::from_secs(3_600);

/// Counts in a task of its own.
fn ticking() -> Arc<AtomicUsize> {
    let ticks = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&ticks);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    ticks
}

#[tokio::test(flavor = "current_thread")]
async fn a_flush_that_is_stuck_leaves_the_only_worker_to_others() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = hasty(&cluster).create().unwrap();
    let futures = enqueue_all(&producer, "t", 0..100).await;
    let ticks = ticking();
    let flush = tokio::spawn({
        let producer = producer.clone();
        async move { producer.flush().await }
    });
    until(|| ticks.load(Ordering::SeqCst) >= 100).await;
    assert!(!flush.is_finished());
    cluster.broker_up(1).unwrap();
    assert_eq!(flush.await.unwrap().unwrap().delivered, 100);
    for future in futures {
        future.await.unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn no_call_to_a_slow_broker_holds_the_only_worker() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("message.timeout.ms", "20000")
        .create()
        .unwrap();
    producer.send(record("t", None)).await.unwrap();
    let ticks = ticking();
    // The answer comes once others have run. A call that held the worker would not get it in time.
    let no_answer = || cluster.broker_round_trip_time(1, HOUR).unwrap();
    let answer = async || {
        let before = ticks.load(Ordering::SeqCst);
        until(|| ticks.load(Ordering::SeqCst) >= before + 100).await;
        cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    };

    no_answer();
    let (sent, ()) = tokio::join!(producer.send(record("t", None)), answer());
    sent.unwrap();

    no_answer();
    let future = producer.try_enqueue(record("t", None)).unwrap();
    let (flushed, ()) = tokio::join!(producer.flush(), answer());
    assert_eq!(flushed.unwrap().delivered, 1);
    future.await.unwrap();

    no_answer();
    let future = producer.try_enqueue(record("t", None)).unwrap();
    let (report, ()) = tokio::join!(producer.close(), answer());
    assert_eq!(report.delivered, 1);
    future.await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_purge_of_a_large_queue_leaves_the_only_worker_to_others() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    let futures = enqueue_all(&producer, "t", 0..50_000).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&turns);
    tokio::spawn(async move {
        loop {
            tokio::task::yield_now().await;
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let everything = PurgeConfig::default().queue().inflight();
    assert_eq!(producer.purge(everything).await, 50_000);
    assert!(turns.load(Ordering::SeqCst) >= 10);
    for future in futures {
        assert_eq!(future.await.unwrap_err().code(), Some(Code::PurgeQueue));
    }
}

#[tokio::test(start_paused = true)]
async fn send_flush_and_close_need_no_clock() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set(MAX_MESSAGES, "2").create().unwrap();
    let started = tokio::time::Instant::now();
    let sends = (0..20).map(|_| producer.send(record("t", None)));
    for delivery in join_all(sends).await {
        delivery.unwrap();
    }
    let future = producer.enqueue(record("t", None)).await.unwrap();
    assert_eq!(producer.flush().await.unwrap().delivered, 1);
    future.await.unwrap();
    producer.close().await;
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_timed_forms_end_on_virtual_time() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = config(&cluster).set(MAX_MESSAGES, "1").create().unwrap();
    let in_flight = producer.enqueue(record("t", None)).await.unwrap();
    let (started, really) = (tokio::time::Instant::now(), Instant::now());

    let error = producer.send_timeout(record("t", Some(0)), HOUR).await;
    let error = error.unwrap_err();
    assert!(error.is_timed_out() && error.is_queue_full());
    assert_as_given(error.record(), "t", Some(0));
    let error = producer.flush_timeout(HOUR).await.unwrap_err();
    assert!(error.is_timed_out());
    assert_eq!(error.remaining(), 1);

    // Each timer is a millisecond late at most.
    let elapsed = started.elapsed();
    assert!(elapsed >= 2 * HOUR && elapsed < 2 * HOUR + Duration::from_secs(1));
    assert!(really.elapsed() < DEADLINE);
    cluster.broker_up(1).unwrap();
    in_flight.await.unwrap();
}
