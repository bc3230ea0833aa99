//! Our own producer, awaited: `ours` (`enqueue`, by a topic handle), `ours-by-name`, `ours-bytes` and `ours-send` (`send`).

use bytes::Bytes;
use tokio_rdkafka::{
    ClientConfig, Delivery, DeliveryFuture, Producer, ProducerContext, ProducerRecord, SendError,
    Topic,
};

use super::awaited::{AwaitedProducer, Outcome};
use super::config;
use super::job::Job;

/// How records name a topic, and carry their payload.
pub(crate) trait Address: Sized + Send + Sync + 'static {
    /// The address of that topic.
    fn new<C: ProducerContext>(producer: &Producer<C>, topic: &str) -> Self;

    /// A record to it.
    fn record<'a>(&'a self, payload: &'a Bytes) -> ProducerRecord<'a>;
}

/// A topic's handle, as the C loop has one; the payload is copied.
pub(crate) struct ByHandle(Topic);

/// A topic's name; the payload is copied.
pub(crate) struct ByName(String);

/// A topic's handle; the payload is lent.
pub(crate) struct Lent(Topic);

impl Address for ByHandle {
    fn new<C: ProducerContext>(producer: &Producer<C>, topic: &str) -> Self {
        Self(producer.topic(topic).expect("the topic's name is valid"))
    }

    fn record<'a>(&'a self, payload: &'a Bytes) -> ProducerRecord<'a> {
        ProducerRecord::to(&self.0).payload(payload)
    }
}

impl Address for ByName {
    fn new<C: ProducerContext>(_: &Producer<C>, topic: &str) -> Self {
        Self(topic.to_owned())
    }

    fn record<'a>(&'a self, payload: &'a Bytes) -> ProducerRecord<'a> {
        ProducerRecord::to(self.0.as_str()).payload(payload)
    }
}

impl Address for Lent {
    fn new<C: ProducerContext>(producer: &Producer<C>, topic: &str) -> Self {
        Self(producer.topic(topic).expect("the topic's name is valid"))
    }

    fn record<'a>(&'a self, payload: &'a Bytes) -> ProducerRecord<'a> {
        ProducerRecord::to(&self.0).payload(payload.clone())
    }
}

pub(crate) struct Ours<A> {
    producer: Producer,
    topic: A,
}

impl<A: Address> Ours<A> {
    /// Needs a runtime around it.
    pub(crate) fn new(job: &Job) -> Self {
        let producer = client_config(job)
            .create()
            .expect("the configuration is valid");
        Self {
            topic: A::new(&producer, &job.topic()),
            producer,
        }
    }
}

impl<A: Address> AwaitedProducer for Ours<A> {
    type Delivery = DeliveryFuture;
    type Sent = Result<Delivery, SendError>;

    async fn enqueue(&self, payload: &Bytes) -> DeliveryFuture {
        self.producer
            .enqueue(self.topic.record(payload))
            .await
            .expect("the producer is open")
    }

    async fn send(&self, payload: &Bytes) -> Result<Delivery, SendError> {
        self.producer.send(self.topic.record(payload)).await
    }

    async fn flush(&self) {
        self.producer
            .flush()
            .await
            .expect("the system has a thread");
    }
}

impl Outcome for Result<Delivery, SendError> {
    fn failures(&self) -> u64 {
        self.is_err().into()
    }
}

pub(crate) fn client_config(job: &Job) -> ClientConfig {
    config::properties(job).into_iter().collect()
}
