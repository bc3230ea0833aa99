//! Payloads outlive futures, handles, the driver and the runtime.

use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;
use tokio::runtime;
use tokio_rdkafka::RDKafkaErrorCode as Code;

use super::{EVERYTHING, LARGE, arrived, content, enqueue, failures, producer, uncopied};
use crate::support::mock::cluster;

#[tokio::test]
async fn payloads_outlive_futures_and_handles() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let (producer, ledger) = producer(&uncopied(&cluster));
    drop(enqueue(&producer, 50));
    for _ in 0..50 {
        producer.try_enqueue_detached(ledger.record()).unwrap();
    }
    let awaited = enqueue(&producer, 50);
    drop(producer);
    assert_eq!(ledger.dropped(), 0);
    cluster.broker_up(1).unwrap();
    for delivery in join_all(awaited).await {
        delivery.unwrap();
    }
    ledger.all_came_to_their_end().await;
    arrived(&cluster, &ledger).await;
}

#[tokio::test]
async fn a_close_that_gives_up_gives_payloads_back() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let (producer, ledger) = producer(&uncopied(&cluster));
    for _ in 0..100 {
        producer.try_enqueue_detached(ledger.record()).unwrap();
    }
    let report = producer.close_timeout(Duration::ZERO).await;
    assert_eq!(report.undelivered, 100);
    // These are copies.
    assert_eq!(ledger.dropped(), 100);
    for (number, error) in report.records().iter().enumerate() {
        assert!(error.record().get_payload().unwrap() == content(number, LARGE));
    }
    ledger.all_came_to_their_end().await;
}

#[test]
fn payloads_live_on_when_the_driver_is_aborted_in_the_middle_of_an_event() {
    const MESSAGES: usize = 5_000;
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    let guard = runtime.enter();
    let (producer, ledger) = producer(&uncopied(&cluster));
    drop(guard);
    let futures = enqueue(&producer, MESSAGES);
    // A purge has them all in one event, and the driver leaves the worker in the middle of it.
    let reported = runtime.block_on(async {
        let mut purge = std::pin::pin!(producer.purge(EVERYTHING()));
        loop {
            assert!(futures::poll!(&mut purge).is_pending());
            tokio::task::yield_now().await;
            let reported = ledger.reported();
            if reported > 0 {
                break reported;
            }
        }
    });
    assert!(reported < MESSAGES, "{reported}");
    // Their futures have resolved, but the event is still there.
    assert_eq!(ledger.dropped(), 0);
    drop(runtime);
    block_on(async {
        assert_eq!(failures(futures).await, [Code::PurgeQueue; MESSAGES]);
        producer.close().await;
        assert_eq!(ledger.dropped(), MESSAGES);
        ledger.all_came_to_their_end().await;
    });
}

#[test]
fn payloads_live_on_when_the_runtime_is_shut_down_at_any_time() {
    const MESSAGES: usize = 2_000;
    // After how many reports.
    for reported in [0, 1, 600, MESSAGES] {
        let cluster = cluster("t", 1);
        cluster.broker_down(1).unwrap();
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let guard = runtime.enter();
        let (producer, ledger) = producer(&uncopied(&cluster));
        drop(guard);
        let futures = enqueue(&producer, MESSAGES);
        if reported > 0 {
            let purging = producer.clone();
            runtime.spawn(async move { purging.purge(EVERYTHING()).await });
        }
        block_on(ledger.until_reported(reported));
        runtime.shutdown_background();
        block_on(async {
            assert_eq!(failures(futures).await, [Code::PurgeQueue; MESSAGES]);
            drop(producer);
            ledger.all_came_to_their_end().await;
        });
    }
}
