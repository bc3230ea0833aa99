//! The work `tasks`: one producer and several senders, each with its own window.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;

use crate::jobs::case::Case;
use crate::jobs::job::Job;
use crate::measure::meter::Meter;
use crate::measure::sample::Sample;
use crate::works::awaited_producer::AwaitedProducer;
use crate::works::callback_producer::CallbackProducer;
use crate::works::window;

/// Sends in tasks. Each awaits its oldest delivery first.
pub(crate) async fn awaited<P: AwaitedProducer>(producer: P, payload: &Bytes, job: &Job) -> Sample {
    let (producer, share) = (Arc::new(producer), share(&job.case));
    let meter = Meter::start();
    let tasks: Vec<_> = (0..job.case.tasks)
        .map(|_| {
            let (producer, payload) = (producer.clone(), payload.clone());
            tokio::spawn(async move { window::send_in_order(&*producer, &payload, &share).await })
        })
        .collect();
    let mut errors = 0;
    for task in tasks {
        errors += task.await.expect("no panic");
    }
    meter.stop(share.messages * share.tasks, errors)
}

/// Sends in threads. `sender` returns the producer with counts for the calling thread.
pub(crate) fn threads<P: CallbackProducer>(
    sender: impl Fn() -> P + Sync,
    payload: &[u8],
    job: &Job,
) -> Sample {
    let share = share(&job.case);
    let meter = Meter::start();
    let send = || {
        let sender = sender();
        window::send_counted(&sender, payload, &share);
        sender.deliveries().failed()
    };
    let errors = thread::scope(|scope| {
        let threads: Vec<_> = (0..share.tasks).map(|_| scope.spawn(send)).collect();
        let failed = threads.into_iter().map(|thread| thread.join());
        failed.map(|failed| failed.expect("no panic")).sum()
    });
    meter.stop(share.messages * share.tasks, errors)
}

/// Returns the case of one sender.
fn share(case: &Case) -> Case {
    Case {
        messages: case.messages.div_ceil(case.tasks),
        window: case.window.div_ceil(case.tasks),
        ..*case
    }
}
