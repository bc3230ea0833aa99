//! kafkit-client's `KafkaProducer`: `send`, in a task of its own where it is awaited later.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafkit_client::{KafkaProducer, ProducerConfig};
use peers::{Client, Job};

struct Kafkit(KafkaProducer);

impl Client for Kafkit {
    async fn connect(job: &Job) -> Self {
        let config = ProducerConfig::new("")
            .with_bootstrap_servers(job.brokers.split(','))
            .with_acks(-1)
            .with_enable_idempotence(false)
            .with_linger(Duration::from_millis(job.linger))
            .with_batch_size(job.batch_size());
        let producer = KafkaProducer::connect(config).await;
        let producer = producer.expect("the brokers answer");
        Self(producer.with_defaults(Some(job.topic.clone()), None))
    }

    async fn enqueue(
        self: &Arc<Self>,
        payload: &Bytes,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (producer, payload) = (self.clone(), payload.clone());
        let send = tokio::spawn(async move { producer.send(&payload).await });
        async { send.await.expect("no panic") }
    }

    async fn send(self: &Arc<Self>, payload: &Bytes) {
        self.0.send(payload.clone()).await.expect("delivered");
    }
}

fn main() {
    peers::run::<Kafkit>();
}
