//! Transactions that fail: aborted and done again, or fatal, or fenced.

use std::time::Duration;

use futures::executor::block_on;
use tokio_rdkafka::{
    ApiKey, BaseProducer, ConsumerGroupMetadata, KafkaError, ProducerRecord,
    RDKafkaErrorCode as Code, TopicPartitionOffset,
};

use super::{assert_fenced, assert_requires_abort, begun, counting, send, setting, transactional};
use crate::support::mock::{Counting, DEADLINE, cluster};

#[test]
fn a_coordinator_that_moves_or_is_busy_is_asked_again() {
    let cluster = cluster("t", 1);
    cluster.create_topic("in", 1, 1).unwrap();
    let producer = counting(&transactional(&cluster));
    cluster.request_errors(
        ApiKey::FindCoordinator,
        &[Code::CoordinatorNotAvailable, Code::NoError],
    );
    cluster.request_errors(
        ApiKey::InitProducerId,
        &[
            Code::CoordinatorLoadInProgress,
            Code::NotCoordinator,
            Code::ConcurrentTransactions,
        ],
    );
    producer.init_transactions(DEADLINE).unwrap();

    cluster.request_errors(
        ApiKey::AddPartitionsToTxn,
        &[Code::ConcurrentTransactions, Code::NotCoordinator],
    );
    cluster.request_errors(
        ApiKey::AddOffsetsToTxn,
        &[Code::CoordinatorNotAvailable, Code::ConcurrentTransactions],
    );
    cluster.request_errors(ApiKey::TxnOffsetCommit, &[Code::CoordinatorLoadInProgress]);
    cluster.request_errors(
        ApiKey::EndTxn,
        &[
            Code::CoordinatorNotAvailable,
            Code::NotCoordinator,
            Code::CoordinatorLoadInProgress,
            Code::ConcurrentTransactions,
            Code::BrokerTransportFailure,
        ],
    );
    producer.begin_transaction().unwrap();
    send(&producer, 0..100);
    let offsets = [TopicPartitionOffset::new("in", 0, 1)];
    producer
        .send_offsets_to_transaction(&offsets, &ConsumerGroupMetadata::new("g"), DEADLINE)
        .unwrap();
    producer.commit_transaction(DEADLINE).unwrap();
    assert_eq!(producer.context().failed(), 0);
    assert_eq!(block_on(cluster.records("t")).unwrap().len(), 100);
}

/// How a transaction comes to fail, and with which code.
fn assert_is_aborted_and_done_again(
    api_key: ApiKey,
    injected: Code,
    code: Code,
    work: impl Fn(&BaseProducer<Counting>) -> Result<(), KafkaError>,
) {
    let cluster = cluster("t", 1);
    cluster.create_topic("in", 1, 1).unwrap();
    let producer = begun(&transactional(&cluster));
    cluster.request_errors(api_key, &[injected]);
    let commit = || producer.commit_transaction(DEADLINE);
    let error = work(&producer).and_then(|()| commit()).unwrap_err();
    assert_requires_abort(&error, code);
    // Every call says so again.
    assert_requires_abort(&commit().unwrap_err(), code);
    assert_requires_abort(&producer.begin_transaction().unwrap_err(), code);
    let refused = producer
        .send(ProducerRecord::with_opaque_to("t", 0))
        .unwrap_err();
    assert_eq!(refused.code(), Some(Code::State));

    producer.abort_transaction(DEADLINE).unwrap();
    producer.begin_transaction().unwrap();
    work(&producer).unwrap();
    commit().unwrap();
    assert!(producer.fatal_error().is_none());
}

#[test]
fn a_transaction_that_failed_is_aborted_and_done_again() {
    let records = |producer: &BaseProducer<Counting>| {
        send(producer, 0..10);
        Ok(())
    };
    let offsets = |producer: &BaseProducer<Counting>| {
        let group = ConsumerGroupMetadata::new("g").with_member(3, "m");
        let offsets = [TopicPartitionOffset::new("in", 0, 1)];
        producer.send_offsets_to_transaction(&offsets, &group, DEADLINE)
    };
    for (api_key, code) in [
        (ApiKey::AddPartitionsToTxn, Code::TopicAuthorizationFailed),
        (ApiKey::EndTxn, Code::GroupAuthorizationFailed),
    ] {
        assert_is_aborted_and_done_again(api_key, code, code, records);
    }
    for (api_key, code) in [
        (ApiKey::AddOffsetsToTxn, Code::GroupAuthorizationFailed),
        (ApiKey::TxnOffsetCommit, Code::IllegalGeneration),
        (ApiKey::TxnOffsetCommit, Code::UnknownMemberId),
        (ApiKey::TxnOffsetCommit, Code::FencedInstanceId),
    ] {
        assert_is_aborted_and_done_again(api_key, code, code, offsets);
    }
}

#[test]
fn a_record_that_was_not_delivered_fails_the_transaction() {
    let (cluster, producer) = setting();
    cluster.request_errors(ApiKey::Produce, &[Code::MessageSizeTooLarge]);
    send(&producer, 0..10);
    let error = producer.commit_transaction(DEADLINE).unwrap_err();
    assert_requires_abort(&error, Code::MessageSizeTooLarge);
    assert_eq!(producer.context().seen().len(), 10);
    assert!(producer.context().failed() > 0);
    producer.abort_transaction(DEADLINE).unwrap();
}

#[test]
fn a_purged_record_fails_the_commit() {
    let cluster = cluster("t", 1);
    let producer = begun(transactional(&cluster).set("linger.ms", "50000"));
    send(&producer, 0..10);
    producer.purge(tokio_rdkafka::PurgeConfig::default().queue());
    let error = producer.commit_transaction(DEADLINE).unwrap_err();
    assert_requires_abort(&error, Code::Inconsistent);
    assert!(
        error.to_string().contains("10 message(s) failed"),
        "{error}"
    );
    producer.abort_transaction(DEADLINE).unwrap();
}

#[test]
fn a_fatal_error_has_its_code_and_reason_in_every_call() {
    let (cluster, producer) = setting();
    cluster.request_errors(ApiKey::EndTxn, &[Code::TransactionalIdAuthorizationFailed]);
    send(&producer, 0..10);
    let error = producer.commit_transaction(DEADLINE).unwrap_err();
    for error in [
        error,
        producer.commit_transaction(DEADLINE).unwrap_err(),
        producer.abort_transaction(DEADLINE).unwrap_err(),
        producer.begin_transaction().unwrap_err(),
        producer.init_transactions(DEADLINE).unwrap_err(),
        producer.fatal_error().expect("a fatal error"),
    ] {
        assert_eq!(error.code(), Some(Code::TransactionalIdAuthorizationFailed));
        assert!(error.is_fatal() && !error.is_fenced(), "{error:?}");
        assert!(
            error.to_string().contains("authorization failed"),
            "{error}"
        );
    }
}

/// The mock lets two producers be; what each request of the older one is answered.
#[test]
fn a_fenced_producer_says_so_in_every_call() {
    for (api_key, code) in [
        (ApiKey::AddPartitionsToTxn, Code::ProducerFenced),
        (ApiKey::AddPartitionsToTxn, Code::InvalidProducerEpoch),
        (ApiKey::Produce, Code::InvalidProducerEpoch),
        (ApiKey::EndTxn, Code::ProducerFenced),
        (ApiKey::EndTxn, Code::InvalidProducerEpoch),
    ] {
        let cluster = cluster("t", 1);
        let producer = begun(&transactional(&cluster));
        cluster.request_errors(api_key, &[code]);
        send(&producer, 0..100);
        let error = producer.commit_transaction(DEADLINE).unwrap_err();
        assert_fenced(&error);
        assert!(error.to_string().contains("fenced"), "{error}");
        assert_fenced(&producer.commit_transaction(DEADLINE).unwrap_err());
        assert_fenced(&producer.abort_transaction(DEADLINE).unwrap_err());
        assert_fenced(&producer.begin_transaction().unwrap_err());
        assert_fenced(&producer.fatal_error().unwrap());
        let record = ProducerRecord::with_opaque_to("t", 7).payload("late");
        let refused = producer.send(record).unwrap_err();
        assert_fenced(refused.error());
        assert!(refused.is_fatal() && refused.is_fenced() && !refused.requires_abort());
        assert_eq!(refused.into_record().get_opaque(), &7);
        producer.flush(DEADLINE).unwrap();
        assert_eq!(producer.context().seen().len(), 100);
    }
}

/// librdkafka purges once, and neither sends nor purges what comes back into its queue after that.
#[test]
fn what_is_put_back_after_a_fatal_error_does_not_hold_up_a_commit() {
    let cluster = cluster("t", 1);
    let producer = begun(transactional(&cluster).set("batch.num.messages", "1"));
    send(&producer, 0..1);
    producer.flush(DEADLINE).unwrap();
    // Both requests are on their way when the first answer comes; the second answer comes after
    // the purge.
    let after = |millis| Some(Duration::from_millis(millis));
    let errors = [
        (Code::InvalidProducerEpoch, after(300)),
        (Code::NotEnoughReplicas, after(700)),
    ];
    cluster
        .broker_request_errors(1, ApiKey::Produce, &errors)
        .unwrap();
    send(&producer, 1..3);
    // It would be `message.timeout.ms`, here a minute, and no more than a time-out.
    assert_fenced(&producer.commit_transaction(DEADLINE).unwrap_err());
    assert_eq!(producer.in_flight_count(), 0);
    assert_eq!(producer.context().failed(), 2);
}
