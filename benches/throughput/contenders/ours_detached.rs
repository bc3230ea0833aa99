//! Our producer, whose context counts deliveries: `ours-detached` (`enqueue_detached`, by topic
//! handles) and `ours-detached-by-name`.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_rdkafka::{ClientContext, DeliveryResult, Producer, ProducerContext};

use crate::contenders::address::Address;
use crate::contenders::config;
use crate::jobs::contender::Contender;
use crate::jobs::job::Job;
use crate::measure::meter::Meter;
use crate::measure::sample::Sample;
use crate::works::runtime::block_on;

/// Our producer, detached.
pub(crate) struct OursDetached<A>(PhantomData<A>);

impl<A> OursDetached<A> {
    /// Creates the contender.
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<A: Address> Contender for OursDetached<A> {
    fn run(&self, job: &Job) -> Sample {
        block_on(job.contender.runtime, measure::<A>(job.clone()))
    }
}

/// Deliveries, and how many of them failed. `flush` waits until all have been counted.
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

/// Does the works `detached` and `topics`. The queue's limit is the window.
async fn measure<A: Address>(job: Job) -> Sample {
    let counting = Arc::new(Counting::default());
    let producer: Producer<Arc<Counting>> = config::ours_limited_by_queue(&job)
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
    let meter = Meter::start();
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
