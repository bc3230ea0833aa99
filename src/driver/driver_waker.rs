//! Wakes the driver, on whatever thread, and says whether it has run since.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::stall_watch::StallWatch;
use super::turns::NEVER;

/// Wakes the driver: something is in the queue, or the producer may have terminated.
pub(super) struct DriverWaker {
    /// It keeps a permit while nobody waits, so no wake-up is lost. Its lock is not held across any
    /// call of ours.
    notify: Notify,
    runtime: Handle,
    /// Whether the runtime has workers that could take the driver's task over from one another.
    has_other_workers: bool,
    watch: Arc<StallWatch>,
    /// The turns when it was last found not to run.
    stalled_turn: AtomicU64,
}

impl DriverWaker {
    pub(super) fn new(runtime: Handle, watch: Arc<StallWatch>) -> Self {
        Self {
            notify: Notify::new(),
            has_other_workers: runtime.metrics().num_workers() > 1,
            runtime,
            watch,
            stalled_turn: AtomicU64::new(NEVER),
        }
    }

    /// Wakes the driver.
    pub(super) fn wake(&self) {
        self.watch.turns.call();
        self.notify.notify_one();
        self.free_from_worker();
        self.watch.begin();
    }

    /// The driver was spawned on this thread.
    pub(super) fn spawned(&self) {
        self.free_from_worker();
        self.watch.begin();
    }

    /// Lets other workers run the driver, if this thread is a worker that has woken or spawned it.
    ///
    /// tokio keeps the task that a worker has woken last for that worker alone, in its LIFO slot.
    /// If the worker then blocks until a record is delivered, nobody serves the delivery. The next
    /// task that the worker wakes moves the driver's to the queue that others steal from, and wakes
    /// one of them.
    fn free_from_worker(&self) {
        if self.has_other_workers && Handle::try_current().is_ok() {
            drop(self.runtime.spawn(async {}));
        }
    }

    /// Ends the driver's turn. Resolves when there may be something to do.
    pub(super) async fn woken(&self) {
        self.end_turn();
        self.notify.notified().await;
    }

    /// Whether another worker may run the driver's task while the one that ran it is blocked.
    pub(super) fn has_other_workers(&self) -> bool {
        self.has_other_workers
    }

    /// The driver begins a turn: it looks at everything.
    pub(super) fn begin_turn(&self) {
        self.watch.turns.begin();
    }

    /// The driver waits.
    pub(super) fn end_turn(&self) {
        self.watch.turns.end();
        self.watch.begin();
    }

    /// The driver has ended, and a thread serves in its place.
    pub(super) fn is_replaced(&self) {
        self.watch.turns.are_over();
    }

    /// The driver lets other tasks run although there is more to do.
    pub(super) fn pause_turn(&self) {
        self.watch.turns.call();
        self.end_turn();
    }

    /// Returns the number of turns so far if the driver should begin another one and does not.
    pub(super) fn due(&self) -> Option<u64> {
        self.watch.turns.due()
    }

    /// Returns true if the driver was found not to run, and has not run since that turn.
    pub(super) fn is_stalled(&self, turns: u64) -> bool {
        self.stalled_turn.load(Ordering::SeqCst) == turns
    }

    /// Records that the driver does not run. Returns false if that was known.
    pub(super) fn stalls(&self, turns: u64) -> bool {
        self.stalled_turn.swap(turns, Ordering::SeqCst) != turns
    }
}

impl fmt::Debug for DriverWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverWaker")
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}
