//! The work `idle`: a connected producer has nothing to do.

use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::jobs::job::Job;
use crate::measure::idle_threads;
use crate::measure::sample::Sample;

/// Measures while this task sleeps.
pub(crate) async fn awaited(job: &Job) -> Sample {
    let (sender, receiver) = oneshot::channel();
    idle_threads::watch(duration(job), |sample| {
        sender.send(sample).expect("the task waits");
    });
    receiver.await.expect("the watcher reports")
}

/// Measures while this thread sleeps.
pub(crate) fn blocking(job: &Job) -> Sample {
    let (sender, receiver) = mpsc::channel();
    idle_threads::watch(duration(job), move |sample| {
        sender.send(sample).expect("the main thread waits");
    });
    receiver.recv().expect("the watcher reports")
}

fn duration(job: &Job) -> Duration {
    Duration::from_millis(job.case.duration_ms)
}
