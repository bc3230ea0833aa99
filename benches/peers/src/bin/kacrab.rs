//! kacrab's `Producer`: `send`, which returns a future.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use kacrab::producer::{Producer, ProducerRecord};
use peers::{Client, Job};

struct Kacrab {
    producer: Producer,
    topic: Arc<str>,
}

impl Client for Kacrab {
    async fn connect(job: &Job) -> Self {
        let producer = Producer::builder()
            .set("bootstrap.servers", job.brokers.as_str())
            .set("acks", "all")
            .set("enable.idempotence", "false")
            .set("linger.ms", job.linger.to_string())
            .set("batch.size", job.batch_size().to_string())
            .build()
            .await
            .expect("the configuration is valid");
        let topic = job.topic.as_str().into();
        Self { producer, topic }
    }

    async fn enqueue(
        self: &Arc<Self>,
        payload: &Bytes,
    ) -> impl Future<Output = ()> + Send + 'static {
        let record = ProducerRecord::topic_value(self.topic.clone(), payload.clone());
        let delivery = self.producer.send(record).expect("enqueued");
        async {
            delivery.await.expect("delivered");
        }
    }
}

fn main() {
    peers::run::<Kacrab>();
}
