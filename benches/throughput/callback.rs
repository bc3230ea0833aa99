//! The works, for producers that count deliveries in a callback.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Allocator;
use super::flush;
use super::job::{Case, Job};
use super::meter::{Meter, percentiles};
use super::sample::Sample;
use super::threads;
use super::window::{Deliveries, Window};
use super::work::Work;

/// A producer that nobody awaits.
pub(crate) trait CallbackProducer {
    /// Enqueues a copy of `payload` to one of the job's topics; to be refused is to panic.
    fn produce(&self, topic: usize, payload: &[u8]);

    /// Blocks until nothing is in flight, and does not linger.
    fn flush(&self);

    /// Where the callback counts.
    fn deliveries(&self) -> &Deliveries;

    /// Waits until there are `count` deliveries; returns how many there are.
    fn wait_for(&self, count: u64) -> u64 {
        self.deliveries().wait_for(count)
    }
}

/// Connects with a first message to each topic, then does the job.
pub(crate) fn run(producer: &impl CallbackProducer, job: &Job, allocator: Allocator) -> Sample {
    let payload = job.payload();
    connect(producer, job, &payload);
    match job.case.work {
        Work::Idle => idle(job),
        Work::Latency => latency(producer, &payload, job, allocator),
        Work::Flush => flush::callback(producer, &payload, job, allocator),
        _ => window(producer, &payload, job, allocator),
    }
}

/// Sends a first message to each topic, and waits for them.
pub(crate) fn connect(producer: &impl CallbackProducer, job: &Job, payload: &[u8]) {
    (0..job.case.topics).for_each(|topic| producer.produce(topic, payload));
    producer.wait_for(job.case.topics as u64);
}

fn window(
    producer: &impl CallbackProducer,
    payload: &[u8],
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let meter = Meter::start(allocator);
    keep_window(producer, payload, &job.case);
    meter.stop(job.case.messages, producer.deliveries().failed())
}

/// Sends a case's messages, by turns to its topics, with at most a window of them in flight.
pub(crate) fn keep_window(producer: &impl CallbackProducer, payload: &[u8], case: &Case) {
    let mut window = Window::new(case.window, producer.deliveries().done());
    for (topic, _) in (0..case.topics).cycle().zip(0..case.messages) {
        window.enter(|count| producer.wait_for(count));
        producer.produce(topic, payload);
    }
    window.drain(|count| producer.wait_for(count));
}

fn latency(
    producer: &impl CallbackProducer,
    payload: &[u8],
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let mut latencies = Vec::with_capacity(job.case.messages as usize);
    let meter = Meter::start(allocator);
    for sent in 1..=job.case.messages {
        let start = Instant::now();
        producer.produce(0, payload);
        producer.wait_for(1 + sent);
        latencies.push(start.elapsed());
    }
    let mut sample = meter.stop(job.case.messages, producer.deliveries().failed());
    percentiles(latencies, &mut sample);
    sample
}

fn idle(job: &Job) -> Sample {
    let (done, seen) = mpsc::channel();
    threads::watch(Duration::from_millis(job.case.duration_ms), move |sample| {
        done.send(sample).expect("the main thread waits")
    });
    seen.recv().expect("the watcher reports")
}
