//! What is known of a record that was purged, or was not to be acknowledged.

use std::time::Duration;

use tokio_rdkafka::{Persistence, Producer, ProducerRecord, PurgeConfig, RDKafkaErrorCode as Code};

use super::{assert_as_given, record};
use crate::support::mock::{cluster, config, produce_requests, until};

use Persistence::{NotPersisted, PossiblyPersisted};

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
