//! Counting deliveries, and keeping a window by that count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Thread};

/// Deliveries so far. One thread reports them, one waits for them: the one that made this.
#[derive(Debug)]
pub(crate) struct Deliveries {
    done: AtomicU64,
    failed: AtomicU64,
    /// The count the waiting thread sleeps for.
    awaited: AtomicU64,
    waiter: Thread,
}

impl Deliveries {
    /// None yet; only the calling thread may wait for them. Leaked: there is one for each sending thread of a process.
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
        // SeqCst: either this thread sees what is awaited, or the waiter sees the new count before it sleeps.
        let done = self.done.fetch_add(deliveries, Ordering::SeqCst) + deliveries;
        if done >= self.awaited.load(Ordering::SeqCst) {
            self.awaited.store(u64::MAX, Ordering::Relaxed);
            self.waiter.unpark();
        }
    }

    /// How many there are.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// How many of them failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    /// Sleeps until there are `count`; returns how many there are.
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

/// The sender's side of a window.
#[derive(Debug)]
pub(crate) struct Window {
    size: u64,
    sent: u64,
    /// Deliveries when last looked: never more than there are.
    done: u64,
}

impl Window {
    /// An empty window for `size` messages, after `done` deliveries of earlier ones.
    pub(crate) fn new(size: u64, done: u64) -> Self {
        Self {
            size,
            sent: done,
            done,
        }
    }

    /// Takes a place. In a full window, sleeps until an eighth of it is free, which spares a switch for each message.
    pub(crate) fn enter(&mut self, wait_for: impl FnOnce(u64) -> u64) {
        if self.sent - self.done == self.size {
            self.done = wait_for(self.sent - self.size + self.size.div_ceil(8));
        }
        self.sent += 1;
    }

    /// Sleeps until nothing is in flight.
    pub(crate) fn drain(&mut self, wait_for: impl FnOnce(u64) -> u64) {
        self.done = wait_for(self.sent);
    }
}
