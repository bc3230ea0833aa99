//! The work `flush`: a few messages that would linger are flushed; how long does the flush take?

use std::time::Instant;

use bytes::Bytes;

use super::Allocator;
use super::awaited::{AwaitedProducer, Outcome as _};
use super::callback::CallbackProducer;
use super::job::Job;
use super::meter::{Meter, percentiles};
use super::sample::Sample;

/// Messages of a flush; a job's `messages` is the number of flushes.
const MESSAGES: u64 = 10;

pub(crate) async fn awaited<P: AwaitedProducer>(
    producer: &P,
    payload: &Bytes,
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let (mut latencies, mut errors) = (Vec::new(), 0);
    let meter = Meter::start(allocator);
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
    let mut sample = meter.stop(job.case.messages * MESSAGES, errors);
    percentiles(latencies, &mut sample);
    sample
}

pub(crate) fn callback(
    producer: &impl CallbackProducer,
    payload: &[u8],
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let mut latencies = Vec::new();
    let meter = Meter::start(allocator);
    for _ in 0..job.case.messages {
        (0..MESSAGES).for_each(|_| producer.produce(0, payload));
        let start = Instant::now();
        producer.flush();
        latencies.push(start.elapsed());
    }
    let failed = producer.deliveries().failed();
    let mut sample = meter.stop(job.case.messages * MESSAGES, failed);
    percentiles(latencies, &mut sample);
    sample
}
