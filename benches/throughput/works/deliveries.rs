//! Counts deliveries, and lets the sending thread wait for a count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Thread};

/// The deliveries so far. One thread reports them. The thread that created the counts waits.
#[derive(Debug)]
pub(crate) struct Deliveries {
    done: AtomicU64,
    failed: AtomicU64,
    /// The count that the waiting thread sleeps for.
    awaited: AtomicU64,
    waiter: Thread,
}

impl Deliveries {
    /// Creates counts that only the calling thread may wait for.
    ///
    /// They are leaked: a process has one for each sending thread.
    pub(crate) fn new() -> &'static Self {
        let waiter = thread::current();
        Box::leak(Box::new(Self {
            done: 0.into(),
            failed: 0.into(),
            awaited: u64::MAX.into(),
            waiter,
        }))
    }

    /// Reports deliveries, failed ones included.
    pub(crate) fn report(&self, deliveries: u64, failed: u64) {
        if failed != 0 {
            self.failed.fetch_add(failed, Ordering::Relaxed);
        }
        // SeqCst: either this thread sees the awaited count, or the waiter sees the new count
        // before it sleeps.
        let done = self.done.fetch_add(deliveries, Ordering::SeqCst) + deliveries;
        if done >= self.awaited.load(Ordering::SeqCst) {
            self.awaited.store(u64::MAX, Ordering::Relaxed);
            self.waiter.unpark();
        }
    }

    /// Returns the number of deliveries.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// Returns the number of deliveries that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    /// Sleeps until there are `count` deliveries; returns how many there are.
    pub(crate) fn wait_for(&self, count: u64) -> u64 {
        loop {
            self.awaited.store(count, Ordering::SeqCst);
            let done = self.done();
            if done >= count {
                self.awaited.store(u64::MAX, Ordering::Relaxed);
                return done;
            }
            thread::park();
        }
    }
}
