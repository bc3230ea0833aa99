//! How a producer ends: close, drop of the last handle, and a runtime that goes first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::executor::block_on;
use futures::future::join_all;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rdkafka::{
    ClientContext, DeliveryFuture, DeliveryResult, MockCluster, Persistence, Producer,
    ProducerContext, ProducerRecord, PurgeConfig, RDKafkaErrorCode, WeakProducer,
};
use tokio_util::task::TaskTracker;

use crate::support::mock::{Counting, blocking_until, cluster, config, until, until_records};

#[tokio::test]
async fn close_delivers_what_is_in_flight_and_reports_it() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "60000").create().unwrap();
    let mut futures = Vec::new();
    for _ in 0..100 {
        futures.push(
            producer
                .enqueue(ProducerRecord::to("t").payload("v"))
                .await
                .unwrap(),
        );
    }
    let clone = producer.clone();
    let (report, again) = tokio::join!(producer.close(), clone.close());
    assert_eq!(
        (report.delivered, report.failed, report.undelivered),
        (100, 0, 0)
    );
    assert_eq!(again.delivered, 100);
    assert!(report.records().is_empty());
    for delivery in join_all(futures).await {
        delivery.unwrap();
    }
    assert!(producer.is_closed());
    assert_eq!(producer.close().await.delivered, 100);
    assert_eq!(cluster.records("t").await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_closed_producer_refuses_with_the_record() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let topic = producer.topic("t").unwrap();
    producer.close().await;

    let error = producer
        .send(ProducerRecord::to(&topic).payload("v"))
        .await
        .unwrap_err();
    assert!(error.is_closed());
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert_eq!(error.into_record().get_payload(), Some(&b"v"[..]));
    let error = producer
        .try_enqueue(ProducerRecord::to(&topic).payload("v"))
        .unwrap_err();
    assert!(error.is_closed());
    assert_eq!(error.into_record().get_payload(), Some(&b"v"[..]));
    assert!(producer.topic("other").unwrap_err().is_closed());
    assert_eq!(producer.flush().await.unwrap().delivered, 0);
    assert_eq!(producer.in_flight_count(), 0);
}

#[tokio::test]
async fn a_purge_resolves_also_at_and_after_the_end() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let everything = PurgeConfig::default().queue().inflight();
    let (_, purged) = tokio::join!(producer.close(), producer.purge(everything));
    assert_eq!(purged, 0);
    assert_eq!(producer.purge(everything).await, 0);
}

#[tokio::test]
async fn waiters_for_capacity_fail_with_their_records_at_a_close() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .set("linger.ms", "60000")
        .create()
        .unwrap();
    let first = producer
        .enqueue(ProducerRecord::to("t").payload("first"))
        .await
        .unwrap();
    let mut waiting: Vec<_> = (0..10)
        .map(|index| Box::pin(producer.send(ProducerRecord::to("t").payload(index.to_string()))))
        .collect();
    for send in &mut waiting {
        assert!(futures::poll!(send).is_pending());
    }
    let report = producer.close().await;
    assert_eq!(report.delivered, 1);
    first.await.unwrap();
    for (index, result) in join_all(waiting).await.into_iter().enumerate() {
        let error = result.unwrap_err();
        assert!(error.is_closed());
        assert_eq!(
            error.record().get_payload(),
            Some(index.to_string().as_bytes())
        );
    }
}

#[tokio::test]
async fn close_gives_up_at_its_deadline_and_says_what_was_not_delivered() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer = Producer::builder(&config(&cluster))
        .context(Counting::default())
        .create()
        .unwrap();
    let mut futures = Vec::new();
    for index in 0..50 {
        let record = ProducerRecord::with_opaque_to("t", index).payload(index.to_string());
        futures.push(producer.enqueue(record).await.unwrap());
        let record = ProducerRecord::with_opaque_to("t", 100 + index).key(index.to_string());
        producer
            .enqueue_detached(record.partition(0).timestamp(5))
            .await
            .unwrap();
    }
    let report = producer.close_timeout(Duration::from_millis(50)).await;
    assert_eq!(
        (report.delivered, report.failed, report.undelivered),
        (0, 0, 100)
    );
    for (index, result) in join_all(futures).await.into_iter().enumerate() {
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(RDKafkaErrorCode::PurgeQueue));
        assert_eq!(
            error.record().get_payload(),
            Some(index.to_string().as_bytes())
        );
    }
    // Those that nobody else has.
    let mut keys: Vec<u32> = report
        .records()
        .iter()
        .map(|error| {
            let record = error.record();
            assert_eq!(
                (record.get_partition(), record.get_timestamp()),
                (Some(0), Some(5))
            );
            String::from_utf8(record.get_key().unwrap().to_vec())
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, (0..50).collect::<Vec<_>>());
    assert_eq!(producer.context().seen().len(), 100);
    assert_eq!(producer.context().failed(), 100);
}

/// Its callback closes the producer when the third record fails.
#[derive(Default)]
struct Closes {
    producer: OnceLock<WeakProducer<Arc<Closes>>>,
    failed: AtomicUsize,
}

impl ClientContext for Closes {}

impl ProducerContext for Closes {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        if self.failed.fetch_add(1, Ordering::SeqCst) == 2 {
            let producer = self.producer.get().and_then(WeakProducer::upgrade);
            // It begins when it is first polled.
            assert!(producer.unwrap().close().now_or_never().is_none());
        }
    }
}

#[tokio::test]
async fn a_close_from_a_callback_counts_the_records_that_it_returns() {
    let cluster = cluster("t", 1);
    let producer = Producer::builder(config(&cluster).set("linger.ms", "60000"))
        .context(Arc::new(Closes::default()))
        .create()
        .unwrap();
    let is_set = producer.context().producer.set(producer.downgrade());
    is_set.ok().unwrap();
    for _ in 0..5 {
        producer
            .try_enqueue_detached(ProducerRecord::to("t"))
            .unwrap();
    }
    // All reports come in one event.
    producer.purge(PurgeConfig::default().queue()).await;
    let report = producer.close().await;
    assert_eq!(producer.context().failed.load(Ordering::SeqCst), 5);
    assert_eq!((report.undelivered, report.records().len()), (2, 2));
}

/// The order of docs/shutdown.md, while no broker answers the `send` of a worker.
#[tokio::test]
async fn a_close_resolves_the_send_of_a_worker_that_has_not_ended() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    let workers = TaskTracker::new();
    let worker = workers.spawn({
        let producer = producer.clone();
        async move { producer.send(ProducerRecord::to("t").payload("v")).await }
    });
    workers.close();
    until(|| producer.in_flight_count() == 1).await;
    timeout(Duration::from_millis(10), workers.wait())
        .await
        .unwrap_err();

    let report = producer.close_timeout(Duration::from_millis(10)).await;
    workers.wait().await;
    assert_eq!((report.undelivered, report.failed), (1, 0));
    // The worker awaits it.
    assert!(report.records().is_empty());
    let error = worker.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::PurgeQueue));
}

#[tokio::test]
async fn a_dropped_close_goes_on() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    let future = producer
        .enqueue(ProducerRecord::to("t").payload("v"))
        .await
        .unwrap();
    {
        let mut close = std::pin::pin!(producer.close_timeout(Duration::from_millis(20)));
        assert!(futures::poll!(&mut close).is_pending());
    }
    // The deadline stays.
    assert_eq!(
        future.await.unwrap_err().code(),
        Some(RDKafkaErrorCode::PurgeQueue)
    );
    assert_eq!(producer.close().await.undelivered, 1);
}

#[tokio::test]
async fn the_driver_delivers_what_the_last_handle_left() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "20").create().unwrap();
    let mut futures = Vec::new();
    for _ in 0..1_000 {
        futures.push(
            producer
                .enqueue(ProducerRecord::to("t").payload("v"))
                .await
                .unwrap(),
        );
    }
    drop(producer);
    for delivery in join_all(futures).await {
        delivery.unwrap();
    }
    until_records(&cluster, "t", 1_000).await;
}

/// A producer on a runtime, with 1 000 messages in flight that cannot be delivered.
fn stuck(runtime: &Runtime, cluster: &MockCluster) -> (Producer<Arc<Counting>>, InFlight) {
    cluster.broker_down(1).unwrap();
    let producer = Producer::builder(&config(cluster))
        .context(Arc::new(Counting::default()))
        .runtime(runtime.handle().clone())
        .create()
        .unwrap();
    let futures = (0..1_000)
        .map(|index| {
            let record = ProducerRecord::with_opaque_to("t", index).payload(index.to_string());
            producer.try_enqueue(record).unwrap()
        })
        .collect();
    (producer, futures)
}

type InFlight = Vec<DeliveryFuture<usize>>;

/// Every future resolves with the record, every callback has run, and the producer is closed.
fn all_resolve(producer: &Producer<Arc<Counting>>, futures: InFlight) {
    for (index, result) in block_on(join_all(futures)).into_iter().enumerate() {
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(RDKafkaErrorCode::PurgeQueue));
        assert_eq!(
            error.record().get_payload(),
            Some(index.to_string().as_bytes())
        );
    }
    assert_eq!(producer.context().seen().len(), 1_000);
    let record = ProducerRecord::with_opaque_to("t", 0);
    assert!(block_on(producer.send(record)).unwrap_err().is_closed());
    let report = block_on(producer.close());
    assert_eq!((report.delivered, report.undelivered), (0, 1_000));
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap()
}

#[test]
fn all_resolve_when_the_runtime_is_dropped() {
    let (runtime, cluster) = (runtime(), cluster("t", 1));
    let (producer, futures) = stuck(&runtime, &cluster);
    drop(runtime);
    all_resolve(&producer, futures);
}

#[test]
fn all_resolve_when_the_runtime_is_shut_down_in_the_background() {
    let (runtime, cluster) = (runtime(), cluster("t", 1));
    let (producer, futures) = stuck(&runtime, &cluster);
    runtime.shutdown_background();
    all_resolve(&producer, futures);
}

#[test]
fn all_resolve_when_the_runtime_is_shut_down_with_a_timeout() {
    let (runtime, cluster) = (runtime(), cluster("t", 1));
    let (producer, futures) = stuck(&runtime, &cluster);
    runtime.shutdown_timeout(Duration::from_secs(1));
    all_resolve(&producer, futures);
}

#[test]
fn all_resolve_when_a_runtime_ends_that_never_ran() {
    let cluster = cluster("t", 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (producer, futures) = stuck(&runtime, &cluster);
    drop(runtime);
    all_resolve(&producer, futures);
}

#[test]
fn all_resolve_when_the_driver_is_aborted_in_the_middle_of_an_event() {
    const MESSAGES: usize = 10_000;
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let producer = Producer::builder(&config(&cluster))
        .context(Arc::new(Counting::default()))
        .runtime(runtime.handle().clone())
        .create()
        .unwrap();
    let futures: InFlight = (0..MESSAGES)
        .map(|index| {
            let record = ProducerRecord::with_opaque_to("t", index).payload(index.to_string());
            producer.try_enqueue(record).unwrap()
        })
        .collect();
    // A purge has them all in one event, and the driver leaves the worker in the middle of it.
    let everything = PurgeConfig::default().queue().inflight();
    let context = Arc::clone(producer.context());
    let served = runtime.block_on(async {
        let mut purge = std::pin::pin!(producer.purge(everything));
        loop {
            assert!(futures::poll!(&mut purge).is_pending());
            tokio::task::yield_now().await;
            let served = context.seen().len();
            if served > 0 {
                break served;
            }
        }
    });
    assert!(served < MESSAGES, "{served}");
    drop(runtime);
    for (index, result) in block_on(join_all(futures)).into_iter().enumerate() {
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(RDKafkaErrorCode::PurgeQueue));
        assert_eq!(
            error.record().get_payload(),
            Some(index.to_string().as_bytes())
        );
    }
    block_on(producer.close());
    let mut seen = context.seen();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..MESSAGES));
}

/// They go on coming, and the end does not wait for a pause.
#[test]
fn statistics_hold_no_teardown_up() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let runtime = runtime();
    let context = Arc::new(Counting::default());
    let producer = Producer::builder(config(&cluster).set("statistics.interval.ms", "10"))
        .context(Arc::clone(&context))
        .runtime(runtime.handle().clone())
        .create()
        .unwrap();
    let record = ProducerRecord::with_opaque_to("t", 0);
    let future = producer.try_enqueue(record).unwrap();
    drop(runtime);
    assert!(block_on(future).is_err());
    assert_eq!(block_on(producer.close()).undelivered, 1);
    drop(producer);
    blocking_until(|| Arc::strong_count(&context) == 1);
}

#[tokio::test]
async fn all_resolve_when_the_runtime_is_dropped_on_another() {
    let cluster = cluster("t", 1);
    let inner = runtime();
    let (producer, futures) = stuck(&inner, &cluster);
    // `Runtime::drop` blocks and so must not run here; this is tokio's way.
    inner.shutdown_background();
    for result in join_all(futures).await {
        result.unwrap_err();
    }
    assert_eq!(producer.close().await.undelivered, 1_000);
}

#[test]
fn futures_outlive_producer_and_runtime() {
    let cluster = cluster("t", 1);
    let runtime = runtime();
    let (producer, futures) = stuck(&runtime, &cluster);
    drop(producer);
    drop(runtime);
    for result in block_on(join_all(futures)) {
        assert_eq!(
            result.unwrap_err().code(),
            Some(RDKafkaErrorCode::PurgeQueue)
        );
    }
}
