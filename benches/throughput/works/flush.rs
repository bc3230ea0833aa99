//! The work `flush`: a few messages that would linger are flushed. Measures how long that takes.

use std::time::Instant;

use bytes::Bytes;

use crate::jobs::job::Job;
use crate::measure::meter::Meter;
use crate::measure::sample::Sample;
use crate::works::awaited_producer::{AwaitedProducer, Outcome as _};
use crate::works::callback_producer::CallbackProducer;

/// The messages of one flush. A job's `messages` is the number of flushes.
const MESSAGES: u64 = 10;

/// Awaits each flush.
pub(crate) async fn awaited<P: AwaitedProducer>(
    producer: &P,
    payload: &Bytes,
    job: &Job,
) -> Sample {
    let (mut latencies, mut errors) = (Vec::new(), 0);
    let meter = Meter::start();
    for _ in 0..job.case.messages {
        let mut deliveries = Vec::new();
        for _ in 0..MESSAGES {
            deliveries.push(producer.enqueue(payload).await);
        }
        let start = Instant::now();
        producer.flush().await;
        latencies.push(start.elapsed());
        for delivery in deliveries {
            errors += delivery.await.failures();
        }
    }
    meter.stop_with_latencies(job.case.messages * MESSAGES, errors, latencies)
}

/// Blocks during each flush.
pub(crate) fn callback(producer: &impl CallbackProducer, payload: &[u8], job: &Job) -> Sample {
    let mut latencies = Vec::new();
    let meter = Meter::start();
    for _ in 0..job.case.messages {
        (0..MESSAGES).for_each(|_| producer.produce(0, payload));
        let start = Instant::now();
        producer.flush();
        latencies.push(start.elapsed());
    }
    let failed = producer.deliveries().failed();
    meter.stop_with_latencies(job.case.messages * MESSAGES, failed, latencies)
}
