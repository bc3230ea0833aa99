//! Our own producer: `ours` (`enqueue`), `ours-send` (`send`) and `ours-detached` (`enqueue_detached`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_rdkafka::{
    ClientConfig, ClientContext, Delivery, DeliveryFuture, DeliveryResult, Producer,
    ProducerContext, ProducerRecord, SendError,
};

use super::Allocator;
use super::awaited::{AwaitedProducer, Outcome};
use super::config;
use super::job::Job;
use super::meter::Meter;
use super::sample::Sample;

pub(crate) struct Ours {
    producer: Producer,
    topic: String,
}

impl Ours {
    /// Needs a runtime around it.
    pub(crate) fn new(job: &Job) -> Self {
        let producer = client_config(job)
            .create()
            .expect("the configuration is valid");
        Self {
            producer,
            topic: job.topic.clone(),
        }
    }

    fn record<'a>(&'a self, payload: &'a [u8]) -> ProducerRecord<'a> {
        ProducerRecord::to(self.topic.as_str()).payload(payload)
    }
}

impl AwaitedProducer for Ours {
    type Delivery = DeliveryFuture;
    type Sent = Result<Delivery, SendError>;

    async fn enqueue(&self, payload: &[u8]) -> DeliveryFuture {
        self.producer
            .enqueue(self.record(payload))
            .await
            .expect("the producer is open")
    }

    async fn send(&self, payload: &[u8]) -> Result<Delivery, SendError> {
        self.producer.send(self.record(payload)).await
    }
}

impl Outcome for Result<Delivery, SendError> {
    fn failures(&self) -> u64 {
        self.is_err().into()
    }
}

/// Deliveries, and how many of them failed. Nobody waits for a count here: `flush` tells when all have been reported.
#[derive(Default)]
struct Counting {
    done: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.failed
            .fetch_add(result.is_err().into(), Ordering::Relaxed);
    }
}

/// The work `detached`: the queue's limit keeps the window.
pub(crate) async fn detached(job: Job, allocator: Allocator) -> Sample {
    let counting = Arc::new(Counting::default());
    let mut config = client_config(&job);
    config.set("queue.buffering.max.messages", job.window.to_string());
    let producer: Producer<Arc<Counting>> = config
        .create_with_context(counting.clone())
        .expect("the configuration is valid");
    let payload = job.payload();
    let record = || ProducerRecord::to(job.topic.as_str()).payload(&payload);

    producer
        .enqueue_detached(record())
        .await
        .expect("the producer is open");
    producer.flush().await.expect("the first message arrives");
    let meter = Meter::start(allocator);
    for _ in 0..job.messages {
        producer
            .enqueue_detached(record())
            .await
            .expect("the producer is open");
    }
    producer.flush().await.expect("the producer is open");
    let sample = meter.stop(job.messages, counting.failed.load(Ordering::Relaxed));
    assert_eq!(
        counting.done.load(Ordering::Relaxed),
        1 + job.messages,
        "each message is reported once"
    );
    sample
}

fn client_config(job: &Job) -> ClientConfig {
    config::properties(job).into_iter().collect()
}
