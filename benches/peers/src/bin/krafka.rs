//! krafka's `Producer`: `enqueue`, and `send`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use krafka::producer::{Acks, Producer};
use krafka::{Kafka, Record};
use peers::{Client, Job};

struct Krafka {
    producer: Producer,
    topic: String,
}

impl Client for Krafka {
    async fn connect(job: &Job) -> Self {
        let kafka = Kafka::builder(job.brokers.as_str()).connect().await;
        let producer = kafka
            .expect("the brokers answer")
            .producer()
            .acks(Acks::All)
            .idempotent(false)
            .linger(Duration::from_millis(job.linger))
            .batch_size(job.batch_size())
            .build()
            .await
            .expect("the configuration is valid");
        let topic = job.topic.clone();
        Self { producer, topic }
    }

    async fn enqueue(
        self: &Arc<Self>,
        payload: &Bytes,
    ) -> impl Future<Output = ()> + Send + 'static {
        let record = Record::new(self.topic.as_str(), payload.clone());
        let delivery = self.producer.enqueue(record).await.expect("enqueued");
        async {
            let _ = delivery.await.expect("delivered");
        }
    }

    async fn send(self: &Arc<Self>, payload: &Bytes) {
        let record = Record::new(self.topic.as_str(), payload.clone());
        let _ = self.producer.send(record).await.expect("delivered");
    }
}

fn main() {
    peers::run::<Krafka>();
}
