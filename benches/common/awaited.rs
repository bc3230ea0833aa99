//! The works, for producers whose deliveries are awaited.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::Allocator;
use super::contender::Runtime;
use super::job::{Job, Work};
use super::meter::{Meter, percentiles};
use super::sample::Sample;
use super::threads;

/// A producer whose deliveries are futures.
pub(crate) trait AwaitedProducer: Send + Sync + 'static {
    /// Resolves when a message has been delivered, or has failed.
    type Delivery: Future<Output: Outcome> + Send;

    /// What a whole send returns.
    type Sent: Outcome;

    /// Enqueues a copy of `payload`; to be refused is to panic.
    fn enqueue(&self, payload: &[u8]) -> impl Future<Output = Self::Delivery> + Send;

    /// Enqueues a copy of `payload` and awaits its delivery.
    fn send(&self, payload: &[u8]) -> impl Future<Output = Self::Sent> + Send;
}

/// What a delivery came to.
pub(crate) trait Outcome: Send {
    /// 0 for a success, 1 for a failure.
    fn failures(&self) -> u64;
}

/// How a window is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// Deliveries in a queue, the oldest awaited first
    Queue,
    /// Whole sends in `buffer_unordered`
    Unordered,
}

/// Runs a future to its end on a runtime of the given kind.
pub(crate) fn block_on(
    runtime: Runtime,
    job: impl Future<Output = Sample> + Send + 'static,
) -> Sample {
    let multi_thread = || {
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime starts")
    };
    match runtime {
        Runtime::Ct => Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts")
            .block_on(job),
        Runtime::Mt => {
            multi_thread().block_on(async { tokio::spawn(job).await.expect("no panic") })
        }
        Runtime::MtBlockOn => multi_thread().block_on(job),
    }
}

/// Connects with a first message, then does the job.
pub(crate) async fn run<P: AwaitedProducer>(
    producer: P,
    style: Style,
    job: Job,
    allocator: Allocator,
) -> Sample {
    let payload = job.payload();
    assert_eq!(
        producer.send(&payload).await.failures(),
        0,
        "the first message arrives"
    );
    match (job.work, style) {
        (Work::Idle, _) => idle(&job).await,
        (Work::Latency, _) => latency(&producer, &payload, &job, allocator).await,
        (_, Style::Queue) => queue(&producer, &payload, &job, allocator).await,
        (_, Style::Unordered) => unordered(&producer, &payload, &job, allocator).await,
    }
}

async fn queue<P: AwaitedProducer>(
    producer: &P,
    payload: &[u8],
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let window = job.window as usize;
    let mut in_flight = VecDeque::<P::Delivery>::with_capacity(window);
    let mut errors = 0;
    let meter = Meter::start(allocator);
    for _ in 0..job.messages {
        if in_flight.len() == window {
            errors += in_flight
                .pop_front()
                .expect("a window is not empty")
                .await
                .failures();
        }
        in_flight.push_back(producer.enqueue(payload).await);
    }
    for delivery in in_flight {
        errors += delivery.await.failures();
    }
    meter.stop(job.messages, errors)
}

async fn unordered<P: AwaitedProducer>(
    producer: &P,
    payload: &[u8],
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let meter = Meter::start(allocator);
    let sends = (0..job.messages).map(|_| producer.send(payload));
    let mut outcomes = futures::stream::iter(sends).buffer_unordered(job.window as usize);
    let mut errors = 0;
    while let Some(outcome) = outcomes.next().await {
        errors += outcome.failures();
    }
    meter.stop(job.messages, errors)
}

async fn latency<P: AwaitedProducer>(
    producer: &P,
    payload: &[u8],
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let mut latencies = Vec::with_capacity(job.messages as usize);
    let mut errors = 0;
    let meter = Meter::start(allocator);
    for _ in 0..job.messages {
        let start = Instant::now();
        errors += producer.send(payload).await.failures();
        latencies.push(start.elapsed());
    }
    let mut sample = meter.stop(job.messages, errors);
    percentiles(latencies, &mut sample);
    sample
}

async fn idle(job: &Job) -> Sample {
    let (done, seen) = oneshot::channel();
    threads::watch(Duration::from_millis(job.idle_ms), |sample| {
        done.send(sample).expect("the task waits")
    });
    seen.await.expect("the watcher reports")
}
