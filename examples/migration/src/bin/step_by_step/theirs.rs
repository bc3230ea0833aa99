//! A service as it was, and what stays of it in the first step.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

/// A module that is used everywhere, and that nobody wants to change first.
pub fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("message.timeout.ms", "5000");
    config
}

/// Another one.
pub fn record<'a>(topic: &'a str, order: &'a (String, Vec<u8>)) -> FutureRecord<'a, str, [u8]> {
    let tenant = Header {
        key: "tenant",
        value: Some("7"),
    };
    FutureRecord::to(topic)
        .key(order.0.as_str())
        .payload(order.1.as_slice())
        .headers(OwnedHeaders::new().insert(tenant))
}

/// A third one.
pub fn is_too_large(code: Option<RDKafkaErrorCode>) -> bool {
    code == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

/// Sends orders, and returns how many were too large.
pub async fn produce(brokers: &str, topic: &str, orders: &[(String, Vec<u8>)]) -> usize {
    let producer: FutureProducer = config(brokers).create().expect("a producer");
    let mut too_large = 0;
    for order in orders {
        let sent = producer.send(record(topic, order), Duration::from_secs(1));
        if let Err((error, _)) = sent.await {
            too_large += usize::from(is_too_large(error.rdkafka_error_code()));
        }
    }
    too_large
}
