//! Faults: what a broker answers, and what becomes of the records.
#![cfg(feature = "mock")]

mod common;

use std::collections::HashSet;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake};
use std::time::{Duration, Instant};

use common::{
    Counting, DEADLINE, Errors, captured, cluster, config, payloads, produce_requests, until,
};
use futures::FutureExt;
use futures::future::join_all;
use tokio_rdkafka::{
    ApiKey, ClientConfig, ClientContext, Delivery, DeliveryFuture, DeliveryResult, Headers,
    KafkaError, MockCluster, Persistence, Producer, ProducerContext, ProducerRecord, PurgeConfig,
    RDKafkaErrorCode, RDKafkaLogLevel, SendError, WeakProducer,
};

use Persistence::{NotPersisted, Persisted, PossiblyPersisted};
use RDKafkaErrorCode as Code;

/// What librdkafka does with an error of a Produce request that it does not take for permanent.
///
/// Source: `rd_kafka_handle_Produce_error` and `rd_kafka_err_action` in rdkafka_request.c.
#[derive(Clone, Copy, Debug)]
enum Retry {
    /// Its metadata may be stale: for as long as `message.timeout.ms` allows, whatever `retries`
    /// says.
    Refresh,
    /// As often as `retries` says; then this is what is known.
    Count(Persistence),
}

use Retry::{Count, Refresh};

/// The codes that librdkafka retries by itself, and whether our table calls them retriable.
const RETRIED: &[(Code, Retry, bool)] = &[
    (Code::UnknownTopicOrPartition, Refresh, false),
    (Code::LeaderNotAvailable, Refresh, true),
    (Code::NotLeaderForPartition, Refresh, true),
    (Code::BrokerNotAvailable, Refresh, true),
    (Code::ReplicaNotAvailable, Refresh, true),
    (Code::CoordinatorNotAvailable, Refresh, true),
    (Code::NotCoordinator, Refresh, true),
    (Code::InvalidMessage, Count(NotPersisted), false),
    (Code::RequestTimedOut, Count(PossiblyPersisted), true),
    (Code::CoordinatorLoadInProgress, Count(NotPersisted), true),
    (Code::NotEnoughReplicas, Count(NotPersisted), true),
    (
        Code::NotEnoughReplicasAfterAppend,
        Count(PossiblyPersisted),
        true,
    ),
    (Code::KafkaStorageError, Count(NotPersisted), true),
    // The mock closes the connection instead of an answer.
    (Code::BrokerTransportFailure, Count(PossiblyPersisted), true),
];

/// The codes that librdkafka gives up on at once, though the same record may succeed later.
const PERMANENT_BUT_RETRIABLE: &[Code] = &[
    Code::NetworkException,
    Code::ConcurrentTransactions,
    Code::FencedLeaderEpoch,
    Code::UnknownLeaderEpoch,
    Code::ThrottlingQuotaExceeded,
];

/// The codes of sequence numbers: the message may have been written by an earlier request.
const PERMANENT_AND_POSSIBLY_PERSISTED: &[Code] = &[
    Code::OutOfOrderSequenceNumber,
    Code::DuplicateSequenceNumber,
];

/// All codes of the protocol, also some that librdkafka has no name for, but those it retries.
fn permanent_codes() -> impl Iterator<Item = Code> {
    let is_retried = |code: Code| RETRIED.iter().any(|row| row.0 == code);
    (-1..=140)
        .filter(|&raw| raw != 0)
        .map(Code::from)
        .filter(move |&code| !is_retried(code))
}

/// A configuration whose pauses are short.
fn hasty(cluster: &MockCluster) -> ClientConfig {
    let mut config = config(cluster);
    config
        .set("retry.backoff.ms", "5")
        .set("reconnect.backoff.ms", "5")
        .set("reconnect.backoff.max.ms", "50")
        .set("topic.metadata.refresh.fast.interval.ms", "5");
    config
}

fn headers() -> Headers {
    Headers::new()
        .append("h", Some("1"))
        .append("null", None::<&str>)
}

/// A record with every field.
fn record(topic: &str, partition: Option<i32>) -> ProducerRecord<'static> {
    let record = ProducerRecord::to(topic.to_owned())
        .key("k")
        .payload("p")
        .timestamp(99)
        .headers(headers());
    match partition {
        Some(partition) => record.partition(partition),
        None => record,
    }
}

/// That it is [`record`], as it was given.
fn assert_as_given(record: &ProducerRecord<'_>, topic: &str, partition: Option<i32>) {
    assert_eq!(record.get_topic(), topic);
    assert_eq!(record.get_key(), Some(&b"k"[..]), "{topic}");
    assert_eq!(record.get_payload(), Some(&b"p"[..]), "{topic}");
    assert_eq!(record.get_headers(), &headers(), "{topic}");
    assert_eq!(record.get_partition(), partition, "{topic}");
    assert_eq!(record.get_timestamp(), Some(99), "{topic}");
}

fn topic_of(code: Code) -> String {
    format!("t{}", code.raw())
}

/// Enqueues the numbers of the range as payloads.
async fn enqueue_all(
    producer: &Producer,
    topic: &str,
    range: std::ops::Range<usize>,
) -> Vec<DeliveryFuture> {
    let mut futures = Vec::new();
    for index in range {
        let record = ProducerRecord::to(topic).payload(index.to_string());
        futures.push(producer.enqueue(record).await.unwrap());
    }
    futures
}

/// That the error is of the record that was enqueued with that number.
fn assert_payload<D>(error: &SendError<D>, index: usize) {
    let expected = index.to_string();
    assert_eq!(error.record().get_payload(), Some(expected.as_bytes()));
}

async fn retried_codes_are_delivered_once(idempotence: &str) {
    let cluster = MockCluster::new(1).unwrap();
    let producer: Producer = hasty(&cluster)
        .set("enable.idempotence", idempotence)
        .create()
        .unwrap();
    for &(code, ..) in RETRIED {
        let topic = topic_of(code);
        cluster.create_topic(&topic, 1, 1).unwrap();
        cluster.start_request_tracking();
        cluster.request_errors(ApiKey::Produce, &[code]);
        let delivery = producer.send(record(&topic, None)).await;
        let delivery = delivery.unwrap_or_else(|error| panic!("{code}: {error}"));
        assert_eq!(delivery.persistence(), Persisted, "{code}");
        assert_eq!(produce_requests(&cluster), 2, "{code}");
        assert_eq!(payloads(&cluster, &topic).await, ["p"], "{code}");
    }
    assert!(producer.fatal_error().is_none());
}

#[tokio::test]
async fn what_librdkafka_retries_is_delivered_once() {
    retried_codes_are_delivered_once("false").await;
}

#[tokio::test]
async fn what_librdkafka_retries_is_delivered_once_by_an_idempotent_producer() {
    retried_codes_are_delivered_once("true").await;
}

#[tokio::test]
async fn without_retries_a_retriable_code_fails_with_the_record() {
    let cluster = MockCluster::new(1).unwrap();
    let producer: Producer = hasty(&cluster).set("retries", "0").create().unwrap();
    for &(code, retry, is_retriable) in RETRIED {
        let Count(persistence) = retry else { continue };
        let topic = topic_of(code);
        cluster.create_topic(&topic, 4, 1).unwrap();
        cluster.request_errors(ApiKey::Produce, &[code]);
        let error = producer.send(record(&topic, None)).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert_eq!(error.persistence(), persistence, "{code}");
        assert_eq!(error.is_retriable(), is_retriable, "{code}");
        assert_eq!(code.is_retriable(), is_retriable, "{code}");
        assert!(!error.is_fatal(), "{code}");
        assert_as_given(error.record(), &topic, None);
    }
}

#[tokio::test]
async fn a_code_of_stale_metadata_is_retried_until_the_message_times_out() {
    let rows = RETRIED
        .iter()
        .filter(|(_, retry, _)| matches!(retry, Refresh));
    join_all(rows.map(|&(code, _, is_retriable)| async move {
        assert_eq!(code.is_retriable(), is_retriable, "{code}");
        let cluster = cluster("t", 4);
        let producer: Producer = config(&cluster)
            .set("retries", "0")
            .set("message.timeout.ms", "3000")
            .create()
            .unwrap();
        cluster.request_errors(ApiKey::Produce, &[code; 1_000]);
        cluster.start_request_tracking();
        let error = producer.send(record("t", Some(3))).await.unwrap_err();
        assert!(produce_requests(&cluster) > 1, "{code}");
        assert_eq!(error.code(), Some(Code::MessageTimedOut), "{code}");
        assert_eq!(error.persistence(), NotPersisted, "{code}");
        assert!(error.is_retriable() && error.is_timed_out(), "{code}");
        assert_as_given(error.record(), "t", Some(3));
    }))
    .await;
}

#[tokio::test]
async fn every_permanent_code_fails_with_the_record() {
    let cluster = MockCluster::new(1).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    for code in permanent_codes() {
        // One that is not authorized is refused from then on.
        let topic = topic_of(code);
        cluster.create_topic(&topic, 4, 1).unwrap();
        cluster.request_errors(ApiKey::Produce, &[code]);
        let error = producer.send(record(&topic, Some(2))).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        let persistence = if PERMANENT_AND_POSSIBLY_PERSISTED.contains(&code) {
            PossiblyPersisted
        } else {
            NotPersisted
        };
        assert_eq!(error.persistence(), persistence, "{code}");
        let is_retriable = PERMANENT_BUT_RETRIABLE.contains(&code);
        assert_eq!(error.is_retriable(), is_retriable, "{code}");
        assert!(!error.is_fatal(), "{code}");
        assert_as_given(error.record(), &topic, Some(2));
    }
    producer.send(record("last", None)).await.unwrap();
}

#[tokio::test]
async fn an_idempotent_producer_goes_on_after_a_permanent_code() {
    let cluster = cluster("t", 1);
    let producer: Producer = hasty(&cluster)
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::MessageSizeTooLarge]);
    let error = producer.send(record("t", None)).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::MessageSizeTooLarge));
    producer.send(error.into_record()).await.unwrap();
    assert!(producer.fatal_error().is_none());
    assert_eq!(payloads(&cluster, "t").await, ["p"]);
}

#[tokio::test]
async fn a_duplicate_of_an_idempotent_producer_is_a_success_without_an_offset() {
    let cluster = cluster("t", 1);
    let producer: Producer = hasty(&cluster)
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::DuplicateSequenceNumber]);
    let delivery = producer.send(record("t", None)).await.unwrap();
    assert_eq!(delivery.persistence(), Persisted);
    assert_eq!(delivery.offset(), None);
}

#[tokio::test]
async fn a_producer_id_that_the_broker_forgot_is_renewed() {
    let cluster = cluster("t", 1);
    let producer: Producer = hasty(&cluster)
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::UnknownProducerId]);
    producer.send(record("t", None)).await.unwrap();
    assert!(producer.fatal_error().is_none());
    assert_eq!(payloads(&cluster, "t").await, ["p"]);
}

/// How an idempotent producer comes to a fatal error.
struct Fatal {
    property: (&'static str, &'static str),
    api_key: ApiKey,
    injected: &'static [Code],
    /// The code of the fatal error, and a part of its reason.
    code: Code,
    reason: &'static str,
    /// What becomes of the record that was in flight.
    delivery: (Code, Persistence),
}

const PLAIN: (&str, &str) = ("enable.idempotence", "true");
const GAPLESS: (&str, &str) = ("enable.gapless.guarantee", "true");
const PURGED: (Code, Persistence) = (Code::PurgeQueue, NotPersisted);

const FATAL: &[Fatal] = &[
    Fatal {
        property: PLAIN,
        api_key: ApiKey::Produce,
        injected: &[Code::OutOfOrderSequenceNumber],
        code: Code::OutOfOrderSequenceNumber,
        reason: "sequence desynchronization",
        delivery: (Code::OutOfOrderSequenceNumber, PossiblyPersisted),
    },
    // A first request would be tried again with another producer id; here it is not the first.
    Fatal {
        property: PLAIN,
        api_key: ApiKey::Produce,
        injected: &[Code::NotEnoughReplicas, Code::UnknownProducerId],
        code: Code::UnknownProducerId,
        reason: "unknown producer id",
        delivery: (Code::UnknownProducerId, PossiblyPersisted),
    },
    Fatal {
        property: GAPLESS,
        api_key: ApiKey::Produce,
        injected: &[Code::MessageSizeTooLarge],
        code: Code::GaplessGuarantee,
        reason: "unable to satisfy gap-less guarantee",
        delivery: (Code::MessageSizeTooLarge, NotPersisted),
    },
    Fatal {
        property: GAPLESS,
        api_key: ApiKey::Produce,
        injected: &[Code::InvalidProducerEpoch],
        code: Code::GaplessGuarantee,
        reason: "unable to satisfy gap-less guarantee",
        delivery: (Code::InvalidProducerEpoch, NotPersisted),
    },
    Fatal {
        property: PLAIN,
        api_key: ApiKey::InitProducerId,
        injected: &[Code::ClusterAuthorizationFailed],
        code: Code::ClusterAuthorizationFailed,
        reason: "Cluster authorization failed",
        delivery: PURGED,
    },
    Fatal {
        property: PLAIN,
        api_key: ApiKey::InitProducerId,
        injected: &[Code::InvalidProducerEpoch],
        code: Code::Fenced,
        reason: "fenced by newer instance",
        delivery: PURGED,
    },
    Fatal {
        property: PLAIN,
        api_key: ApiKey::InitProducerId,
        injected: &[Code::ProducerFenced],
        code: Code::Fenced,
        reason: "fenced by newer instance",
        delivery: PURGED,
    },
];

impl Fatal {
    fn config(&self, cluster: &MockCluster) -> ClientConfig {
        let mut config = hasty(cluster);
        config.set("enable.idempotence", "true");
        config.set(self.property.0, self.property.1);
        config
    }

    fn check(&self, error: &KafkaError) {
        assert_eq!(error.code(), Some(self.code));
        assert!(error.is_fatal() && !error.is_retriable(), "{error:?}");
        assert!(error.to_string().contains(self.reason), "{error}");
    }

    /// That a record was refused because of it.
    fn check_refused(&self, error: &SendError) {
        self.check(error.error());
        assert_eq!(error.persistence(), NotPersisted);
        assert_as_given(error.record(), "t", Some(0));
    }
}

#[tokio::test]
async fn after_a_fatal_error_every_send_fails_at_once_with_its_code_and_reason() {
    for row in FATAL {
        let cluster = cluster("t", 1);
        // The record is in the queue before anything goes wrong.
        cluster.broker_down(1).unwrap();
        let producer = Producer::builder(row.config(&cluster).set(MAX_MESSAGES, "3"))
            .context(Errors::default())
            .create()
            .unwrap();
        let in_flight = producer.try_enqueue(record("t", Some(0))).unwrap();
        cluster.request_errors(row.api_key, row.injected);
        cluster.broker_up(1).unwrap();

        let error = in_flight.await.unwrap_err();
        assert_eq!(
            (error.code(), error.persistence()),
            (Some(row.delivery.0), row.delivery.1),
            "{}",
            row.code
        );
        assert!(!error.is_retriable(), "{}", row.code);
        // What librdkafka gives up because of the fatal error says so.
        if row.delivery == PURGED {
            assert!(error.is_fatal(), "{error:?}");
            assert_eq!(error.is_fenced(), row.code == Code::Fenced, "{error:?}");
            let source = error.error().source().expect("the fatal error");
            row.check(source.downcast_ref().expect("a KafkaError"));
            assert!(error.to_string().contains(row.reason), "{error}");
        }
        assert_as_given(error.record(), "t", Some(0));
        row.check(&producer.fatal_error().unwrap());

        let record = || record("t", Some(0));
        for _ in 0..2 {
            row.check_refused(&producer.send(record()).now_or_never().unwrap().unwrap_err());
            let enqueued = producer.enqueue(record()).now_or_never().unwrap();
            row.check_refused(&enqueued.unwrap_err());
            row.check_refused(&producer.try_enqueue(record()).unwrap_err().into());
            row.check_refused(&producer.try_enqueue_detached(record()).unwrap_err().into());
        }
        assert_eq!(producer.in_flight_count(), 0);
        until(|| !producer.context().fatal().is_empty()).await;
        producer.close().await;
        let heard = producer.context().fatal();
        assert_eq!(heard.len(), 1, "{heard:?}");
        row.check(&heard[0]);
    }
}

const MAX_MESSAGES: &str = "queue.buffering.max.messages";

/// A producer that has had a fatal error, by the first row.
async fn fatal_producer(cluster: &MockCluster, max_messages: &str) -> Producer {
    cluster.request_errors(ApiKey::Produce, FATAL[0].injected);
    let config = &mut FATAL[0].config(cluster);
    let producer: Producer = config.set(MAX_MESSAGES, max_messages).create().unwrap();
    producer.send(record("t", Some(0))).await.unwrap_err();
    producer
}

#[tokio::test]
async fn a_permit_of_a_producer_with_a_fatal_error_fails_through_its_future() {
    let cluster = cluster("t", 1);
    let config = &mut FATAL[0].config(&cluster);
    let producer: Producer = config.create().unwrap();
    let permits = [
        producer.reserve().await.unwrap(),
        producer.reserve_bytes(100).await.unwrap(),
        producer.try_reserve().unwrap(),
    ];
    let owned = producer.reserve_owned().await.unwrap();
    cluster.request_errors(ApiKey::Produce, FATAL[0].injected);
    producer.send(record("t", Some(0))).await.unwrap_err();
    for permit in permits {
        let refused = permit.send(record("t", Some(0))).now_or_never().unwrap();
        FATAL[0].check_refused(&refused.unwrap_err());
    }
    let refused = owned.send(record("t", Some(0))).now_or_never().unwrap();
    FATAL[0].check_refused(&refused.unwrap_err());
    assert_eq!(producer.in_flight_count(), 0);
}

#[tokio::test]
async fn after_a_fatal_error_sends_fail_at_once_also_while_the_queue_is_full() {
    let cluster = cluster("t", 1);
    let producer = fatal_producer(&cluster, "2").await;
    let permits = [
        producer.try_reserve().unwrap(),
        producer.try_reserve().unwrap(),
    ];
    let record = || record("t", Some(0));
    FATAL[0].check_refused(&producer.try_enqueue(record()).unwrap_err().into());
    let sent = producer.send(record()).now_or_never();
    FATAL[0].check_refused(&sent.expect("it does not wait for room").unwrap_err());
    let enqueued = producer.enqueue(record()).now_or_never();
    FATAL[0].check_refused(&enqueued.expect("it does not wait for room").unwrap_err());
    drop(permits);
}

/// A producer with 50 records in flight, several requests among them, the first of which has a fatal
/// error as its answer: it is held until the broker's round trip takes no time.
async fn before_a_fatal_error(cluster: &MockCluster) -> (Producer, Vec<DeliveryFuture>) {
    let producer: Producer = FATAL[0]
        .config(cluster)
        .set("batch.num.messages", "1")
        .create()
        .unwrap();
    producer.send(record("t", None)).await.unwrap();
    cluster.request_errors(ApiKey::Produce, FATAL[0].injected);
    cluster.start_request_tracking();
    cluster.broker_round_trip_time(1, DEADLINE).unwrap();
    let futures = enqueue_all(&producer, "t", 0..50).await;
    until(|| produce_requests(cluster) > 1).await;
    (producer, futures)
}

#[tokio::test]
async fn a_fatal_error_resolves_everything_in_flight_with_its_record() {
    let cluster = cluster("t", 1);
    let (producer, futures) = before_a_fatal_error(&cluster).await;
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    let mut failed = Vec::new();
    for (index, result) in join_all(futures).await.into_iter().enumerate() {
        if let Err(error) = result {
            assert_payload(&error, index);
            failed.push(error);
        }
    }
    assert_eq!(failed[0].code(), Some(Code::OutOfOrderSequenceNumber));
    assert_eq!(failed[0].persistence(), PossiblyPersisted);
    let last = failed.last().unwrap();
    assert_eq!(last.code(), Some(Code::PurgeQueue));
    assert_eq!(last.persistence(), NotPersisted);
    assert!(last.is_fatal() && !last.is_fenced(), "{last:?}");
    FATAL[0].check(&producer.fatal_error().unwrap());
    assert_eq!(producer.in_flight_count(), 0);
}

/// librdkafka purges what is in the queue: no deadline has passed.
#[tokio::test]
async fn a_fatal_error_in_a_close_fails_what_is_left() {
    let cluster = cluster("t", 1);
    let (producer, futures) = before_a_fatal_error(&cluster).await;
    let mut close = Box::pin(producer.close());
    assert!(futures::poll!(close.as_mut()).is_pending());
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    let report = close.await;
    assert!(producer.fatal_error().is_some());
    assert_eq!(report.undelivered, 0);
    assert_eq!(report.delivered + report.failed, futures.len() as u64);
    assert!(report.failed > 0);
}

/// librdkafka purges once, and neither sends nor purges what is put back into its queue after that.
#[tokio::test]
async fn what_is_put_back_after_a_fatal_error_fails_without_waiting_for_its_timeout() {
    let cluster = cluster("t", 1);
    let producer: Producer = FATAL[0]
        .config(&cluster)
        .set("batch.num.messages", "1")
        .create()
        .unwrap();
    producer.send(record("t", None)).await.unwrap();
    // Both requests are on their way when the first answer comes; the second answer comes after
    // the purge.
    let after = |millis| Some(Duration::from_millis(millis));
    let errors = [
        (Code::OutOfOrderSequenceNumber, after(300)),
        (Code::NotEnoughReplicas, after(700)),
    ];
    cluster
        .broker_request_errors(1, ApiKey::Produce, &errors)
        .unwrap();
    let mut ends = Vec::new();
    for (index, future) in enqueue_all(&producer, "t", 0..2)
        .await
        .into_iter()
        .enumerate()
    {
        let error = future.await.unwrap_err();
        assert_payload(&error, index);
        ends.push((error.code().unwrap(), error.persistence()));
    }
    let expected = [
        (Code::OutOfOrderSequenceNumber, PossiblyPersisted),
        (Code::PurgeQueue, NotPersisted),
    ];
    assert_eq!(ends, expected);
    // The default timeout is five minutes, for which a close would have waited, too.
    assert_eq!(producer.close().await.failed, 0);
}

async fn broker_down_for_longer_than_the_timeout(is_topic_known: bool) {
    let cluster = cluster("t", 1);
    let producer: Producer = hasty(&cluster)
        .set("message.timeout.ms", "4000")
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
    let producer: Producer = config(&cluster).create().unwrap();
    producer.send(record("t", None)).await.unwrap();
    cluster
        .broker_round_trip_time(1, Duration::from_millis(300))
        .unwrap();
    let ticks = ticking();
    // A call that held the worker for the round trip would leave none or one.
    let assert_ticked = |call: &str, before: usize| {
        let ticked = ticks.load(Ordering::SeqCst) - before;
        assert!(ticked >= 3, "{call}: {ticked} ticks");
    };
    let now = || ticks.load(Ordering::SeqCst);

    let before = now();
    producer.send(record("t", None)).await.unwrap();
    assert_ticked("send", before);

    let (before, future) = (now(), producer.try_enqueue(record("t", None)).unwrap());
    assert_eq!(producer.flush().await.unwrap().delivered, 1);
    future.await.unwrap();
    assert_ticked("flush", before);

    let (before, future) = (now(), producer.try_enqueue(record("t", None)).unwrap());
    assert_eq!(producer.close().await.delivered, 1);
    future.await.unwrap();
    assert_ticked("close", before);
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
    const HOUR: Duration = Duration::from_secs(3_600);
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
    assert!(really.elapsed() < common::DEADLINE);
    cluster.broker_up(1).unwrap();
    in_flight.await.unwrap();
}

/// Panics in every callback, and counts.
#[derive(Default)]
struct Panicking {
    logs: AtomicUsize,
    errors: AtomicUsize,
    stats: AtomicUsize,
    deliveries: AtomicUsize,
}

impl Panicking {
    fn panic(counter: &AtomicUsize, callback: &str) -> ! {
        counter.fetch_add(1, Ordering::SeqCst);
        panic!("as asked in {callback}")
    }

    fn counts(&self) -> [usize; 4] {
        [&self.logs, &self.errors, &self.stats, &self.deliveries]
            .map(|counter| counter.load(Ordering::SeqCst))
    }
}

impl ClientContext for Panicking {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {
        Self::panic(&self.logs, "log")
    }

    fn error(&self, _: &KafkaError) {
        Self::panic(&self.errors, "error")
    }

    fn stats(&self, _: &str) {
        Self::panic(&self.stats, "stats")
    }
}

impl ProducerContext for Panicking {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        Self::panic(&self.deliveries, "delivery")
    }
}

/// Polls a future once, with a waker that panics.
fn poll_for_panic<F: Future + Unpin>(future: &mut F) {
    struct Panicking;

    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("as asked"));
        }
    }

    let waker = Arc::new(Panicking).into();
    let polled = future.poll_unpin(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

#[tokio::test]
async fn wakers_that_panic_stop_nothing() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = hasty(&cluster).create().unwrap();
    let mut delivery = producer.enqueue(record("t", None)).await.unwrap();
    poll_for_panic(&mut delivery);
    poll_for_panic(&mut Box::pin(producer.flush()));
    let (mut flush, other_flush) = (Box::pin(producer.flush()), producer.flush());
    poll_for_panic(&mut flush);
    cluster.broker_up(1).unwrap();
    assert_eq!(other_flush.await.unwrap().delivered, 1);
    assert_eq!(flush.await.unwrap().delivered, 1);
    delivery.await.unwrap();

    let queue = PurgeConfig::default().queue();
    let (mut purge, other_purge) = (Box::pin(producer.purge(queue)), producer.purge(queue));
    poll_for_panic(&mut purge);
    assert_eq!(other_purge.await, 0);
    assert_eq!(purge.await, 0);
    producer.send(record("t", None)).await.unwrap();
    assert_eq!(producer.close().await.failed, 0);
}

#[tokio::test(flavor = "current_thread")]
async fn panicking_callbacks_are_caught_logged_and_counted_and_stall_nothing() {
    let (_guard, log) = captured();
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let config = &mut hasty(&cluster);
    config
        .set("statistics.interval.ms", "10")
        .set("debug", "broker")
        .set("retries", "0");
    let producer = Producer::builder(config)
        .context(Panicking::default())
        .create()
        .unwrap();
    let context = Arc::clone(producer.context());
    until(|| context.counts()[..3].iter().all(|&count| count > 1)).await;
    cluster.broker_up(1).unwrap();

    for _ in 0..100 {
        producer.send(record("t", None)).await.unwrap();
    }
    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRequiredAcks]);
    let error = producer.send(record("t", None)).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::InvalidRequiredAcks));
    assert_as_given(error.record(), "t", None);
    producer.enqueue_detached(record("t", None)).await.unwrap();
    assert_eq!(producer.flush().await.unwrap().delivered, 1);
    assert_eq!(producer.close().await.failed, 0);

    let counts = context.counts();
    assert_eq!(counts[3], 102);
    let sum: usize = counts.iter().sum();
    assert_eq!(producer.callback_panics(), sum as u64, "{counts:?}");
    let log = log();
    for callback in ["log", "error", "stats", "delivery"] {
        assert!(
            log.contains(&format!("as asked in {callback}")),
            "{callback}"
        );
    }
    assert_eq!(log.matches("context panicked").count(), sum);
    assert_eq!(cluster.records("t").await.unwrap().len(), 101);
}

#[tokio::test]
async fn what_is_purged_in_the_queue_was_not_persisted() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "60000").create().unwrap();
    let future = producer.try_enqueue(record("t", Some(0))).unwrap();
    producer.purge(PurgeConfig::default().queue()).await;
    let error = future.await.unwrap_err();
    assert_eq!(error.code(), Some(Code::PurgeQueue));
    assert!(!error.is_fatal(), "{error:?}");
    assert_eq!(error.persistence(), NotPersisted);
    assert_as_given(error.record(), "t", Some(0));
    assert!(cluster.records("t").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_purged_in_flight_may_be_in_the_log() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    cluster
        .broker_round_trip_time(1, Duration::from_secs(30))
        .unwrap();
    cluster.start_request_tracking();
    let future = producer.try_enqueue(record("t", Some(0))).unwrap();
    until(|| produce_requests(&cluster) == 1).await;
    producer.purge(PurgeConfig::default().inflight()).await;
    let error = future.await.unwrap_err();
    assert_eq!(error.code(), Some(Code::PurgeInflight));
    assert_eq!(error.persistence(), PossiblyPersisted);
    assert!(!error.is_retriable());
    assert_as_given(error.record(), "t", Some(0));
    // Here it is.
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    assert_eq!(cluster.records("t").await.unwrap().len(), 2);
}

#[tokio::test]
async fn without_acknowledgements_a_delivery_is_possibly_persisted() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("acks", "0").create().unwrap();
    let delivery = producer.send(record("t", None)).await.unwrap();
    assert_eq!(delivery.persistence(), PossiblyPersisted);
    assert_eq!(delivery.offset(), None);
}

#[tokio::test]
async fn the_opaque_comes_back_only_where_the_record_was_refused() {
    let cluster = cluster("t", 1);
    let producer = Producer::builder(&config(&cluster))
        .context(Counting::default())
        .create()
        .unwrap();
    let topics = [String::new(), "t".repeat(250), "a\0b".to_owned()];
    for (index, topic) in topics.into_iter().enumerate() {
        let record = ProducerRecord::with_opaque_to(topic.clone(), index).payload("p");
        let error = producer.send(record).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::InvalidArgument));
        assert_eq!(error.persistence(), NotPersisted);
        assert!(!error.is_retriable());
        let (record, opaque, error) = error.into_parts();
        assert_eq!(error.field(), Some("topic"));
        assert_eq!((record.get_topic(), opaque), (&*topic, Some(index)));
    }
    assert!(producer.context().seen().is_empty());

    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRequiredAcks]);
    let failed = producer.send(ProducerRecord::with_opaque_to("t", 7)).await;
    let (record, opaque, _) = failed.unwrap_err().into_parts();
    assert_eq!((record.get_topic(), opaque), ("t", None));
    assert_eq!(producer.context().seen(), [7]);
}

/// Sends what failed again, with what is left of its tries.
#[derive(Default)]
struct Resending {
    producer: OnceLock<WeakProducer<Arc<Resending>>>,
    failed: AtomicUsize,
}

impl ClientContext for Resending {}

impl ProducerContext for Resending {
    type DeliveryOpaque = u32;

    fn delivery(&self, result: &DeliveryResult<'_>, tries_left: u32) {
        let Err(failure) = result else { return };
        self.failed.fetch_add(1, Ordering::SeqCst);
        let producer = self.producer.get().and_then(WeakProducer::upgrade);
        let (Some(producer), 1..) = (producer, tries_left) else {
            return;
        };
        let again = ProducerRecord::with_opaque_to(failure.topic(), tries_left - 1)
            .key(failure.key())
            .payload(failure.payload())
            .headers(failure.headers().collect());
        producer.try_enqueue_detached(again).unwrap();
    }
}

#[tokio::test]
async fn a_context_sends_a_failed_record_again_through_a_weak_handle() {
    let cluster = cluster("t", 1);
    let context = Arc::new(Resending::default());
    let producer = Producer::builder(&config(&cluster))
        .context(Arc::clone(&context))
        .create()
        .unwrap();
    context.producer.set(producer.downgrade()).unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRequiredAcks; 2]);
    let first = ProducerRecord::with_opaque_to("t", 5)
        .key("k")
        .payload("p")
        .headers(headers());
    let error = producer.send(first).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::InvalidRequiredAcks));
    until(|| producer.in_flight_count() == 0).await;
    assert_eq!(context.failed.load(Ordering::SeqCst), 2);
    let records = cluster.records("t").await.unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key(), Some(&b"k"[..]));
    assert_eq!(records[0].payload(), Some(&b"p"[..]));
    assert_eq!(records[0].headers(), &headers());

    drop(producer);
    assert!(context.producer.get().unwrap().upgrade().is_none());
    // The producer's own reference goes with its client.
    until(|| Arc::strong_count(&context) == 1).await;
}

/// The loop that the documentation of `SendError` shows.
async fn send_again(
    producer: &Producer,
    mut record: ProducerRecord<'static>,
    tries: u32,
) -> Result<Delivery, SendError> {
    let mut pause = Duration::from_millis(1);
    for _ in 1..tries {
        match producer.send(record).await {
            Err(error) if may_be_sent_again(&error) => record = error.into_record(),
            result => return result,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
    producer.send(record).await
}

fn may_be_sent_again(error: &SendError) -> bool {
    error.is_retriable() && error.persistence() == Persistence::NotPersisted
}

#[tokio::test]
async fn the_loop_of_the_documentation_sends_until_it_arrives() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("retries", "0").create().unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::NotEnoughReplicas; 3]);
    send_again(&producer, record("t", None), 5).await.unwrap();
    assert_eq!(payloads(&cluster, "t").await, ["p"]);
}

#[tokio::test]
async fn the_loop_of_the_documentation_ends_with_its_tries() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("retries", "0").create().unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::NotEnoughReplicas; 10]);
    cluster.start_request_tracking();
    let error = send_again(&producer, record("t", None), 4)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(Code::NotEnoughReplicas));
    assert_as_given(error.record(), "t", None);
    assert_eq!(produce_requests(&cluster), 4);
}

#[tokio::test]
async fn the_loop_of_the_documentation_leaves_what_may_be_written_to_the_caller() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("retries", "0").create().unwrap();
    let codes = [Code::NotEnoughReplicas, Code::NotEnoughReplicasAfterAppend];
    cluster.request_errors(ApiKey::Produce, &codes);
    let error = send_again(&producer, record("t", None), 5)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(codes[1]));
    assert_eq!(error.persistence(), PossiblyPersisted);
    assert!(error.is_retriable());
}
