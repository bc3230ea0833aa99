//! Wakes the driver, on whatever thread, and says whether it has run since.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Wakes the driver: something is in the queue, or the producer may have terminated.
pub(super) struct DriverWaker {
    /// It keeps a permit while nobody waits, so no wake-up is lost. Its lock is not held across any
    /// call of ours.
    notify: Notify,
    runtime: Handle,
    /// Whether the runtime has workers that could take the driver's task over from one another.
    has_other_workers: bool,
    /// There is something to do, and the driver has not begun a turn since.
    is_due: AtomicBool,
    /// The driver is in a turn, or the teardown has its place. Nobody else needs to serve then.
    is_served: AtomicBool,
    turns: AtomicU64,
    /// The turns when it was last found not to run.
    stalled_turn: AtomicU64,
}

/// The value of [`DriverWaker::stalled_turn`] before.
const NEVER: u64 = u64::MAX;

impl DriverWaker {
    /// The driver is due at first: it must run once to wait for wake-ups.
    pub(super) fn new(runtime: Handle) -> Self {
        Self {
            notify: Notify::new(),
            has_other_workers: runtime.metrics().num_workers() > 1,
            runtime,
            is_due: AtomicBool::new(true),
            is_served: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            stalled_turn: AtomicU64::new(NEVER),
        }
    }

    /// Wakes the driver.
    pub(super) fn wake(&self) {
        self.is_due.store(true, Ordering::SeqCst);
        self.notify.notify_one();
        self.free_from_worker();
    }

    /// Lets other workers run the driver, if this thread is a worker that has woken or spawned it.
    ///
    /// tokio keeps the task that a worker has woken last for that worker alone, in its LIFO slot.
    /// If the worker then blocks until a record is delivered, nobody serves the delivery. The next
    /// task that the worker wakes moves the driver's to the queue that others steal from, and wakes
    /// one of them.
    pub(super) fn free_from_worker(&self) {
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
        self.turns.fetch_add(1, Ordering::SeqCst);
        self.is_due.store(false, Ordering::SeqCst);
        self.is_served.store(true, Ordering::SeqCst);
    }

    /// The driver waits.
    pub(super) fn end_turn(&self) {
        self.is_served.store(false, Ordering::SeqCst);
    }

    /// The driver has ended, and a thread serves in its place.
    pub(super) fn is_replaced(&self) {
        self.is_served.store(true, Ordering::SeqCst);
    }

    /// The driver lets other tasks run although there is more to do.
    pub(super) fn pause_turn(&self) {
        self.is_due.store(true, Ordering::SeqCst);
        self.end_turn();
    }

    /// Returns the number of turns so far if the driver should begin another one and does not. A
    /// turn may be long, if callbacks are slow.
    pub(super) fn due(&self) -> Option<u64> {
        let turns = self.turns.load(Ordering::SeqCst);
        let is_due = self.is_due.load(Ordering::SeqCst);
        (is_due && !self.is_served.load(Ordering::SeqCst)).then_some(turns)
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
            .field("is_due", &self.is_due)
            .field("turns", &self.turns)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_is_in_a_turn_is_not_due() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let driver = DriverWaker::new(runtime.handle().clone());
        assert_eq!(driver.due(), Some(0));
        driver.begin_turn();
        driver.wake();
        // It is in a slow callback, and will look at the queue after it.
        assert_eq!(driver.due(), None);
        driver.pause_turn();
        assert_eq!(driver.due(), Some(1));
        driver.begin_turn();
        driver.end_turn();
        assert_eq!(driver.due(), None);
        driver.wake();
        assert_eq!(driver.due(), Some(2));
        driver.is_replaced();
        assert_eq!(driver.due(), None);
    }
}
