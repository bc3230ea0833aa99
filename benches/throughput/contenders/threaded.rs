//! `threaded`: rdkafka's `ThreadedProducer`, whose context counts deliveries.

use rdkafka::ClientContext;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::util::Timeout;

use crate::contenders::config;
use crate::jobs::contender::Contender;
use crate::jobs::job::Job;
use crate::measure::sample::Sample;
use crate::works::callback;
use crate::works::callback_producer::CallbackProducer;
use crate::works::deliveries::Deliveries;

/// rdkafka's `ThreadedProducer`.
pub(crate) struct Threaded;

impl Contender for Threaded {
    fn run(&self, job: &Job) -> Sample {
        callback::run(&ToTopics::new(job), job)
    }
}

/// The producer and the topics it sends to.
struct ToTopics {
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

impl ToTopics {
    fn new(job: &Job) -> Self {
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

impl CallbackProducer for ToTopics {
    fn produce(&self, topic: usize, payload: &[u8]) {
        let record = BaseRecord::<(), [u8]>::to(&self.topics[topic]).payload(payload);
        self.producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("the queue has capacity");
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
