//! The work `full`: many tasks send one message after the other, most of them waiting for room in a small queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Allocator;
use super::awaited::{AwaitedProducer, Outcome as _};
use super::job::Job;
use super::meter::{Meter, percentiles};
use super::sample::{Metric, Sample};

/// What one task saw.
#[derive(Default)]
struct Sent {
    /// Of all its sends: the last one began in time, and may have ended later.
    latencies: Vec<Duration>,
    in_time: u64,
    errors: u64,
}

/// Sends for the job's duration. The rate is that of what was delivered in it; CPU time and latencies include the rest.
pub(crate) async fn run<P: AwaitedProducer>(
    producer: P,
    payload: &Bytes,
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let producer = Arc::new(producer);
    let duration = Duration::from_millis(job.case.duration_ms);
    let meter = Meter::start(allocator);
    let end = Instant::now() + duration;
    let tasks: Vec<_> = (0..job.case.tasks)
        .map(|_| tokio::spawn(send_until(end, producer.clone(), payload.clone())))
        .collect();
    let mut all = Sent::default();
    for task in tasks {
        let sent = task.await.expect("no panic");
        all.latencies.extend(sent.latencies);
        all.in_time += sent.in_time;
        all.errors += sent.errors;
    }
    let mut sample = meter.stop(all.latencies.len() as u64, all.errors);
    sample.insert(Metric::Rate, all.in_time as f64 / duration.as_secs_f64());
    percentiles(all.latencies, &mut sample);
    sample
}

async fn send_until<P: AwaitedProducer>(end: Instant, producer: Arc<P>, payload: Bytes) -> Sent {
    let mut sent = Sent::default();
    let mut start = Instant::now();
    while start < end {
        sent.errors += producer.send(&payload).await.failures();
        let now = Instant::now();
        sent.latencies.push(now - start);
        sent.in_time += u64::from(now < end);
        start = now;
    }
    sent
}
