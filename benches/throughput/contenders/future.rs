//! `future` (`send_result`) and `future-send` (`send`): rdkafka's `FutureProducer`.

use bytes::Bytes;
use futures::channel::oneshot::Canceled;
use rdkafka::producer::Producer as _;
use rdkafka::producer::future_producer::{
    DeliveryFuture, FutureProducer, FutureRecord, OwnedDeliveryResult,
};
use rdkafka::util::Timeout;

use crate::contenders::config;
use crate::jobs::contender::Contender;
use crate::jobs::job::Job;
use crate::measure::sample::Sample;
use crate::works::awaited::{self, Style};
use crate::works::awaited_producer::{AwaitedProducer, Outcome};
use crate::works::runtime::block_on;

/// rdkafka's `FutureProducer`.
pub(crate) struct Future(pub(crate) Style);

impl Contender for Future {
    fn run(&self, job: &Job) -> Sample {
        let (style, job) = (self.0, job.clone());
        block_on(job.contender.runtime, async move {
            awaited::run(ToTopic::new(&job), style, job).await
        })
    }
}

/// The producer and the topic it sends to.
struct ToTopic {
    producer: FutureProducer,
    topic: String,
}

impl ToTopic {
    /// Needs a runtime around it.
    fn new(job: &Job) -> Self {
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

impl AwaitedProducer for ToTopic {
    type Delivery = DeliveryFuture;
    type Sent = OwnedDeliveryResult;

    async fn enqueue(&self, payload: &Bytes) -> DeliveryFuture {
        let sent = self.producer.send_result(self.record(payload));
        sent.map_err(|(error, _)| error)
            .expect("the queue has capacity")
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
