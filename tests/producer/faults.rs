//! Faults: what a broker answers, and what becomes of the records.

mod brokers;
mod codes;
mod fatal;
mod panics;
mod persistence;
mod sending_again;
mod workers;

use tokio_rdkafka::{
    ClientConfig, DeliveryFuture, Headers, MockCluster, Producer, ProducerRecord, SendError,
};

use crate::support::mock::config;

const MAX_MESSAGES: &str = "queue.buffering.max.messages";

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
