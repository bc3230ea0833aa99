//! Our `Producer`: `enqueue`, and `send`.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use peers::{Client, Job};
use tokio_rdkafka::{ClientConfig, Producer, ProducerRecord, Topic};

struct Ours {
    producer: Producer,
    topic: Topic,
}

impl Client for Ours {
    async fn connect(job: &Job) -> Self {
        let mut config = ClientConfig::new();
        for (name, value) in job.librdkafka() {
            config.set(name, value);
        }
        let producer: Producer = config.create().expect("the configuration is valid");
        let topic = producer.topic(&job.topic).expect("the name is valid");
        Self { producer, topic }
    }

    async fn enqueue(
        self: &Arc<Self>,
        payload: &Bytes,
    ) -> impl Future<Output = ()> + Send + 'static {
        let record = ProducerRecord::to(&self.topic).payload(payload.clone());
        let delivery = self.producer.enqueue(record).await.expect("enqueued");
        async {
            delivery.await.expect("delivered");
        }
    }

    async fn send(self: &Arc<Self>, payload: &Bytes) {
        let record = ProducerRecord::to(&self.topic).payload(payload.clone());
        self.producer.send(record).await.expect("delivered");
    }
}

fn main() {
    peers::run::<Ours>();
}
