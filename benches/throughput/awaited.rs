//! The works, for producers whose deliveries are awaited.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::Allocator;
use super::contender::Runtime;
use super::flush;
use super::full;
use super::job::{Case, Job};
use super::meter::{Meter, percentiles};
use super::sample::Sample;
use super::tasks;
use super::threads;
use super::work::Work;

/// A producer whose deliveries are futures.
pub(crate) trait AwaitedProducer: Send + Sync + 'static {
    /// Resolves when a message has been delivered, or has failed.
    type Delivery: Future<Output: Outcome> + Send;

    /// What a whole send returns.
    type Sent: Outcome;

    /// Enqueues `payload`; to be refused is to panic.
    fn enqueue(&self, payload: &Bytes) -> impl Future<Output = Self::Delivery> + Send;

    /// Enqueues `payload` and awaits its delivery.
    fn send(&self, payload: &Bytes) -> impl Future<Output = Self::Sent> + Send;

    /// Waits until nothing is in flight, and does not linger.
    fn flush(&self) -> impl Future<Output = ()> + Send;
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
    match (job.case.work, style) {
        (Work::Idle, _) => idle(&job).await,
        (Work::Latency, _) => latency(&producer, &payload, &job, allocator).await,
        (Work::Flush, _) => flush::awaited(&producer, &payload, &job, allocator).await,
        (Work::Full, _) => full::run(producer, &payload, &job, allocator).await,
        (Work::Tasks, _) => tasks::awaited(producer, &payload, &job, allocator).await,
        (_, Style::Queue) => queue(&producer, &payload, &job, allocator).await,
        (_, Style::Unordered) => unordered(&producer, &payload, &job, allocator).await,
    }
}

async fn queue<P: AwaitedProducer>(
    producer: &P,
    payload: &Bytes,
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let meter = Meter::start(allocator);
    let errors = keep_window(producer, payload, &job.case).await;
    meter.stop(job.case.messages, errors)
}

/// Sends a case's messages with at most a window of them in flight; returns how many failed.
pub(crate) async fn keep_window<P: AwaitedProducer>(
    producer: &P,
    payload: &Bytes,
    case: &Case,
) -> u64 {
    let window = case.window as usize;
    let mut in_flight = VecDeque::<P::Delivery>::with_capacity(window);
    let mut errors = 0;
    for _ in 0..case.messages {
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
    errors
}

async fn unordered<P: AwaitedProducer>(
    producer: &P,
    payload: &Bytes,
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let meter = Meter::start(allocator);
    let sends = (0..job.case.messages).map(|_| producer.send(payload));
    let mut outcomes = futures::stream::iter(sends).buffer_unordered(job.case.window as usize);
    let mut errors = 0;
    while let Some(outcome) = outcomes.next().await {
        errors += outcome.failures();
    }
    meter.stop(job.case.messages, errors)
}

async fn latency<P: AwaitedProducer>(
    producer: &P,
    payload: &Bytes,
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let mut latencies = Vec::with_capacity(job.case.messages as usize);
    let mut errors = 0;
    let meter = Meter::start(allocator);
    for _ in 0..job.case.messages {
        let start = Instant::now();
        errors += producer.send(payload).await.failures();
        latencies.push(start.elapsed());
    }
    let mut sample = meter.stop(job.case.messages, errors);
    percentiles(latencies, &mut sample);
    sample
}

async fn idle(job: &Job) -> Sample {
    let (done, seen) = oneshot::channel();
    threads::watch(Duration::from_millis(job.case.duration_ms), |sample| {
        done.send(sample).expect("the task waits")
    });
    seen.await.expect("the watcher reports")
}
