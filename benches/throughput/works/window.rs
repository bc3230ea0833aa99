//! The work `window`: as many messages in flight as a window allows.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::StreamExt as _;

use crate::jobs::case::Case;
use crate::jobs::job::Job;
use crate::measure::meter::Meter;
use crate::measure::sample::Sample;
use crate::works::awaited_producer::{AwaitedProducer, Outcome as _};
use crate::works::callback_producer::CallbackProducer;

/// Keeps deliveries in a queue and awaits the oldest first.
pub(crate) async fn in_order<P: AwaitedProducer>(
    producer: &P,
    payload: &Bytes,
    job: &Job,
) -> Sample {
    let meter = Meter::start();
    let errors = send_in_order(producer, payload, &job.case).await;
    meter.stop(job.case.messages, errors)
}

/// Keeps whole sends in `buffer_unordered`.
pub(crate) async fn unordered<P: AwaitedProducer>(
    producer: &P,
    payload: &Bytes,
    job: &Job,
) -> Sample {
    let meter = Meter::start();
    let sends = (0..job.case.messages).map(|_| producer.send(payload));
    let mut outcomes = futures::stream::iter(sends).buffer_unordered(job.case.window as usize);
    let mut errors = 0;
    while let Some(outcome) = outcomes.next().await {
        errors += outcome.failures();
    }
    meter.stop(job.case.messages, errors)
}

/// Keeps the window by a count of deliveries.
pub(crate) fn counted(producer: &impl CallbackProducer, payload: &[u8], job: &Job) -> Sample {
    let meter = Meter::start();
    send_counted(producer, payload, &job.case);
    meter.stop(job.case.messages, producer.deliveries().failed())
}

/// Sends the messages of `case` in its window, and awaits the oldest delivery first.
///
/// Returns how many failed.
pub(crate) async fn send_in_order<P: AwaitedProducer>(
    producer: &P,
    payload: &Bytes,
    case: &Case,
) -> u64 {
    let window = case.window as usize;
    let mut in_flight = VecDeque::<P::Delivery>::with_capacity(window);
    let mut errors = 0;
    for _ in 0..case.messages {
        if in_flight.len() == window {
            errors += in_flight
                .pop_front()
                .expect("a window is not empty")
                .await
                .failures();
        }
        in_flight.push_back(producer.enqueue(payload).await);
    }
    for delivery in in_flight {
        errors += delivery.await.failures();
    }
    errors
}

/// Sends the messages of `case` in its window, to its topics in turn, and counts deliveries.
pub(crate) fn send_counted(producer: &impl CallbackProducer, payload: &[u8], case: &Case) {
    let mut window = CountedWindow::new(case.window, producer.deliveries().done());
    for (topic, _) in (0..case.topics).cycle().zip(0..case.messages) {
        window.acquire(|count| producer.wait_for(count));
        producer.produce(topic, payload);
    }
    window.drain(|count| producer.wait_for(count));
}

/// The sender's side of a window that is kept by counts.
#[derive(Debug)]
struct CountedWindow {
    size: u64,
    sent: u64,
    /// The deliveries at the last look: never more than there are.
    done: u64,
}

impl CountedWindow {
    /// Creates an empty window for `size` messages, after `done` deliveries of earlier ones.
    fn new(size: u64, done: u64) -> Self {
        Self {
            size,
            sent: done,
            done,
        }
    }

    /// Acquires capacity for one message.
    ///
    /// If the window is full, sleeps until an eighth of it is free, which saves a context switch
    /// per message.
    fn acquire(&mut self, wait_for: impl FnOnce(u64) -> u64) {
        if self.sent - self.done == self.size {
            self.done = wait_for(self.sent - self.size + self.size.div_ceil(8));
        }
        self.sent += 1;
    }

    /// Sleeps until no message is in flight.
    fn drain(&mut self, wait_for: impl FnOnce(u64) -> u64) {
        self.done = wait_for(self.sent);
    }
}
