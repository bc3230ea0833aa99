//! Records that failed, and are sent again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_rdkafka::{
    ApiKey, ClientContext, Delivery, DeliveryResult, Persistence, Producer, ProducerContext,
    ProducerRecord, RDKafkaErrorCode as Code, SendError, WeakProducer,
};

use super::{assert_as_given, headers, record};
use crate::support::mock::{Counting, cluster, config, payloads, produce_requests, until};

use Persistence::{NotPersisted, PossiblyPersisted};

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

/// Whether a request with one record is built and not sent yet, by librdkafka's statistics.
#[derive(Default)]
struct Built(AtomicBool);

impl ClientContext for Built {
    fn stats(&self, json: &str) {
        let is_built = json.contains("\"outbuf_msg_cnt\":1,");
        self.0.store(is_built, Ordering::SeqCst);
    }
}

impl ProducerContext for Built {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// While a request is in flight, librdkafka builds the next one. If the first one fails, its records
/// come after those of the second one.
#[tokio::test]
async fn one_request_in_flight_does_not_keep_the_order() {
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    config
        .set("max.in.flight", "1")
        .set("linger.ms", "5")
        .set("statistics.interval.ms", "20");
    let producer = Producer::builder(&config)
        .context(Built::default())
        .create()
        .unwrap();
    let record = |text: &'static str| ProducerRecord::to("t").payload(text);
    producer.send(record("0")).await.unwrap();
    // The answer comes after the second request was built.
    let error = (Code::NotEnoughReplicas, Some(Duration::from_secs(4)));
    cluster
        .broker_request_errors(1, ApiKey::Produce, &[error])
        .unwrap();
    cluster.start_request_tracking();
    let first = producer.enqueue(record("1")).await.unwrap();
    until(|| produce_requests(&cluster) == 1).await;
    let second = producer.enqueue(record("2")).await.unwrap();
    until(|| producer.context().0.load(Ordering::SeqCst)).await;
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(payloads(&cluster, "t").await, ["0", "2", "1"]);
    producer.close().await;
}
