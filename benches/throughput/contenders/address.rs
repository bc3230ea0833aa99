//! How our records name their topic and carry their payload.

use bytes::Bytes;
use tokio_rdkafka::{Access, Producer, ProducerContext, ProducerRecord, Topic};

/// A topic that records are sent to.
pub(crate) trait Address: Sized + Send + Sync + 'static {
    /// Creates the address of the topic with that name.
    fn new<C: ProducerContext, A: Access>(producer: &Producer<C, A>, topic: &str) -> Self;

    /// Creates a record to the topic.
    fn record<'a>(&'a self, payload: &'a Bytes) -> ProducerRecord<'a>;
}

/// A topic handle, as the C loop has one. The payload is copied.
pub(crate) struct ByHandle(Topic);

/// A topic name. The payload is copied.
pub(crate) struct ByName(String);

/// A topic handle. The payload is borrowed.
pub(crate) struct Borrowed(Topic);

impl Address for ByHandle {
    fn new<C: ProducerContext, A: Access>(producer: &Producer<C, A>, topic: &str) -> Self {
        Self(producer.topic(topic).expect("the topic's name is valid"))
    }

    fn record<'a>(&'a self, payload: &'a Bytes) -> ProducerRecord<'a> {
        ProducerRecord::to(&self.0).payload(payload)
    }
}

impl Address for ByName {
    fn new<C: ProducerContext, A: Access>(_: &Producer<C, A>, topic: &str) -> Self {
        Self(topic.to_owned())
    }

    fn record<'a>(&'a self, payload: &'a Bytes) -> ProducerRecord<'a> {
        ProducerRecord::to(self.0.as_str()).payload(payload)
    }
}

impl Address for Borrowed {
    fn new<C: ProducerContext, A: Access>(producer: &Producer<C, A>, topic: &str) -> Self {
        Self(producer.topic(topic).expect("the topic's name is valid"))
    }

    fn record<'a>(&'a self, payload: &'a Bytes) -> ProducerRecord<'a> {
        ProducerRecord::to(&self.0).payload(payload.clone())
    }
}
