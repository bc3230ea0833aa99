//! The works, for producers that count deliveries in a callback.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Allocator;
use super::job::{Job, Work};
use super::meter::{Meter, percentiles};
use super::sample::Sample;
use super::threads;
use super::window::{Deliveries, Window};

/// A producer that nobody awaits.
pub(crate) trait CallbackProducer {
    /// Enqueues a copy of `payload`; to be refused is to panic.
    fn produce(&self, payload: &[u8]);

    /// Where the callback counts.
    fn deliveries(&self) -> &Deliveries;

    /// Waits until there are `count` deliveries; returns how many there are.
    fn wait_for(&self, count: u64) -> u64 {
        self.deliveries().wait_for(count)
    }
}

/// Connects with a first message, then does the job.
pub(crate) fn run(producer: &impl CallbackProducer, job: &Job, allocator: Allocator) -> Sample {
    let payload = job.payload();
    producer.produce(&payload);
    producer.wait_for(1);
    match job.work {
        Work::Idle => idle(job),
        Work::Latency => latency(producer, &payload, job, allocator),
        _ => window(producer, &payload, job, allocator),
    }
}

fn window(
    producer: &impl CallbackProducer,
    payload: &[u8],
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let mut window = Window::new(job.window, 1);
    let meter = Meter::start(allocator);
    for _ in 0..job.messages {
        window.enter(|count| producer.wait_for(count));
        producer.produce(payload);
    }
    window.drain(|count| producer.wait_for(count));
    meter.stop(job.messages, producer.deliveries().failed())
}

fn latency(
    producer: &impl CallbackProducer,
    payload: &[u8],
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let mut latencies = Vec::with_capacity(job.messages as usize);
    let meter = Meter::start(allocator);
    for sent in 1..=job.messages {
        let start = Instant::now();
        producer.produce(payload);
        producer.wait_for(1 + sent);
        latencies.push(start.elapsed());
    }
    let mut sample = meter.stop(job.messages, producer.deliveries().failed());
    percentiles(latencies, &mut sample);
    sample
}

fn idle(job: &Job) -> Sample {
    let (done, seen) = mpsc::channel();
    threads::watch(Duration::from_millis(job.idle_ms), move |sample| {
        done.send(sample).expect("the main thread waits")
    });
    seen.recv().expect("the watcher reports")
}
