//! What a producer has done, in numbers that add up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures::future::join_all;
use tokio_rdkafka::{
    ApiKey, BaseProducer, Metrics, Producer, ProducerRecord, PurgeConfig, RDKafkaErrorCode,
};

use crate::support::mock::{DEADLINE, cluster, config, until};

#[track_caller]
fn assert_adds_up(metrics: &Metrics) {
    let Metrics {
        enqueued,
        delivered,
        failed,
        in_flight,
        ..
    } = *metrics;
    for (enqueued, delivered, failed, in_flight) in [
        (
            enqueued.records,
            delivered.records,
            failed.records,
            in_flight.records,
        ),
        (
            enqueued.bytes,
            delivered.bytes,
            failed.bytes,
            in_flight.bytes,
        ),
    ] {
        assert_eq!(enqueued, delivered + failed + in_flight, "{metrics:?}");
    }
    assert_eq!(metrics.failed_by_code.values().sum::<u64>(), failed.records);
    let refused: u64 = metrics.refused_by_code.values().sum();
    assert_eq!(refused, metrics.refused);
    assert_eq!(metrics.delivery_latency.count(), delivered.records);
    let reports = delivered.records + failed.records;
    assert!(metrics.reports_per_turn.sum() <= reports, "{metrics:?}");
}

#[tokio::test]
#[cfg_attr(
    feature = "dynamic-linking",
    ignore = "each look at a latency reads the clock"
)]
async fn records_count_from_the_enqueue_to_the_delivery() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("linger.ms", "60000")
        .set("queue.buffering.max.messages", "7")
        .set("queue.buffering.max.kbytes", "3")
        .create()
        .unwrap();
    assert_eq!(producer.metrics().enqueued, Default::default());
    let record = || ProducerRecord::to("t").key("not counted").payload("12345");
    let future = producer.enqueue(record()).await.unwrap();
    producer.enqueue_detached(record()).await.unwrap();
    let permit = producer.reserve_bytes(100).await.unwrap();
    let metrics = producer.metrics();
    assert_adds_up(&metrics);
    let amount = |amount: tokio_rdkafka::Amount| (amount.records, amount.bytes);
    assert_eq!(amount(metrics.in_flight), (2, 10));
    assert_eq!(amount(metrics.acquired), (3, 110));
    assert_eq!((metrics.max_records, metrics.max_bytes), (7, 3072));
    drop(permit);
    producer.flush().await.unwrap();
    let delivery = future.await.unwrap();
    let metrics = producer.metrics();
    assert_adds_up(&metrics);
    assert_eq!(amount(metrics.delivered), (2, 10));
    assert_eq!(amount(metrics.acquired), (0, 0));
    let latency = u64::try_from(delivery.latency().as_micros()).unwrap();
    assert!(metrics.delivery_latency.max() >= latency);
    producer.close().await;
    assert_eq!(producer.metrics().delivered, metrics.delivered);
}

#[tokio::test]
async fn failures_count_by_their_code() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("batch.num.messages", "1")
        .set("max.in.flight", "1")
        .create()
        .unwrap();
    let record = || ProducerRecord::to("t").payload("123");
    producer.send(record()).await.unwrap();
    let code = RDKafkaErrorCode::InvalidRecord;
    cluster.request_errors(ApiKey::Produce, &[code]);
    producer.send(record()).await.unwrap_err();
    cluster.request_errors(ApiKey::Produce, &[code]);
    producer.enqueue_detached(record()).await.unwrap();
    until(|| producer.metrics().failed.records == 2).await;
    cluster.broker_down(1).unwrap();
    let purged = producer.enqueue(record()).await.unwrap();
    producer
        .purge(PurgeConfig::default().queue().inflight())
        .await;
    let purged = purged.await.unwrap_err().code().unwrap();
    let metrics = producer.metrics();
    assert_adds_up(&metrics);
    let expected = BTreeMap::from([(code, 2), (purged, 1)]);
    assert_eq!(metrics.failed_by_code, expected);
    assert_eq!((metrics.failed.bytes, metrics.refused), (9, 0));
}

/// What is refused was never enqueued, whichever call refuses it.
#[tokio::test]
async fn refused_records_count_once_and_never_as_enqueued() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .set("message.max.bytes", "2000")
        .create()
        .unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    let large = || ProducerRecord::to("t").payload(vec![0; 3_000]);
    producer.try_enqueue(large()).unwrap_err();
    producer.send(large()).await.unwrap_err();
    producer
        .reserve()
        .await
        .unwrap()
        .send(large())
        .await
        .unwrap_err();
    producer.enqueue_detached(large()).await.unwrap_err();
    let too_large = BTreeMap::from([(RDKafkaErrorCode::MessageSizeTooLarge, 4)]);
    assert_eq!(producer.metrics().refused_by_code, too_large);

    let permit = producer.reserve().await.unwrap();
    let record = || ProducerRecord::to("t").payload("1");
    producer.try_enqueue(record()).unwrap_err();
    let millisecond = Duration::from_millis(1);
    producer
        .send_timeout(record(), millisecond)
        .await
        .unwrap_err();
    drop(permit);
    // It asks for the partition several times, and counts once.
    let unknown = record().partition(9);
    producer
        .send_timeout(unknown, millisecond)
        .await
        .unwrap_err();
    let all: Vec<_> = {
        use futures::StreamExt;
        let records = [large(), record(), large()];
        producer.send_all(records).collect().await
    };
    assert_eq!(all.iter().filter(|it| it.is_err()).count(), 2);
    let metrics = producer.metrics();
    assert_adds_up(&metrics);
    let expected = BTreeMap::from([
        (RDKafkaErrorCode::QueueFull, 2),
        (RDKafkaErrorCode::UnknownPartition, 1),
        (RDKafkaErrorCode::MessageSizeTooLarge, 6),
    ]);
    assert_eq!(metrics.refused_by_code, expected);
    assert_eq!((metrics.enqueued.records, metrics.enqueued.bytes), (2, 1));

    producer.close().await;
    producer.send(record()).await.unwrap_err();
    let refused = producer.metrics().refused_by_code;
    assert_eq!(refused[&RDKafkaErrorCode::BrokerDestroy], 1);
}

#[tokio::test]
async fn waits_for_capacity_are_measured_also_those_that_are_given_up() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .create()
        .unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    assert_eq!(producer.metrics().capacity_wait.count(), 0);
    let permit = producer.reserve().await.unwrap();
    let wait = Duration::from_millis(20);
    producer
        .send_timeout(ProducerRecord::to("t"), wait)
        .await
        .unwrap_err();
    let mut waiting = Box::pin(producer.send(ProducerRecord::to("t")));
    assert!(futures::poll!(&mut waiting).is_pending());
    let metrics = producer.metrics();
    assert_eq!((metrics.waiting, metrics.capacity_wait.count()), (1, 1));
    assert!(metrics.capacity_wait.max() >= 20_000, "{metrics:?}");
    drop(permit);
    waiting.await.unwrap();
    let metrics = producer.metrics();
    assert_eq!((metrics.waiting, metrics.capacity_wait.count()), (0, 2));
}

/// Each record of a slow sender is a turn of its own; a purge of many is divided.
#[tokio::test]
async fn turns_have_the_reports_that_they_served() {
    const MANY: usize = 5_000;
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    for _ in 0..3 {
        producer.send(ProducerRecord::to("t")).await.unwrap();
    }
    until(|| producer.metrics().reports_per_turn.count() == 3).await;
    assert_eq!(producer.metrics().reports_per_turn.max(), 1);
    cluster.broker_down(1).unwrap();
    let futures: Vec<_> = (0..MANY)
        .map(|_| producer.try_enqueue(ProducerRecord::to("t")).unwrap())
        .collect();
    producer
        .purge(PurgeConfig::default().queue().inflight())
        .await;
    join_all(futures).await;
    let all = MANY as u64 + 3;
    until(|| producer.metrics().reports_per_turn.sum() == all).await;
    let turns = producer.metrics().reports_per_turn;
    assert!(turns.max() < 2048 + 512, "{turns:?}");
}

/// Samples while records are enqueued, delivered, refused and purged by several tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_under_load_adds_up() {
    let cluster = cluster("t", 4);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "100")
        .set("message.max.bytes", "2000")
        .create()
        .unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let sampler = thread::spawn({
        let (producer, is_over) = (producer.clone(), Arc::clone(&is_over));
        move || {
            let (mut samples, mut busy, mut before) = (0, 0, Metrics::default());
            while !is_over.load(Ordering::SeqCst) {
                let metrics = producer.metrics();
                assert_adds_up(&metrics);
                assert!(metrics.enqueued.records >= before.enqueued.records);
                assert!(metrics.delivered.bytes >= before.delivered.bytes);
                busy += u32::from(metrics.in_flight.records > 0);
                samples += 1;
                before = metrics;
            }
            (samples, busy)
        }
    });
    let tasks = (0..8).map(|task| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let (mut delivered, mut failed, mut refused) = (0, 0, 0);
            for index in 0..400 {
                let size = if index % 50 == 7 { 3_000 } else { index % 90 };
                let record = ProducerRecord::to("t").payload(vec![0; size]);
                match producer.enqueue(record).await {
                    Ok(future) => match future.await {
                        Ok(_) => delivered += 1,
                        Err(_) => failed += 1,
                    },
                    Err(_) => refused += 1,
                }
                if task == 0 && index % 100 == 99 {
                    producer.purge(PurgeConfig::default().queue()).await;
                }
            }
            (delivered, failed, refused)
        })
    });
    let results = tokio::time::timeout(DEADLINE, join_all(tasks))
        .await
        .unwrap();
    let mut sums = (0, 0, 0);
    for result in results {
        let (delivered, failed, refused) = result.unwrap();
        sums = (sums.0 + delivered, sums.1 + failed, sums.2 + refused);
    }
    let metrics = producer.metrics();
    assert_adds_up(&metrics);
    let counted = (metrics.delivered.records, metrics.failed.records);
    assert_eq!((counted.0, counted.1, metrics.refused), sums);
    is_over.store(true, Ordering::SeqCst);
    let (samples, busy) = sampler.join().unwrap();
    assert!(busy > 0, "{samples} samples");
}

#[tokio::test]
#[cfg_attr(
    feature = "dynamic-linking",
    ignore = "librdkafka has no public number of retries"
)]
async fn a_record_that_is_sent_again_counts_as_retried() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("retry.backoff.ms", "1")
        .create()
        .unwrap();
    let busy = RDKafkaErrorCode::RequestTimedOut;
    for _ in 0..2 {
        producer.send(ProducerRecord::to("t")).await.unwrap();
    }
    assert_eq!(producer.metrics().retries, Some(0));
    cluster.request_errors(ApiKey::Produce, &[busy, busy, busy]);
    producer.send(ProducerRecord::to("t")).await.unwrap();
    assert_eq!(producer.metrics().retries, Some(3));
}

#[tokio::test]
async fn merged_numbers_are_sums() {
    let cluster = cluster("t", 1);
    let mut all = Metrics::default();
    for (records, messages) in [(1, "10"), (3, "5")] {
        let producer: Producer = config(&cluster)
            .set("queue.buffering.max.messages", messages)
            .create()
            .unwrap();
        for _ in 0..records {
            producer
                .send(ProducerRecord::to("t").payload("ab"))
                .await
                .unwrap();
        }
        all.merge(&producer.metrics());
    }
    assert_adds_up(&all);
    assert_eq!((all.delivered.records, all.delivered.bytes), (4, 8));
    assert_eq!((all.max_records, all.delivery_latency.count()), (15, 4));
    let unlimited: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "0")
        .create()
        .unwrap();
    all.merge(&unlimited.metrics());
    assert_eq!(all.max_records, u64::MAX);
}

#[test]
fn a_base_producer_counts_too() {
    let cluster = cluster("t", 1);
    let producer: BaseProducer = config(&cluster)
        .set("message.max.bytes", "2000")
        .set("queue.buffering.max.messages", "100")
        .create()
        .unwrap();
    for _ in 0..3 {
        producer
            .send(ProducerRecord::to("t").payload("ab"))
            .unwrap();
    }
    producer
        .send(ProducerRecord::to("t").payload(vec![0; 3_000]))
        .unwrap_err();
    let metrics = producer.metrics();
    assert_adds_up(&metrics);
    assert_eq!((metrics.in_flight.records, metrics.in_flight.bytes), (3, 6));
    assert_eq!((metrics.refused, metrics.max_records), (1, 100));
    producer.flush(DEADLINE).unwrap();
    let metrics = producer.metrics();
    assert_adds_up(&metrics);
    assert_eq!(
        (metrics.delivered.records, metrics.in_flight.records),
        (3, 0)
    );
    assert_eq!(metrics.reports_per_turn.sum(), 3);
}
