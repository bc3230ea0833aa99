//! The work `tasks`: one producer, several senders, each with a window of its own.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;

use super::Allocator;
use super::awaited::{AwaitedProducer, keep_window};
use super::c_loop::CLoop;
use super::callback;
use super::job::{Case, Job};
use super::meter::Meter;
use super::sample::Sample;

/// In tasks, of which each awaits its oldest delivery first.
pub(crate) async fn awaited<P: AwaitedProducer>(
    producer: P,
    payload: &Bytes,
    job: &Job,
    allocator: Allocator,
) -> Sample {
    let (producer, share) = (Arc::new(producer), share(&job.case));
    let meter = Meter::start(allocator);
    let tasks: Vec<_> = (0..job.case.tasks)
        .map(|_| {
            let (producer, payload) = (producer.clone(), payload.clone());
            tokio::spawn(async move { keep_window(&*producer, &payload, &share).await })
        })
        .collect();
    let mut errors = 0;
    for task in tasks {
        errors += task.await.expect("no panic");
    }
    meter.stop(share.messages * share.tasks, errors)
}

/// The C loop, in threads.
pub(crate) fn threads(job: &Job, allocator: Allocator) -> Sample {
    let (producer, payload, share) = (CLoop::new(job), job.payload(), share(&job.case));
    callback::connect(&producer, job, &payload);
    let meter = Meter::start(allocator);
    let send = || {
        let sender = producer.on_this_thread();
        callback::keep_window(&sender, &payload, &share);
        sender.failed()
    };
    let errors = thread::scope(|scope| {
        let threads: Vec<_> = (0..share.tasks).map(|_| scope.spawn(send)).collect();
        let failed = threads.into_iter().map(|thread| thread.join());
        failed.map(|failed| failed.expect("no panic")).sum()
    });
    meter.stop(share.messages * share.tasks, errors)
}

/// What one sender does.
fn share(case: &Case) -> Case {
    Case {
        messages: case.messages.div_ceil(case.tasks),
        window: case.window.div_ceil(case.tasks),
        ..*case
    }
}
