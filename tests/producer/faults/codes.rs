//! The errors that a broker answers a record with: which are retried, and which fail.

use std::time::Duration;

use futures::future::join_all;
use tokio_rdkafka::{
    ApiKey, MockCluster, Persistence, Producer, ProducerRecord, RDKafkaErrorCode as Code,
};

use super::{assert_as_given, hasty, record};
use crate::support::mock::{cluster, config, payloads, produce_requests, until};

use Persistence::{NotPersisted, Persisted, PossiblyPersisted};

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

fn topic_of(code: Code) -> String {
    format!("t{}", code.raw())
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

/// librdkafka builds the next request while one is in flight, and sends it before the retry. So the docs
/// promise the order only with idempotence.
#[tokio::test]
async fn with_one_request_in_flight_a_refused_one_is_overtaken() {
    let to_t = |payload: &'static str| ProducerRecord::to("t").payload(payload);
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("max.in.flight", "1").create().unwrap();
    producer.send(to_t("known")).await.unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::NotEnoughReplicas]);
    cluster
        .broker_round_trip_time(1, Duration::from_millis(500))
        .unwrap();
    cluster.start_request_tracking();
    let first = producer.try_enqueue(to_t("first")).unwrap();
    until(|| produce_requests(&cluster) == 1).await;
    let second = producer.send(to_t("second"));
    let (first, second) = futures::join!(first, second);
    assert!(first.is_ok() && second.is_ok());
    let arrived = payloads(&cluster, "t").await;
    assert_eq!(arrived, ["known", "second", "first"]);
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
