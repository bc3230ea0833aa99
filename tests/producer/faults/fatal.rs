//! Fatal errors of an idempotent producer.

use std::error::Error;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio_rdkafka::{
    ApiKey, ClientConfig, DeliveryFuture, KafkaError, MockCluster, Persistence, Producer,
    RDKafkaErrorCode as Code, SendError,
};

use super::{MAX_MESSAGES, assert_as_given, assert_payload, enqueue_all, hasty, record};
use crate::support::mock::{DEADLINE, Errors, cluster, produce_requests, until};

use Persistence::{NotPersisted, PossiblyPersisted};

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
            assert!(source.to_string().contains(row.reason), "{source}");
            assert!(!error.to_string().contains(row.reason), "{error}");
            // That error is the one that `Display` shows, so it has the same source.
            let same = Error::source(&error).unwrap();
            assert_eq!(same.to_string(), source.to_string());
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
        let reported = producer.context().fatal();
        assert_eq!(reported.len(), 1, "{reported:?}");
        row.check(&reported[0]);
    }
}

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
    FATAL[0].check_refused(&sent.expect("it does not wait for capacity").unwrap_err());
    let enqueued = producer.enqueue(record()).now_or_never();
    FATAL[0].check_refused(
        &enqueued
            .expect("it does not wait for capacity")
            .unwrap_err(),
    );
    drop(permits);
}

/// A producer with 50 records in flight, several requests among them, the first of which has a
/// fatal error as its answer: it is held until the broker's round trip takes no time.
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
