//! What is being served: the queue, the event of delivery reports, and the messages popped from it.

use std::fmt;
use std::ptr;
use std::sync::Mutex;

use super::trackers::{Completions, Outcome, Tally};
use crate::error::RDKafkaErrorCode;
use crate::ffi::{DeliveryEvent, PayloadGuards, Queue};
use crate::message::DeliveryCompleter;
use crate::sync::{Wakeups, lock};

/// The number of messages that are taken from an event before their futures resolve.
///
/// After a purge or a timeout, one event can have hundreds of thousands of messages. They must not
/// delay the first one, nor all be copied at once.
pub(super) const CHUNK: usize = 512;

/// Keeps [`Serving`] while nobody serves.
///
/// It is shared, because the teardown finishes an event that an aborted driver left behind. It is
/// taken out to serve, because callbacks and wakers are foreign code, which must not run under a
/// lock.
#[derive(Debug)]
pub(super) struct ServingSlot<D: Send + Sync + 'static>(Mutex<Slot<D>>);

#[derive(Debug)]
struct Slot<D: Send + Sync + 'static> {
    /// `None` while a thread serves.
    serving: Option<Box<Serving<D>>>,
    /// The thread that took it last.
    thread: usize,
}

/// Has taken [`Serving`] out. Dropping it puts it back, also while a panic unwinds.
#[derive(Debug)]
pub(super) struct ServingGuard<'s, D: Send + Sync + 'static> {
    slot: &'s ServingSlot<D>,
    serving: Option<Box<Serving<D>>>,
}

impl<D: Send + Sync + 'static> ServingSlot<D> {
    pub(super) fn new(queue: Queue) -> Self {
        Self(Mutex::new(Slot {
            serving: Some(Box::new(Serving::new(queue))),
            thread: 0,
        }))
    }

    /// Takes it out. Returns `None` if another thread serves.
    pub(super) fn take(&self) -> Option<ServingGuard<'_, D>> {
        let mut slot = lock(&self.0);
        let serving = slot.serving.take()?;
        slot.thread = this_thread();
        drop(slot);
        Some(ServingGuard {
            slot: self,
            serving: Some(serving),
        })
    }

    /// Returns true if this thread serves: the caller is foreign code that it runs meanwhile.
    pub(super) fn is_taken_here(&self) -> bool {
        let slot = lock(&self.0);
        slot.serving.is_none() && slot.thread == this_thread()
    }
}

impl<D: Send + Sync + 'static> ServingGuard<'_, D> {
    pub(super) fn get(&mut self) -> &mut Serving<D> {
        self.serving.as_mut().expect("it is there until the drop")
    }
}

impl<D: Send + Sync + 'static> Drop for ServingGuard<'_, D> {
    fn drop(&mut self) {
        lock(&self.slot.0).serving = self.serving.take();
    }
}

/// Returns what tells this thread from all others that are alive.
fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| ptr::from_ref(here).addr())
}

/// What is being served.
pub(super) struct Serving<D: Send + Sync + 'static> {
    // Declared, and so dropped, before the queue.
    pub(super) event: Option<DeliveryEvent<DeliveryCompleter<D>>>,
    pub(super) queue: Option<Queue>,
    /// The memory for guards of payloads that the last event has left.
    pub(super) guards: PayloadGuards,
    pub(super) chunk: Chunk<D>,
}

/// Messages that were popped from the event, with their results.
///
/// If anything unwinds after a message came in here, the next turn or the teardown completes it.
pub(super) struct Chunk<D: Send + Sync + 'static> {
    pub(super) messages: Vec<Popped<D>>,
    pub(super) tally: Tally,
    /// Those of them that failed without a future, while no close had begun.
    pub(super) before_close: Tally,
    /// Payload bytes.
    pub(super) bytes: usize,
    /// The codes and the payload bytes of those that failed.
    pub(super) failures: Vec<(RDKafkaErrorCode, usize)>,
    /// The topic of the messages, if each topic is counted. librdkafka reports the messages of one
    /// topic in one event (`rd_kafka_dr_msgq0`).
    #[cfg(feature = "metrics")]
    pub(super) topic: String,
    /// How often messages were sent again.
    pub(super) retries: u64,
    pub(super) wakeups: Wakeups,
    pub(super) completions: Completions,
}

/// A message with its result, which is not yet completed.
pub(super) struct Popped<D: Send + 'static> {
    pub(super) number: u64,
    pub(super) completer: DeliveryCompleter<D>,
    pub(super) outcome: Outcome,
    /// The time from its enqueue until it was popped, in microseconds, if it was delivered.
    pub(super) latency: u64,
}

impl<D: Send + Sync + 'static> Chunk<D> {
    #[cold]
    pub(super) fn failed(&mut self, code: RDKafkaErrorCode, bytes: usize) {
        self.failures.push((code, bytes));
    }
}

impl<D: Send + 'static> Popped<D> {
    /// Tells the error of the message, if it failed, that the report of the close counts it.
    pub(super) fn set_in_close_report(&mut self) {
        if let Some(Err(error)) = self.completer.result() {
            error.set_in_close_report();
        }
    }
}

impl<D: Send + Sync + 'static> Serving<D> {
    fn new(queue: Queue) -> Self {
        Self {
            event: None,
            queue: Some(queue),
            guards: PayloadGuards::default(),
            chunk: Chunk {
                messages: Vec::with_capacity(CHUNK),
                tally: Tally::default(),
                before_close: Tally::default(),
                bytes: 0,
                failures: Vec::new(),
                #[cfg(feature = "metrics")]
                topic: String::new(),
                retries: 0,
                wakeups: Wakeups::default(),
                completions: Completions::default(),
            },
        }
    }

    /// Drops the queue, and an event whose messages have all been served. The client must outlive
    /// both.
    pub(super) fn close(&mut self) {
        self.event = None;
        self.queue = None;
    }
}

impl<D: Send + Sync + 'static> fmt::Debug for Serving<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("has_event", &self.event.is_some())
            .field("popped", &self.chunk.messages.len())
            .finish_non_exhaustive()
    }
}
