//! Does a job with a producer that counts deliveries in a callback.

use crate::jobs::job::Job;
use crate::jobs::work::Work;
use crate::measure::sample::Sample;
use crate::works::callback_producer::CallbackProducer;
use crate::works::flush;
use crate::works::idle;
use crate::works::latency;
use crate::works::window;

/// Connects with a first message to each topic, then does the job.
pub(crate) fn run(producer: &impl CallbackProducer, job: &Job) -> Sample {
    let payload = job.payload();
    connect(producer, &payload, job);
    match job.case.work {
        Work::Idle => idle::blocking(job),
        Work::Latency => latency::callback(producer, &payload, job),
        Work::Flush => flush::callback(producer, &payload, job),
        _ => window::counted(producer, &payload, job),
    }
}

/// Sends a first message to each topic, and waits for their deliveries.
pub(crate) fn connect(producer: &impl CallbackProducer, payload: &[u8], job: &Job) {
    (0..job.case.topics).for_each(|topic| producer.produce(topic, payload));
    producer.wait_for(job.case.topics as u64);
}
