//! rdkafka's `FutureProducer`: `send_result`, and `send`.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use peers::{Client, Job};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

struct Rdkafka {
    producer: FutureProducer,
    topic: String,
}

impl Rdkafka {
    fn record<'a>(&'a self, payload: &'a Bytes) -> FutureRecord<'a, (), [u8]> {
        FutureRecord::to(&self.topic).payload(payload)
    }
}

impl Client for Rdkafka {
    async fn connect(job: &Job) -> Self {
        let mut config = ClientConfig::new();
        for (name, value) in job.librdkafka() {
            config.set(name, value);
        }
        let producer = config.create().expect("the configuration is valid");
        let topic = job.topic.clone();
        Self { producer, topic }
    }

    async fn enqueue(
        self: &Arc<Self>,
        payload: &Bytes,
    ) -> impl Future<Output = ()> + Send + 'static {
        let sent = self.producer.send_result(self.record(payload));
        let delivery = sent.map_err(|(error, _)| error).expect("enqueued");
        async {
            let report = delivery.await.expect("the producer is open");
            report.expect("delivered");
        }
    }

    async fn send(self: &Arc<Self>, payload: &Bytes) {
        let sent = self.producer.send(self.record(payload), Timeout::Never);
        sent.await.expect("delivered");
    }
}

fn main() {
    peers::run::<Rdkafka>();
}
