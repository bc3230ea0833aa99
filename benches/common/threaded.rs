//! The peer `threaded`: rdkafka's `ThreadedProducer`, whose context counts deliveries.

use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};

use super::callback::CallbackProducer;
use super::config;
use super::job::Job;
use super::window::Deliveries;

pub(crate) struct Threaded {
    producer: ThreadedProducer<Counting>,
    deliveries: Arc<Deliveries>,
    topic: String,
}

struct Counting(Arc<Deliveries>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.report(1, result.is_err().into());
    }
}

impl Threaded {
    pub(crate) fn new(job: &Job) -> Self {
        let deliveries = Deliveries::new();
        let context = Counting(deliveries.clone());
        let producer = config::rdkafka(job)
            .create_with_context(context)
            .expect("the configuration is valid");
        Self {
            producer,
            deliveries,
            topic: job.topic.clone(),
        }
    }
}

impl CallbackProducer for Threaded {
    fn produce(&self, payload: &[u8]) {
        let record = BaseRecord::<(), [u8]>::to(&self.topic).payload(payload);
        self.producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("the queue has room");
    }

    fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }
}
