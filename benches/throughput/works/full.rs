//! The works `full` and `concurrent`: many tasks send one message after the other. In `full` most of
//! them wait for capacity of a small queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::jobs::job::Job;
use crate::measure::meter::Meter;
use crate::measure::metric::Metric;
use crate::measure::sample::Sample;
use crate::works::awaited_producer::{AwaitedProducer, Outcome as _};

/// The counts of one task.
#[derive(Default)]
struct Sent {
    /// One for each send. The last send begins within the job's duration and may end after it.
    latencies: Vec<Duration>,
    in_time: u64,
    errors: u64,
}

/// Sends for the job's duration.
///
/// The rate counts deliveries within the duration only. CPU time and latencies include the rest.
pub(crate) async fn awaited<P: AwaitedProducer>(producer: P, payload: &Bytes, job: &Job) -> Sample {
    let producer = Arc::new(producer);
    let duration = Duration::from_millis(job.case.duration_ms);
    let meter = Meter::start();
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
    let messages = all.latencies.len() as u64;
    let mut sample = meter.stop_with_latencies(messages, all.errors, all.latencies);
    sample.insert(Metric::Rate, all.in_time as f64 / duration.as_secs_f64());
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
