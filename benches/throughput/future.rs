//! The peers `future` (`send_result`) and `future-send` (`send`): rdkafka's `FutureProducer`.

use bytes::Bytes;
use futures::channel::oneshot::Canceled;
use rdkafka::producer::Producer as _;
use rdkafka::producer::future_producer::{
    DeliveryFuture, FutureProducer, FutureRecord, OwnedDeliveryResult,
};
use rdkafka::util::Timeout;

use super::awaited::{AwaitedProducer, Outcome};
use super::config;
use super::job::Job;

pub(crate) struct Future {
    producer: FutureProducer,
    topic: String,
}

impl Future {
    pub(crate) fn new(job: &Job) -> Self {
        let producer = config::rdkafka(job)
            .create()
            .expect("the configuration is valid");
        Self {
            producer,
            topic: job.topic(),
        }
    }

    fn record<'a>(&'a self, payload: &'a [u8]) -> FutureRecord<'a, (), [u8]> {
        FutureRecord::to(&self.topic).payload(payload)
    }
}

impl AwaitedProducer for Future {
    type Delivery = DeliveryFuture;
    type Sent = OwnedDeliveryResult;

    async fn enqueue(&self, payload: &Bytes) -> DeliveryFuture {
        let sent = self.producer.send_result(self.record(payload));
        sent.map_err(|(error, _)| error)
            .expect("the queue has room")
    }

    async fn send(&self, payload: &Bytes) -> OwnedDeliveryResult {
        self.producer
            .send(self.record(payload), Timeout::Never)
            .await
    }

    async fn flush(&self) {
        self.producer
            .flush(Timeout::Never)
            .expect("the producer is open");
    }
}

impl Outcome for OwnedDeliveryResult {
    fn failures(&self) -> u64 {
        self.is_err().into()
    }
}

impl Outcome for Result<OwnedDeliveryResult, Canceled> {
    fn failures(&self) -> u64 {
        self.as_ref().map_or(1, Outcome::failures)
    }
}
