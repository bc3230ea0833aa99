//! Batches that a broker refuses: who is told what, and who is sent again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, stream};
use tokio_rdkafka::{
    ApiKey, ClientContext, Deliveries, DeliveryResult, MockCluster, Persistence, ProduceExt,
    Producer, ProducerContext, ProducerRecord, RDKafkaErrorCode as Code, TransactionalProducer,
};

use crate::support::mock::{DEADLINE, assert_capacity_is_whole, cluster, config, payloads};

fn record(index: usize) -> ProducerRecord<'static> {
    ProducerRecord::to("t").payload(index.to_string())
}

/// A producer that has been connected, and whose next records go into one batch.
async fn batching(cluster: &MockCluster) -> Producer {
    let producer = config(cluster)
        .set("linger.ms", "50")
        .set("queue.buffering.max.messages", "100")
        .create::<Producer>()
        .unwrap();
    producer.send(record(0)).await.unwrap();
    producer
}

fn refuse_next(cluster: &MockCluster, code: Code, times: usize) {
    cluster.request_errors(ApiKey::Produce, &vec![code; times]);
}

#[tokio::test]
async fn a_batch_of_several_may_contain_innocents_but_one_record_alone_is_guilty() {
    let codes = [
        Code::InvalidRecord,
        Code::InvalidTimestamp,
        Code::MessageSizeTooLarge,
        Code::MessageBatchTooLarge,
        Code::InvalidMessageSize,
        Code::UnsupportedForMessageFormat,
    ];
    for code in codes {
        let cluster = cluster("t", 1);
        let producer = batching(&cluster).await;
        for records in [3, 1] {
            refuse_next(&cluster, code, 1);
            let results: Vec<_> = producer.send_all((0..records).map(record)).collect().await;
            for result in results {
                let error = result.unwrap_err();
                assert_eq!(error.code(), Some(code));
                assert_eq!(error.is_batch_refused(), records > 1, "{error}");
                assert_eq!(error.error().is_batch_refused(), records > 1);
                let told = format!("batch of {records} records");
                assert_eq!(error.to_string().contains(&told), records > 1, "{error}");
            }
        }
        assert_capacity_is_whole(&producer, 100);
    }
}

#[tokio::test]
async fn other_verdicts_are_not_about_the_records_of_a_batch() {
    let cluster = cluster("t", 1);
    let producer = batching(&cluster).await;
    refuse_next(&cluster, Code::TopicAuthorizationFailed, 1);
    let results: Vec<_> = producer.send_all((0..3).map(record)).collect().await;
    for result in results {
        assert!(!result.unwrap_err().is_batch_refused());
    }
}

#[test]
fn a_record_beside_an_invalid_one_may_be_sent_again() {
    assert!(Code::InvalidDifferentRecord.is_retriable());
    assert!(!Code::InvalidRecord.is_retriable());
}

#[tokio::test]
async fn send_all_sends_the_records_of_a_refused_batch_again_in_order() {
    for idempotence in ["false", "true"] {
        let cluster = cluster("t", 1);
        let producer: Producer = config(&cluster)
            .set("linger.ms", "50")
            .set("enable.idempotence", idempotence)
            .set("queue.buffering.max.messages", "100")
            .create()
            .unwrap();
        producer.send(record(0)).await.unwrap();
        // The batch, and the second of its records when it is alone.
        cluster.request_errors(
            ApiKey::Produce,
            &[Code::InvalidRecord, Code::NoError, Code::InvalidRecord],
        );
        let results = producer
            .send_all((1..=4).map(record))
            .resend_refused_batches();
        let results: Vec<_> = results.collect().await;
        let delivered: Vec<_> = results.iter().map(Result::is_ok).collect();
        assert_eq!(delivered, [true, false, true, true]);
        let error = results[1].as_ref().unwrap_err();
        assert_eq!(error.code(), Some(Code::InvalidRecord));
        assert!(!error.is_batch_refused(), "{error}");
        assert_eq!(error.record().get_payload(), Some("2".as_bytes()));
        assert_eq!(payloads(&cluster, "t").await, ["0", "1", "3", "4"]);
        assert_capacity_is_whole(&producer, 100);
    }
}

/// What comes later waits until the refused records were sent again.
#[tokio::test]
async fn records_that_follow_stay_behind_those_that_are_sent_again() {
    let cluster = cluster("t", 1);
    let producer = batching(&cluster).await;
    refuse_next(&cluster, Code::MessageSizeTooLarge, 1);
    let results = producer
        .send_all((1..=100).map(record))
        .max_in_flight(8)
        .resend_refused_batches();
    let results: Vec<_> = results.collect().await;
    assert_eq!(results.len(), 100);
    assert!(results.iter().all(Result::is_ok));
    let expected: Vec<_> = (0..=100).map(|index| index.to_string()).collect();
    assert_eq!(payloads(&cluster, "t").await, expected);
    assert_capacity_is_whole(&producer, 100);
}

#[tokio::test]
async fn without_the_option_nothing_is_sent_again() {
    let cluster = cluster("t", 1);
    let producer = batching(&cluster).await;
    refuse_next(&cluster, Code::InvalidRecord, 1);
    let results: Vec<_> = producer.send_all((1..=3).map(record)).collect().await;
    assert!(results.iter().all(Result::is_err));
    assert_eq!(payloads(&cluster, "t").await, ["0"]);
}

#[tokio::test]
async fn items_of_several_records_are_sent_again_record_by_record() {
    for unordered in [false, true] {
        let cluster = cluster("t", 1);
        let producer = batching(&cluster).await;
        cluster.request_errors(
            ApiKey::Produce,
            &[Code::InvalidRecord, Code::NoError, Code::InvalidRecord],
        );
        let items =
            (0..3).map(|item| (item, (0..item).map(move |index| record(10 * item + index))));
        let mut results = stream::iter(items)
            .produce(&producer)
            .max_in_flight(10)
            .resend_refused_batches();
        if unordered {
            results = results.unordered();
        }
        let mut results: Vec<_> = results.collect().await;
        results.sort_by_key(|(item, _)| *item);
        let (items, results): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        assert_eq!(items, [0, 1, 2]);
        assert!(results[0].is_ok());
        assert_eq!(results[1].as_ref().unwrap().len(), 1);
        let error = results[2].as_ref().unwrap_err();
        let delivered: Vec<_> = error.results().iter().map(Result::is_ok).collect();
        assert_eq!(delivered, [false, true]);
        assert_eq!(payloads(&cluster, "t").await, ["0", "10", "21"]);
        assert_capacity_is_whole(&producer, 100);
    }
}

/// The verdict comes while an item is enqueued only in part: the rest of it goes on.
#[tokio::test]
async fn an_item_that_is_enqueued_in_part_is_completed_first() {
    for unordered in [false, true] {
        let cluster = cluster("t", 1);
        let producer = batching(&cluster).await;
        refuse_next(&cluster, Code::InvalidRecord, 1);
        let items = [(0, vec![1]), (1, vec![2, 3, 4, 5, 6, 7]), (2, vec![8])];
        let items = items.map(|(item, records)| (item, records.into_iter().map(record)));
        let mut results = stream::iter(items)
            .produce(&producer)
            .max_in_flight(3)
            .resend_refused_batches();
        if unordered {
            results = results.unordered();
        }
        let results: Vec<_> = results.collect().await;
        let count = |result: &Result<Deliveries, _>| result.as_ref().map_or(0, |it| it.len());
        let counts: Vec<_> = results
            .iter()
            .map(|(item, it)| (*item, count(it)))
            .collect();
        assert_eq!(counts, [(0, 1), (1, 6), (2, 1)]);
        let arrived = payloads(&cluster, "t").await;
        assert_eq!(arrived, ["0", "4", "5", "6", "7", "1", "2", "3", "8"]);
        assert_capacity_is_whole(&producer, 100);
    }
}

#[tokio::test]
async fn items_of_one_record_are_sent_again() {
    for unordered in [false, true] {
        let cluster = cluster("t", 1);
        let producer = batching(&cluster).await;
        refuse_next(&cluster, Code::InvalidTimestamp, 1);
        let items = (1..=20).map(|index| (index, record(index)));
        let mut results = stream::iter(items)
            .produce_each(&producer)
            .max_in_flight(7)
            .resend_refused_batches();
        if unordered {
            results = results.unordered();
        }
        let results: Vec<_> = results.collect().await;
        assert!(results.iter().all(|(_, result)| result.is_ok()));
        let mut values: Vec<_> = results.iter().map(|(value, _)| *value).collect();
        values.sort_unstable();
        assert_eq!(values, Vec::from_iter(1..=20));
        let expected: Vec<_> = (0..=20).map(|index| index.to_string()).collect();
        assert_eq!(payloads(&cluster, "t").await, expected);
    }
}

#[tokio::test]
async fn a_stream_that_stops_on_failure_does_not_stop_for_an_innocent() {
    let cluster = cluster("t", 1);
    let producer = batching(&cluster).await;
    refuse_next(&cluster, Code::InvalidRecord, 1);
    let results = stream::iter((1..=10).map(|index| ((), record(index))))
        .produce_each(&producer)
        .max_in_flight(2)
        .stop_on_failure()
        .resend_refused_batches();
    assert_eq!(
        results
            .filter(|(_, result)| std::future::ready(result.is_ok()))
            .count()
            .await,
        10
    );
}

/// Closed between the verdict and the second attempt: the error tells both.
#[tokio::test]
async fn a_producer_that_closes_meanwhile_sends_nothing_again_and_keeps_the_verdict() {
    let cluster = cluster("t", 1);
    let producer = batching(&cluster).await;
    refuse_next(&cluster, Code::InvalidRecord, 1);
    let mut results = producer
        .send_all((1..=3).map(record))
        .resend_refused_batches();
    // Enqueues them, and does not look at their results.
    assert!(futures::poll!(results.next()).is_pending());
    producer.close().await;
    let results: Vec<_> = results.collect().await;
    assert_eq!(results.len(), 3);
    for (index, result) in (1..).zip(results) {
        let error = result.unwrap_err();
        assert!(error.is_closed(), "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert_eq!(error.record().get_payload(), record(index).get_payload());
        let verdict = std::error::Error::source(&error).expect("the verdict");
        assert!(verdict.to_string().contains("INVALID_RECORD"), "{verdict}");
    }
}

#[tokio::test]
async fn a_transaction_is_left_to_its_abort() {
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    config
        .set("linger.ms", "50")
        .set("transactional.id", "tests");
    let mut producer: TransactionalProducer = config.create().unwrap();
    producer.init(DEADLINE).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    refuse_next(&cluster, Code::InvalidRecord, 1);
    let results = transaction
        .send_all((0..3).map(record))
        .resend_refused_batches();
    for result in results.collect::<Vec<_>>().await {
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(Code::InvalidRecord));
        assert!(std::error::Error::source(&error).is_none());
    }
    transaction.abort().await.unwrap();
}

/// Counts the deliveries by the opaque.
#[derive(Default)]
struct Opaques(AtomicUsize, Mutex<Vec<u32>>);

impl ClientContext for Opaques {}

impl ProducerContext for Opaques {
    type DeliveryOpaque = u32;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: u32) {
        self.0
            .fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
        self.1.lock().unwrap().push(opaque);
    }
}

#[tokio::test]
async fn the_callback_sees_both_attempts() {
    let cluster = cluster("t", 1);
    let producer: Producer<Opaques> = config(&cluster)
        .set("linger.ms", "50")
        .create_with_context(Opaques::default())
        .unwrap();
    refuse_next(&cluster, Code::InvalidRecord, 1);
    let records = (1..=2).map(|opaque| ProducerRecord::with_opaque_to("t", opaque).payload("v"));
    let results = producer.send_all(records).resend_refused_batches();
    assert_eq!(
        results
            .filter(|result| std::future::ready(result.is_ok()))
            .count()
            .await,
        2
    );
    let context = producer.context();
    assert_eq!(context.0.load(Ordering::Relaxed), 2);
    assert_eq!(*context.1.lock().unwrap(), [1, 2, 0, 0]);
}
