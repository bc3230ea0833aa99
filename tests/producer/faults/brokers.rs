//! Brokers that are down or slow, and leaders that change.

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio_rdkafka::{
    ClientConfig, ConnectFailure, DeliveryFuture, KafkaError, MockCluster, Persistence, Producer,
    ProducerRecord, RDKafkaErrorCode as Code, SendError,
};

use super::{MAX_MESSAGES, assert_payload, enqueue_all, hasty, record};
use crate::ready::{bootstrap, silent};
use crate::support::mock::{Counting, DEADLINE, cluster, config, payloads};

use Persistence::NotPersisted;

const TIMEOUT: Duration = Duration::from_secs(2);

/// By how much a time-out may be late: librdkafka looks once a second, and the machine may be busy.
/// With librdkafka's own back-off it would be 5.5 s and more: the last ones are 7.5 to 15 s long.
const LATE: Duration = Duration::from_secs(5);

async fn broker_down_for_longer_than_the_timeout(is_topic_known: bool) {
    let cluster = cluster("t", 1);
    let producer: Producer = hasty(&cluster)
        // Enough for a busy machine once the broker is back.
        .set("message.timeout.ms", "8000")
        .create()
        .unwrap();
    if is_topic_known {
        producer.send(record("t", None)).await.unwrap();
    }
    cluster.broker_down(1).unwrap();
    let futures = enqueue_all(&producer, "t", 0..1_000).await;
    for (index, result) in join_all(futures).await.into_iter().enumerate() {
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(Code::MessageTimedOut));
        assert_eq!(error.persistence(), NotPersisted);
        assert!(error.is_timed_out() && error.is_retriable());
        assert_payload(&error, index);
    }
    assert_eq!(producer.in_flight_count(), 0);
    cluster.broker_up(1).unwrap();
    for future in enqueue_all(&producer, "t", 0..10).await {
        future.await.unwrap();
    }
    let expected = 10 + usize::from(is_topic_known);
    assert_eq!(payloads(&cluster, "t").await.len(), expected);
}

#[tokio::test]
async fn a_broker_that_is_down_for_longer_than_the_timeout_fails_every_record() {
    tokio::join!(
        broker_down_for_longer_than_the_timeout(true),
        broker_down_for_longer_than_the_timeout(false),
    );
}

/// The failure of a broker that is the source of a record's error. Each text is in the chain once.
fn broker_failure(error: &SendError) -> Option<&KafkaError> {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        assert!(
            texts.iter().all(|outer| !outer.contains(&text)),
            "{texts:?}: {text}"
        );
        texts.push(text);
        next = source.source();
    }
    error.source()?.downcast_ref()
}

#[tokio::test]
async fn a_record_that_times_out_tells_why_no_broker_took_it() {
    let failure = async |servers: &str| {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", servers)
            .set("message.timeout.ms", "1000");
        let producer: Producer = config.create().unwrap();
        // Until the failure is known: to look for a name may take longer than the message has.
        let failure = producer.ready(DEADLINE).await.unwrap_err();
        assert!(!failure.is_timed_out(), "{failure:?}");
        let error = producer.send(record("t", None)).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::MessageTimedOut));
        assert!(error.is_timed_out() && error.is_retriable());
        let cause = broker_failure(&error).expect("the failure of the broker");
        assert!(cause.to_string().contains(servers), "{cause}");
        cause.connect_failure()
    };
    let (refused, unknown) = tokio::join!(failure("127.0.0.1:1"), failure("nowhere.invalid:9092"));
    assert_eq!(refused, Some(ConnectFailure::Refused));
    assert_eq!(unknown, Some(ConnectFailure::UnknownHost));
}

#[tokio::test]
async fn the_failure_of_a_broker_is_no_reason_after_a_delivery() {
    let cluster = cluster("t", 1);
    let producer: Producer = hasty(&cluster)
        .set("message.timeout.ms", "2000")
        .set("retries", "0")
        .create()
        .unwrap();
    let down = async || {
        cluster.broker_down(1).unwrap();
        let error = producer.send(record("t", None)).await.unwrap_err();
        let cause = broker_failure(&error).expect("the failure of the broker");
        assert!(
            !cause.to_string().is_empty() && !cause.is_timed_out(),
            "{cause}"
        );
        cluster.broker_up(1).unwrap();
    };
    down().await;
    while producer.send(record("t", None)).await.is_err() {}
    // The broker is up, and takes its time.
    cluster
        .broker_round_trip_time(1, Duration::from_secs(30))
        .unwrap();
    let error = producer.send(record("t", None)).await.unwrap_err();
    assert!(error.is_timed_out(), "{error:?}");
    assert!(broker_failure(&error).is_none(), "{error:?}");
}

#[tokio::test]
async fn a_slow_broker_and_a_small_queue_lose_nobody_and_keep_the_order() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set(MAX_MESSAGES, "10")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    producer
        .send(ProducerRecord::to("t").payload("0"))
        .await
        .unwrap();
    let round_trip = Duration::from_secs(2);
    cluster.broker_round_trip_time(1, round_trip).unwrap();
    let sends = (1..=25).map(|index: usize| {
        let producer = producer.clone();
        async move {
            let record = ProducerRecord::to("t").payload(index.to_string());
            producer.send(record).await.unwrap()
        }
    });
    // Polled in order for the first time, so they come in order.
    for delivery in join_all(sends).await {
        assert!(delivery.latency() >= round_trip);
    }
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    let expected: Vec<_> = (0..=25).map(|index| index.to_string()).collect();
    assert_eq!(payloads(&cluster, "t").await, expected);
}

/// Three brokers, all with a replica of the topic's partition.
fn three_brokers() -> MockCluster {
    let cluster = MockCluster::new(3).unwrap();
    cluster.create_topic("t", 1, 3).unwrap();
    cluster
}

/// Makes the next broker the leader.
fn move_leader(cluster: &MockCluster, round: usize) -> i32 {
    let leader = 1 + (round % 3) as i32;
    cluster.partition_leader("t", 0, Some(leader)).unwrap();
    leader
}

/// Waits until all are delivered; returns the broker that took the last one.
async fn last_broker(futures: Vec<DeliveryFuture>) -> Option<i32> {
    let mut last = None;
    for result in join_all(futures).await {
        last = result.unwrap().broker_id();
    }
    last
}

#[tokio::test]
async fn leader_changes_under_load_lose_and_double_nothing() {
    let cluster = three_brokers();
    let producer: Producer = hasty(&cluster)
        .set("batch.num.messages", "10")
        .create()
        .unwrap();
    for round in 0..15 {
        let start = round * 200;
        let mut futures = enqueue_all(&producer, "t", start..start + 100).await;
        let leader = move_leader(&cluster, round);
        futures.extend(enqueue_all(&producer, "t", start + 100..start + 200).await);
        // The second half came after the move.
        assert_eq!(last_broker(futures).await, Some(leader));
    }
    let mut payloads = payloads(&cluster, "t").await;
    payloads.sort_unstable();
    let mut expected: Vec<_> = (0..3_000).map(|index| index.to_string()).collect();
    expected.sort_unstable();
    assert!(payloads == expected, "{} records", payloads.len());
}

/// All records of a round are in one request, which the old leader refuses. With several on their
/// way it takes a broker that checks sequence numbers, as the mock does not: librdkafka may send
/// the new leader the next records before those that were refused are back in its queue.
#[tokio::test]
async fn leader_changes_keep_the_order_of_an_idempotent_producer() {
    let cluster = three_brokers();
    let producer: Producer = hasty(&cluster)
        .set("enable.idempotence", "true")
        .set("linger.ms", "200")
        .create()
        .unwrap();
    let mut brokers = HashSet::new();
    for round in 0..15 {
        let start = round * 200;
        let futures = enqueue_all(&producer, "t", start..start + 200).await;
        move_leader(&cluster, round);
        brokers.insert(last_broker(futures).await);
    }
    assert_eq!(brokers, HashSet::from([Some(1), Some(2), Some(3)]));
    let expected: Vec<_> = (0..3_000).map(|index| index.to_string()).collect();
    let payloads = payloads(&cluster, "t").await;
    assert!(payloads == expected, "{} records", payloads.len());
    assert!(producer.fatal_error().is_none());
}

/// Sends to a leader that is down, until librdkafka's own back-off would have grown to its 10 s.
async fn messages_time_out_in_time(brokers: i32, idempotence: &str) {
    let cluster = MockCluster::new(brokers).unwrap();
    cluster.create_topic("t", 1, brokers).unwrap();
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("enable.idempotence", idempotence)
        .set("message.timeout.ms", TIMEOUT.as_millis().to_string())
        .create()
        .unwrap();
    // On a busy machine the first may time out.
    while producer.send(record("t", None)).await.is_err() {}
    cluster.broker_down(1).unwrap();
    assert_time_outs_in_time(&producer).await;
}

/// Sends to a leader whose advertised address is of no use.
async fn messages_time_out_in_time_at(address: &str, idempotence: &str) {
    let cluster = cluster("t", 1);
    let (_, port) = address.split_once(':').unwrap();
    let producer: Producer = ClientConfig::new()
        .set(
            "bootstrap.servers",
            bootstrap(&cluster, port.parse().unwrap()),
        )
        .set("enable.idempotence", idempotence)
        .set("message.timeout.ms", TIMEOUT.as_millis().to_string())
        .create()
        .unwrap();
    assert_time_outs_in_time(&producer).await;
}

/// Sends one record after the other for 9 s: each fails at its time, and so does a close.
async fn assert_time_outs_in_time(producer: &Producer) {
    let outage = Instant::now();
    while outage.elapsed() < Duration::from_secs(9) {
        let started = Instant::now();
        let error = producer.send(record("t", None)).await.unwrap_err();
        let elapsed = started.elapsed();
        assert_eq!(error.code(), Some(Code::MessageTimedOut));
        assert!((TIMEOUT..TIMEOUT + LATE).contains(&elapsed), "{elapsed:?}");
    }
    let future = producer.enqueue(record("t", None)).await.unwrap();
    let started = Instant::now();
    assert_eq!(producer.close().await.failed, 1);
    assert!(started.elapsed() < TIMEOUT + LATE);
    future.await.unwrap_err();
}

#[tokio::test]
async fn messages_of_the_only_broker_time_out_in_time() {
    messages_time_out_in_time(1, "false").await;
}

#[tokio::test]
async fn messages_of_one_of_three_brokers_time_out_in_time() {
    messages_time_out_in_time(3, "false").await;
}

#[tokio::test]
async fn messages_of_an_idempotent_producer_time_out_in_time() {
    messages_time_out_in_time(1, "true").await;
}

#[tokio::test]
async fn messages_to_an_address_that_refuses_time_out_in_time() {
    let (listener, refusing) = silent();
    drop(listener);
    messages_time_out_in_time_at(&refusing, "false").await;
}

#[tokio::test]
async fn messages_to_an_address_that_does_not_answer_time_out_in_time() {
    let (_listener, silent) = silent();
    messages_time_out_in_time_at(&silent, "false").await;
}

#[tokio::test]
async fn idempotent_messages_to_an_address_that_does_not_answer_time_out_in_time() {
    let (_listener, silent) = silent();
    messages_time_out_in_time_at(&silent, "true").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_producers_of_one_runtime_share_a_context_under_load() {
    const PRODUCERS: usize = 16;
    const RECORDS: usize = 300;
    let cluster = Arc::new(cluster("t", 4));
    let context = Arc::new(Counting::default());
    let tasks = (0..PRODUCERS).map(|number| {
        let producer = Producer::builder(config(&cluster).set(MAX_MESSAGES, "50"))
            .context(Arc::clone(&context))
            .create()
            .unwrap();
        tokio::spawn(async move {
            let sends = (0..RECORDS).map(|index| {
                producer.send(ProducerRecord::with_opaque_to(
                    "t",
                    number * RECORDS + index,
                ))
            });
            for delivery in join_all(sends).await {
                delivery.unwrap();
            }
            producer.close().await;
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let mut seen = context.seen();
    seen.sort_unstable();
    assert_eq!(seen, (0..PRODUCERS * RECORDS).collect::<Vec<_>>());
    assert_eq!(context.failed(), 0);
    assert_eq!(
        cluster.records("t").await.unwrap().len(),
        PRODUCERS * RECORDS
    );
}
