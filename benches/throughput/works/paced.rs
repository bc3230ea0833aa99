//! The work `paced`: sends begin at a steady rate, whether or not earlier ones have ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::jobs::job::Job;
use crate::measure::meter::Meter;
use crate::measure::sample::Sample;
use crate::works::awaited_producer::{AwaitedProducer, Outcome as _};

/// Sends begin at each tick, as many as are due.
const TICK: Duration = Duration::from_millis(1);

/// Spawns a task for each send.
pub(crate) async fn awaited<P: AwaitedProducer>(producer: P, payload: &Bytes, job: &Job) -> Sample {
    let producer = Arc::new(producer);
    let mut sends = JoinSet::new();
    let mut ticks = interval(TICK);
    let mut sent = 0;
    let meter = Meter::start();
    let started = Instant::now();
    while sent < job.case.messages {
        ticks.tick().await;
        let due = (started.elapsed().as_secs_f64() * job.case.pace as f64) as u64;
        for _ in sent..due.min(job.case.messages) {
            let (producer, payload) = (producer.clone(), payload.clone());
            sends.spawn(async move {
                let start = Instant::now();
                let failures = producer.send(&payload).await.failures();
                (start.elapsed(), failures)
            });
        }
        sent = sent.max(due.min(job.case.messages));
    }
    let ended = sends.join_all().await;
    let errors = ended.iter().map(|(_, failures)| failures).sum();
    let latencies = ended.into_iter().map(|(latency, _)| latency).collect();
    meter.stop_with_latencies(job.case.messages, errors, latencies)
}
