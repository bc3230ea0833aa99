//! Does a job with a producer whose deliveries are awaited.

use crate::jobs::job::Job;
use crate::jobs::work::Work;
use crate::measure::sample::Sample;
use crate::works::awaited_producer::{AwaitedProducer, Outcome as _};
use crate::works::flush;
use crate::works::full;
use crate::works::idle;
use crate::works::latency;
use crate::works::paced;
use crate::works::tasks;
use crate::works::window;

/// How a contender keeps a window.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// Deliveries in a queue, the oldest awaited first.
    InOrder,
    /// Whole sends in `buffer_unordered`.
    Unordered,
}

/// Connects with a first message, then does the job.
pub(crate) async fn run<P: AwaitedProducer>(producer: P, style: Style, job: Job) -> Sample {
    let payload = job.payload();
    assert_eq!(
        producer.send(&payload).await.failures(),
        0,
        "the first message arrives"
    );
    match (job.case.work, style) {
        (Work::Idle, _) => idle::awaited(&job).await,
        (Work::Latency, _) => latency::awaited(&producer, &payload, &job).await,
        (Work::Flush, _) => flush::awaited(&producer, &payload, &job).await,
        (Work::Full | Work::Concurrent, _) => full::awaited(producer, &payload, &job).await,
        (Work::Paced, _) => paced::awaited(producer, &payload, &job).await,
        (Work::Tasks, _) => tasks::awaited(producer, &payload, &job).await,
        (_, Style::InOrder) => window::in_order(&producer, &payload, &job).await,
        (_, Style::Unordered) => window::unordered(&producer, &payload, &job).await,
    }
}
