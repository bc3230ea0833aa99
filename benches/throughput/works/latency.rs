//! The work `latency`: one message at a time.

use std::time::Instant;

use bytes::Bytes;

use crate::jobs::job::Job;
use crate::measure::meter::Meter;
use crate::measure::sample::Sample;
use crate::works::awaited_producer::{AwaitedProducer, Outcome as _};
use crate::works::callback_producer::CallbackProducer;

/// Awaits each delivery before the next send.
pub(crate) async fn awaited<P: AwaitedProducer>(
    producer: &P,
    payload: &Bytes,
    job: &Job,
) -> Sample {
    let mut latencies = Vec::with_capacity(job.case.messages as usize);
    let mut errors = 0;
    let meter = Meter::start();
    for _ in 0..job.case.messages {
        let start = Instant::now();
        errors += producer.send(payload).await.failures();
        latencies.push(start.elapsed());
    }
    meter.stop_with_latencies(job.case.messages, errors, latencies)
}

/// Blocks until each delivery has been counted.
pub(crate) fn callback(producer: &impl CallbackProducer, payload: &[u8], job: &Job) -> Sample {
    let mut latencies = Vec::with_capacity(job.case.messages as usize);
    let meter = Meter::start();
    for sent in 1..=job.case.messages {
        let start = Instant::now();
        producer.produce(0, payload);
        // One more: the message that connected.
        producer.wait_for(1 + sent);
        latencies.push(start.elapsed());
    }
    let failed = producer.deliveries().failed();
    meter.stop_with_latencies(job.case.messages, failed, latencies)
}
