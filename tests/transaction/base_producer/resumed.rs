//! Calls that timed out, and are resumed.

use std::time::Duration;

use futures::executor::block_on;
use tokio_rdkafka::{ApiKey, ProducerRecord, RDKafkaErrorCode as Code};

use super::{
    SHORT, assert_timed_out, assert_works, counting, delay_end, plain_error, requests, send,
    setting, transactional,
};
use crate::support::mock::{DEADLINE, cluster};

#[test]
fn a_commit_that_timed_out_is_resumed() {
    let (cluster, producer) = setting();
    cluster.start_request_tracking();
    send(&producer, 0..1_000);
    delay_end(&cluster);
    let error = assert_timed_out(producer.commit_transaction(SHORT));
    assert!(error.is_timed_out());
    assert!(
        error.to_string().contains("retry call to resume"),
        "{error}"
    );
    // It may have been committed: nothing else is possible.
    let error = plain_error(producer.abort_transaction(SHORT), Code::Conflict, true);
    assert!(error.to_string().contains("commit_transaction"), "{error}");
    plain_error(producer.begin_transaction(), Code::Conflict, true);

    producer.commit_transaction(DEADLINE).unwrap();
    assert_eq!(requests(&cluster, ApiKey::EndTxn), 1);
    assert_eq!(producer.context().seen().len(), 1_000);
    assert_works(&producer);
}

#[test]
fn a_commit_that_waits_for_records_is_resumed() {
    let (cluster, producer) = setting();
    send(&producer, 0..1);
    producer.flush(DEADLINE).unwrap();
    cluster.broker_down(1).unwrap();
    send(&producer, 1..1_000);
    for time in [Duration::ZERO, SHORT, SHORT] {
        let error = assert_timed_out(producer.commit_transaction(time));
        let text = error.to_string();
        // Their number has events in it that are queued.
        assert!(
            text.contains("message(s) remaining, retry call to resume"),
            "{text}"
        );
        assert!(!text.contains("poll"), "{text}");
    }
    let refused = producer
        .send(ProducerRecord::with_opaque_to("t", 0))
        .unwrap_err();
    assert_eq!(refused.code(), Some(Code::State));
    cluster.broker_up(1).unwrap();
    producer.commit_transaction(DEADLINE).unwrap();
    assert_eq!(producer.context().failed(), 0);
    assert_eq!(block_on(cluster.records("t")).unwrap().len(), 1_000);
}

#[test]
fn an_abort_that_timed_out_is_resumed() {
    let (cluster, producer) = setting();
    send(&producer, 0..1_000);
    // Where nothing was sent there is nothing to ask of a broker.
    producer.flush(DEADLINE).unwrap();
    delay_end(&cluster);
    assert_timed_out(producer.abort_transaction(SHORT));
    plain_error(producer.commit_transaction(SHORT), Code::Conflict, true);
    producer.abort_transaction(DEADLINE).unwrap();
    assert_eq!(producer.context().seen().len(), 1_000);
    assert_works(&producer);
}

#[test]
fn an_init_that_timed_out_is_resumed() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer = counting(&transactional(&cluster));
    let error = producer.init_transactions(SHORT).unwrap_err();
    assert!(error.is_retriable() && !error.is_fatal(), "{error:?}");
    plain_error(producer.begin_transaction(), Code::Conflict, true);
    cluster.broker_up(1).unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    assert_works(&producer);
}
