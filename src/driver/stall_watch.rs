//! Notices that the driver does not run, and has a thread serve in its place.
//!
//! Whoever waits for a delivery does not look whether the driver runs, because each message would
//! pay for that. So a watch is on whenever the driver is due: the process's thread of deadlines
//! looks after [`PATIENCE`] whether the driver has had its turn. It looks at most once in that time,
//! and not at all while nothing wakes the driver.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Wake;
use std::time::Duration;

use super::blocking;
use super::turns::{NEVER, Turns};
use crate::sync::wake_after;

/// For how long the driver may be due without a turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How long the thread that serves waits for an event before it looks whether the driver runs. Many
/// producers of one runtime may have such a thread.
pub(super) const WAIT: Duration = Duration::from_millis(50);

/// What a thread serves while the driver does not run.
pub(super) trait Stalled: Send + Sync {
    /// Serves until the driver has another turn, or nothing has been left to do for a while.
    fn serve_while_stalled(self: Arc<Self>, turns: u64);

    /// Returns true if something is left to do.
    fn has_work(&self) -> bool;
}

/// A look at the driver that is to come, or the thread that serves.
pub(super) struct StallWatch {
    pub(super) turns: Turns,
    is_on: AtomicBool,
    /// The driver's turns at the last look, if it was due; otherwise [`NEVER`].
    seen: AtomicU64,
    producer: Weak<dyn Stalled>,
}

impl StallWatch {
    pub(super) fn new(producer: Weak<dyn Stalled>) -> Arc<Self> {
        Arc::new(Self {
            turns: Turns::new(),
            is_on: AtomicBool::new(false),
            seen: AtomicU64::new(NEVER),
            producer,
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
        let producer = self.producer.upgrade();
        if let Some(producer) = producer {
            producer.serve_while_stalled(turns);
        }
        self.is_on.store(false, Ordering::SeqCst);
        // After it: whoever has called the driver meanwhile has found the watch still on. Without
        // anything to do, a driver that is still due need not run before it is called again.
        let producer = self.producer.upgrade();
        if producer.is_some_and(|producer| producer.has_work()) {
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

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;

    #[derive(Default)]
    struct Producer {
        watch: OnceLock<Arc<StallWatch>>,
        has_work: AtomicBool,
        /// Something comes as the thread that serves is about to end.
        gets_work: bool,
    }

    impl Stalled for Producer {
        fn serve_while_stalled(self: Arc<Self>, _turns: u64) {
            if self.gets_work {
                self.has_work.store(true, Ordering::SeqCst);
                let watch = self.watch.get().unwrap();
                watch.turns.call();
                watch.begin();
            }
        }

        fn has_work(&self) -> bool {
            self.has_work.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn what_comes_as_the_thread_ends_is_watched() {
        for gets_work in [false, true] {
            let producer = Arc::new(Producer {
                gets_work,
                ..Producer::default()
            });
            let weak = Arc::downgrade(&producer);
            let watch = producer.watch.get_or_init(|| StallWatch::new(weak));
            watch.is_on.store(true, Ordering::SeqCst);
            watch.serve(0);
            assert_eq!(watch.is_on.load(Ordering::SeqCst), gets_work);
        }
    }

    /// The thread of deadlines has a look to come, which keeps no producer.
    #[test]
    fn a_watch_keeps_no_producer() {
        let producer = Arc::new(Producer::default());
        let watch = StallWatch::new(Arc::downgrade(&producer) as Weak<dyn Stalled>);
        watch.begin();
        assert!(watch.is_on.load(Ordering::SeqCst));
        assert!(Arc::try_unwrap(producer).is_ok());
        watch.serve(0);
        assert!(!watch.is_on.load(Ordering::SeqCst));
    }
}
