//! Notices that the driver does not run, and has a thread serve in its place.
//!
//! Whoever waits for a delivery does not look whether the driver runs, because each message would
//! pay for that. So a watch is on whenever the driver is due: the process's thread of deadlines
//! looks after [`PATIENCE`] whether the driver has had its turn. It looks at most once in that time,
//! and not at all while nothing wakes the driver.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Wake;
use std::time::Duration;

use super::blocking;
use super::turns::{NEVER, Turns};
use crate::sync::wake_after;

/// For how long the driver may be due without a turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A look at the driver that is to come, or the thread that serves.
pub(super) struct StallWatch {
    pub(super) turns: Turns,
    is_on: AtomicBool,
    /// The driver's turns at the last look, if it was due; otherwise [`NEVER`].
    seen: AtomicU64,
    /// Serves while the driver has had so many turns. Returns true if messages are in flight.
    serve: Box<dyn Fn(u64) -> bool + Send + Sync>,
}

impl StallWatch {
    pub(super) fn new(serve: impl Fn(u64) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            turns: Turns::new(),
            is_on: AtomicBool::new(false),
            seen: AtomicU64::new(NEVER),
            serve: Box::new(serve),
        })
    }

    /// Begins a watch if the driver is due, unless one is on. To be called whenever it may have
    /// become due.
    pub(super) fn begin(self: &Arc<Self>) {
        if self.turns.due().is_some()
            && !self.is_on.load(Ordering::SeqCst)
            && !self.is_on.swap(true, Ordering::SeqCst)
        {
            self.look_later();
        }
    }

    fn look_later(self: &Arc<Self>) {
        let due = self.turns.due().unwrap_or(NEVER);
        self.seen.store(due, Ordering::SeqCst);
        wake_after(PATIENCE, Arc::clone(self).into());
    }

    fn look(self: &Arc<Self>) {
        match self.turns.due() {
            None => {
                self.is_on.store(false, Ordering::SeqCst);
                // Whoever has made it due since may have found the watch still on.
                self.begin();
            }
            Some(turns) if turns == self.seen.load(Ordering::SeqCst) => {
                let watch = Arc::clone(self);
                // Not on the thread of deadlines: callbacks and wakers may take their time.
                let served = blocking::spawn(move || watch.serve(turns));
                if served.is_err() {
                    self.look_later();
                }
            }
            Some(_) => self.look_later(),
        }
    }

    fn serve(self: &Arc<Self>, turns: u64) {
        let is_in_flight = (self.serve)(turns);
        self.is_on.store(false, Ordering::SeqCst);
        // Otherwise a driver that is still due has nothing to do before it is woken again.
        if is_in_flight {
            self.begin();
        }
    }
}

impl Wake for StallWatch {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

impl fmt::Debug for StallWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StallWatch")
            .field("turns", &self.turns)
            .field("is_on", &self.is_on)
            .finish_non_exhaustive()
    }
}
