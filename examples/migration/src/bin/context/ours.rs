//! The same with tokio-rdkafka: a context on a producer that needs no thread.

use std::sync::{Mutex, PoisonError};

use tokio_rdkafka::{
    BoxError, ClientConfig, ClientContext, DeliveryResult, Producer, ProducerContext,
    ProducerRecord,
};

use crate::Delivered;

#[derive(Default)]
struct CollectingContext {
    results: Mutex<Vec<Delivered>>,
}

impl ClientContext for CollectingContext {}

impl ProducerContext for CollectingContext {
    // Any type: it needs no box.
    type DeliveryOpaque = usize;

    // Runs on the producer's task: it must not block for long.
    fn delivery(&self, result: &DeliveryResult<'_>, id: usize) {
        let result = match result {
            // `None` if no broker has told the offset. rdkafka has an invented one then.
            Ok(message) => Ok((message.partition(), message.offset().unwrap_or(-1))),
            Err(error) => Err(error.to_string()),
        };
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.push((id, result));
    }
}

pub async fn produce(brokers: &str, topic: &str, count: usize) -> Result<Vec<Delivered>, BoxError> {
    let producer: Producer<CollectingContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("message.timeout.ms", "5000")
        .create_with_context(CollectingContext::default())?;
    for id in 0..count {
        let record = ProducerRecord::with_opaque_to(topic, id)
            .payload(format!("Message {id}"))
            .key(format!("Key {id}"));
        // Waits while the queue is full, where rdkafka's `send` returns an error.
        producer.enqueue_detached(record).await?;
    }
    producer.close().await;
    let results = producer.context().results.lock();
    Ok(results.unwrap_or_else(PoisonError::into_inner).clone())
}
