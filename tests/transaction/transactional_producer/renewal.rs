//! Another epoch, or another client, after a transaction that left something behind.

use std::error::Error;
use std::time::Duration;

use tokio_rdkafka::{
    ApiKey, Health, KafkaError, MockCluster, ProducerRecord, RDKafkaErrorCode, RDKafkaLogLevel,
    TransactionOutcome, TransactionalProducer,
};
use tracing::Level;

use super::{assert_works, initialized, record, transactional};
use crate::support::logs::captured;
use crate::support::mock::{Drop, cluster, payloads, poll_then_drop};

/// Sends one record that the broker refuses, and aborts.
async fn refused(cluster: &MockCluster, producer: &mut TransactionalProducer) {
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(1)).await.unwrap();
    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::InvalidRecord]);
    let error = transaction.send(record(2)).await.unwrap_err();
    assert_eq!(error.error().code(), Some(RDKafkaErrorCode::InvalidRecord));
    let error = transaction.commit().await.unwrap_err();
    assert!(error.requires_abort(), "{error:?}");
    error.into_parts().0.unwrap().abort().await.unwrap();
}

/// The same after the transaction is only dropped.
async fn refused_and_dropped(cluster: &MockCluster, producer: &mut TransactionalProducer) {
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(1)).await.unwrap();
    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::MessageSizeTooLarge]);
    transaction.enqueue_detached(record(2)).await.unwrap();
    transaction.flush().await.unwrap();
}

fn inits(cluster: &MockCluster) -> usize {
    let requests = cluster.requests().into_iter();
    requests
        .filter(|request| request.api_key() == ApiKey::InitProducerId)
        .count()
}

#[tokio::test]
async fn a_refused_record_spoils_no_later_transaction() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let (_guard, logs) = captured(Level::INFO);
    for turn in 0..6 {
        match turn % 3 {
            1 => refused(&cluster, &mut producer).await,
            2 => refused_and_dropped(&cluster, &mut producer).await,
            _ => {}
        }
        // At its first try.
        let topic = producer.begin().await.unwrap().topic("t").unwrap();
        let transaction = producer.begin().await.unwrap();
        for _ in 0..3 {
            let record = ProducerRecord::to(&topic).payload("good");
            transaction.send(record).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }
    assert_eq!(producer.renewals(), 4);
    assert_eq!(
        payloads(&cluster, "t")
            .await
            .iter()
            .filter(|it| *it == "good")
            .count(),
        18
    );
    let logs = logs();
    assert_eq!(logs.matches("has renewed its epoch").count(), 4, "{logs}");
    assert!(logs.contains("INVALID_RECORD"), "{logs}");
    assert!(!logs.contains("the producer renews"), "{logs}");
    assert_eq!(producer.close().await.undelivered, 0);
}

#[tokio::test]
async fn nothing_is_renewed_where_nothing_fails() {
    let cluster = cluster("t", 1);
    cluster.start_request_tracking();
    let mut producer = initialized(&transactional(&cluster)).await;
    for _ in 0..3 {
        assert_works(&mut producer).await;
        producer.begin().await.unwrap().abort().await.unwrap();
        let transaction = producer.begin().await.unwrap();
        // Refused by this crate, and by librdkafka.
        transaction
            .try_enqueue(record(0).partition(-7))
            .unwrap_err();
        transaction.try_enqueue(record(0).partition(9)).unwrap_err();
        drop(transaction);
    }
    assert_eq!((producer.renewals(), inits(&cluster)), (0, 1));
}

#[tokio::test]
async fn a_lost_request_is_fenced_off() {
    for api in [ApiKey::EndTxn, ApiKey::Produce, ApiKey::AddPartitionsToTxn] {
        // The lines that tell of it are logged in any case, and shown as the user wishes.
        for level in [RDKafkaLogLevel::Info, RDKafkaLogLevel::Critical] {
            let cluster = cluster("t", 1);
            let mut config = transactional(&cluster);
            config.set_log_level(level);
            let mut producer = initialized(&config).await;
            let (_guard, logs) = captured(Level::INFO);
            assert_works(&mut producer).await;
            cluster.request_errors(api, &[RDKafkaErrorCode::BrokerTransportFailure]);
            // librdkafka sends the request again.
            assert_works(&mut producer).await;
            assert_eq!(producer.renewals(), 0);
            assert_works(&mut producer).await;
            assert_eq!(producer.renewals(), 1, "{api:?}");
            let is_shown = logs().contains("facility=\"FAIL\"");
            assert_eq!(is_shown, level == RDKafkaLogLevel::Info, "{}", logs());
        }
    }
}

#[tokio::test]
async fn after_a_fatal_error_another_client_goes_on() {
    let cluster = cluster("t", 1);
    cluster.start_request_tracking();
    let mut producer = initialized(&transactional(&cluster)).await;
    let context = std::sync::Arc::as_ptr(producer.context());
    for turn in 1..=3 {
        let transaction = producer.begin().await.unwrap();
        let topic = transaction.topic("t").unwrap();
        let handle = transaction.handle();
        let future = transaction.enqueue(record(0)).await.unwrap();
        transaction.flush().await.unwrap();
        let code = RDKafkaErrorCode::InvalidTransactionalState;
        cluster.request_errors(ApiKey::EndTxn, &[code]);
        let error = KafkaError::from(transaction.commit().await.unwrap_err());
        assert!(error.is_fatal() && !error.is_fenced(), "{error:?}");
        assert_eq!(error.code(), Some(code));
        // The coordinator has refused to commit.
        let outcome = producer.outcome().await;
        assert_eq!(outcome, Some(TransactionOutcome::Aborted));
        // At once, so that a producer that comes later is not fenced by the next begin.
        assert_eq!(
            (producer.renewals(), inits(&cluster)),
            (turn - 1, 1 + turn as usize)
        );
        let transaction = producer.begin().await.unwrap();
        future.await.unwrap();
        transaction
            .send(ProducerRecord::to(&topic).payload("v"))
            .await
            .unwrap();
        let error = handle.enqueue(record(1)).await.unwrap_err();
        // The old client's, as before.
        assert_eq!(error.error().code(), Some(code));
        transaction.commit().await.unwrap();
        assert!(producer.fatal_error().is_none());
        assert_eq!(
            (producer.renewals(), inits(&cluster)),
            (turn, 1 + turn as usize)
        );
        assert_eq!(std::sync::Arc::as_ptr(producer.context()), context);
    }
    assert_eq!(producer.close().await.undelivered, 0);
}

#[tokio::test]
async fn a_fatal_error_of_a_dropped_transaction_is_cured_too() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    cluster.request_errors(
        ApiKey::EndTxn,
        &[RDKafkaErrorCode::InvalidTransactionalState],
    );
    drop(transaction);
    assert_works(&mut producer).await;
    assert_eq!(producer.renewals(), 1);
}

#[tokio::test]
#[cfg_attr(
    feature = "dynamic-linking",
    ignore = "a new client replaces the old one, and fences the other producer"
)]
async fn whoever_is_fenced_stays_fenced() {
    for api in [ApiKey::EndTxn, ApiKey::InitProducerId] {
        let cluster = cluster("t", 1);
        let mut producer = initialized(&transactional(&cluster)).await;
        if api == ApiKey::InitProducerId {
            // In the middle of a renewal.
            refused(&cluster, &mut producer).await;
        }
        cluster.request_errors(api, &[RDKafkaErrorCode::ProducerFenced]);
        if api == ApiKey::EndTxn {
            let transaction = producer.begin().await.unwrap();
            transaction.send(record(0)).await.unwrap();
            let error = transaction.commit().await.unwrap_err();
            assert!(error.is_fenced(), "{error:?}");
        }
        for _ in 0..3 {
            let error = producer.begin().await.unwrap_err();
            assert!(error.is_fatal() && error.is_fenced(), "{error:?}");
        }
        assert_eq!(producer.renewals(), 0);
        assert!(producer.fatal_error().unwrap().is_fenced());
    }
}

#[tokio::test]
async fn a_renewal_that_takes_too_long_tells_why_and_is_resumed() {
    let cluster = cluster("t", 1);
    let mut config = transactional(&cluster);
    // Long enough for a record on a busy machine.
    config.set("transaction.timeout.ms", "5000");
    config.set("message.timeout.ms", "5000");
    let mut producer = initialized(&config).await;
    refused(&cluster, &mut producer).await;
    let busy = [RDKafkaErrorCode::ConcurrentTransactions; 100];
    cluster.request_errors(ApiKey::InitProducerId, &busy);
    let error = producer.begin().await.unwrap_err();
    assert!(error.is_retriable(), "{error:?}");
    let cause = error
        .source()
        .unwrap()
        .downcast_ref::<KafkaError>()
        .unwrap();
    assert_eq!(cause.code(), Some(RDKafkaErrorCode::InvalidRecord));
    cluster.clear_request_errors(ApiKey::InitProducerId);
    // The renewal has no outcome of its own.
    let outcome = producer.outcome().await;
    assert_eq!(outcome, Some(TransactionOutcome::Aborted));
    assert_works(&mut producer).await;
    assert!(producer.renewals() > 0);
}

#[tokio::test]
async fn begins_dropped_at_any_poll_point_of_a_renewal_leave_no_trace() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    for is_fatal in [false, true] {
        for polls in 0.. {
            assert!(polls < 50, "it is never done");
            if is_fatal {
                let transaction = producer.begin().await.unwrap();
                transaction.send(record(0)).await.unwrap();
                cluster.request_errors(
                    ApiKey::EndTxn,
                    &[RDKafkaErrorCode::InvalidTransactionalState],
                );
                drop(transaction);
            } else {
                refused(&cluster, &mut producer).await;
            }
            let before = producer.renewals();
            let begun = poll_then_drop(producer.begin(), polls, Drop::WhenWoken).await;
            let is_done = begun.is_some();
            drop(begun);
            assert_works(&mut producer).await;
            assert!(producer.renewals() > before);
            if is_done {
                break;
            }
        }
    }
    let report = tokio::time::timeout(Duration::from_secs(30), producer.close()).await;
    assert_eq!(report.unwrap().undelivered, 0);
}

/// Counts, and those who look at the health, outlive a client that is replaced.
#[tokio::test]
async fn numbers_and_health_go_on_with_another_client() {
    let cluster = cluster("t", 1);
    let mut producer = initialized(&transactional(&cluster)).await;
    let mut health = producer.health();
    let mut sent = 0;
    for turn in 1..=3 {
        let transaction = producer.begin().await.unwrap();
        transaction.send(record(0)).await.unwrap();
        sent += 1;
        health.wait_for(Health::is_ready).await.unwrap();
        let code = RDKafkaErrorCode::InvalidTransactionalState;
        cluster.request_errors(ApiKey::EndTxn, &[code]);
        let error = KafkaError::from(transaction.commit().await.unwrap_err());
        assert!(error.is_fatal(), "{error:?}");
        let is_fatal = |it: &Health| matches!(it, Health::Fatal(_));
        health.wait_for(is_fatal).await.unwrap();
        let transaction = producer.begin().await.unwrap();
        transaction.send(record(0)).await.unwrap();
        sent += 1;
        transaction.abort().await.unwrap();
        health.wait_for(Health::is_ready).await.unwrap();
        let metrics = producer.metrics();
        assert_eq!((metrics.renewals, producer.renewals()), (turn, turn));
        assert_eq!(metrics.enqueued.records, sent);
        assert_eq!(metrics.delivered.records, sent);
        assert_eq!(metrics.delivery_latency.count(), sent);
    }
    producer.close().await;
    let is_over = |it: &Health| matches!(it, Health::Terminated);
    health.wait_for(is_over).await.unwrap();
    health.changed().await.unwrap_err();
}
