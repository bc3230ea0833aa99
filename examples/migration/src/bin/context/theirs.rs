//! Delivery callbacks, as rust-rdkafka's `tests/test_low_producers.rs` has them.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::Delivered;

#[derive(Default)]
struct CollectingContext {
    results: Mutex<Vec<Delivered>>,
}

impl ClientContext for CollectingContext {}

impl ProducerContext for CollectingContext {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, delivery_result: &DeliveryResult<'_>, delivery_opaque: Box<usize>) {
        let result = match delivery_result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.to_string()),
        };
        self.results
            .lock()
            .unwrap()
            .push((*delivery_opaque, result));
    }
}

pub fn produce(brokers: &str, topic: &str, count: usize) -> Vec<Delivered> {
    let producer: ThreadedProducer<CollectingContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("message.timeout.ms", "5000")
        .create_with_context(CollectingContext::default())
        .expect("Producer creation error");
    for id in 0..count {
        producer
            .send(
                BaseRecord::with_opaque_to(topic, Box::new(id))
                    .payload(&format!("Message {id}"))
                    .key(&format!("Key {id}")),
            )
            .map_err(|(e, _)| e)
            .expect("a queue");
    }
    producer.flush(Duration::from_secs(10)).expect("a flush");
    let results = producer.context().results.lock().unwrap();
    results.clone()
}
