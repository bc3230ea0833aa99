//! The peer `threaded`: rdkafka's `ThreadedProducer`, whose context counts deliveries.

use rdkafka::ClientContext;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::util::Timeout;

use super::callback::CallbackProducer;
use super::config;
use super::job::Job;
use super::window::Deliveries;

pub(crate) struct Threaded {
    producer: ThreadedProducer<Counting>,
    deliveries: &'static Deliveries,
    topics: Vec<String>,
}

struct Counting(&'static Deliveries);

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
        let context = Counting(deliveries);
        let producer = config::rdkafka(job)
            .create_with_context(context)
            .expect("the configuration is valid");
        Self {
            producer,
            deliveries,
            topics: job.topics().collect(),
        }
    }
}

impl CallbackProducer for Threaded {
    fn produce(&self, topic: usize, payload: &[u8]) {
        let record = BaseRecord::<(), [u8]>::to(&self.topics[topic]).payload(payload);
        self.producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("the queue has room");
    }

    fn flush(&self) {
        self.producer
            .flush(Timeout::Never)
            .expect("the producer is open");
    }

    fn deliveries(&self) -> &Deliveries {
        self.deliveries
    }
}
