//! Our own producer, detached: `ours-detached` (`enqueue_detached`, by topic handles) and `ours-detached-by-name`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_rdkafka::{ClientContext, DeliveryResult, Producer, ProducerContext};

use super::Allocator;
use super::job::Job;
use super::meter::Meter;
use super::ours::{Address, client_config};
use super::sample::Sample;

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

/// The works `detached` and `topics`: the queue's limit keeps the window.
pub(crate) async fn run<A: Address>(job: Job, allocator: Allocator) -> Sample {
    let counting = Arc::new(Counting::default());
    let mut config = client_config(&job);
    config.set("queue.buffering.max.messages", job.case.window.to_string());
    let producer: Producer<Arc<Counting>> = config
        .create_with_context(counting.clone())
        .expect("the configuration is valid");
    let payload = job.payload();
    let topics: Vec<_> = job
        .topics()
        .map(|topic| A::new(&producer, &topic))
        .collect();
    let enqueue = async |topic: &A| {
        producer
            .enqueue_detached(topic.record(&payload))
            .await
            .expect("the producer is open");
    };

    for topic in &topics {
        enqueue(topic).await;
    }
    producer.flush().await.expect("the first messages arrive");
    let meter = Meter::start(allocator);
    for (topic, _) in topics.iter().cycle().zip(0..job.case.messages) {
        enqueue(topic).await;
    }
    producer.flush().await.expect("the producer is open");
    let sample = meter.stop(job.case.messages, counting.failed.load(Ordering::Relaxed));
    assert_eq!(
        counting.done.load(Ordering::Relaxed),
        topics.len() as u64 + job.case.messages,
        "each message is reported once"
    );
    sample
}
