//! What is being served: the queue, the event of delivery reports, and the messages popped from it.

use super::trackers::{Completions, Outcome, Tally};
use crate::ffi::{DeliveryEvent, Queue};
use crate::message::DeliveryCompleter;
use crate::sync::Wakeups;

/// How many messages are taken from an event before their futures resolve: one event can have
/// hundreds of thousands (a purge, a time-out), which must neither delay the first nor hold copies
/// of them all.
pub(super) const CHUNK: usize = 512;

/// What is being served. It is shared, not the driver's own, so that an event that an aborted
/// driver leaves behind is finished by the teardown.
pub(super) struct Serving<D: Send + Sync + 'static> {
    // Declared, and so dropped, before the queue.
    pub(super) event: Option<DeliveryEvent<DeliveryCompleter<D>>>,
    pub(super) queue: Option<Queue>,
    pub(super) chunk: Chunk<D>,
}

/// Messages that were popped from the event. They are complete but for the end: whatever unwinds
/// after a message came in here, the next turn, or the teardown, settles it.
pub(super) struct Chunk<D: Send + Sync + 'static> {
    pub(super) messages: Vec<Popped<D>>,
    pub(super) tally: Tally,
    /// Payload bytes.
    pub(super) bytes: usize,
    pub(super) wakeups: Wakeups,
    pub(super) completions: Completions,
}

/// A message with its result, which nobody has been told of.
pub(super) struct Popped<D: Send + 'static> {
    pub(super) number: u64,
    pub(super) completer: DeliveryCompleter<D>,
    pub(super) outcome: Outcome,
}

impl<D: Send + Sync + 'static> Serving<D> {
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            event: None,
            queue: Some(queue),
            chunk: Chunk {
                messages: Vec::with_capacity(CHUNK),
                tally: Tally::default(),
                bytes: 0,
                wakeups: Wakeups::default(),
                completions: Completions::default(),
            },
        }
    }

    /// Takes the queue, and an event whose messages have all been served, out: the client must
    /// outlive neither.
    pub(super) fn take(&mut self) -> (Option<DeliveryEvent<DeliveryCompleter<D>>>, Option<Queue>) {
        (self.event.take(), self.queue.take())
    }
}
