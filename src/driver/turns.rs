//! Whether the driver has something to do, and is doing it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The turns of the driver. In one it looks at everything.
#[derive(Debug)]
pub(super) struct Turns {
    /// There is something to do, and the driver has not begun a turn since.
    is_due: AtomicBool,
    /// The driver is in a turn, or the teardown has its place. Nobody else needs to serve then.
    is_served: AtomicBool,
    count: AtomicU64,
}

/// A number of turns that is never reached.
pub(super) const NEVER: u64 = u64::MAX;

impl Turns {
    /// The driver is due at first: it must run once to wait for wake-ups.
    pub(super) fn new() -> Self {
        Self {
            is_due: AtomicBool::new(true),
            is_served: AtomicBool::new(false),
            count: AtomicU64::new(0),
        }
    }

    /// There is something to do.
    pub(super) fn call(&self) {
        self.is_due.store(true, Ordering::SeqCst);
    }

    pub(super) fn begin(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.is_due.store(false, Ordering::SeqCst);
        self.is_served.store(true, Ordering::SeqCst);
    }

    pub(super) fn end(&self) {
        self.is_served.store(false, Ordering::SeqCst);
    }

    /// The driver has ended, and a thread serves in its place.
    pub(super) fn are_over(&self) {
        self.is_served.store(true, Ordering::SeqCst);
    }

    /// Returns the number of turns so far if the driver should begin another one and does not. A
    /// turn may be long, if callbacks are slow.
    pub(super) fn due(&self) -> Option<u64> {
        let count = self.count.load(Ordering::SeqCst);
        let is_due = self.is_due.load(Ordering::SeqCst);
        (is_due && !self.is_served.load(Ordering::SeqCst)).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_is_in_a_turn_is_not_due() {
        let turns = Turns::new();
        assert_eq!(turns.due(), Some(0));
        turns.begin();
        turns.call();
        // It is in a slow callback, and will look at the queue after it.
        assert_eq!(turns.due(), None);
        turns.end();
        assert_eq!(turns.due(), Some(1));
        turns.begin();
        turns.end();
        assert_eq!(turns.due(), None);
        turns.call();
        assert_eq!(turns.due(), Some(2));
        turns.are_over();
        assert_eq!(turns.due(), None);
    }
}
