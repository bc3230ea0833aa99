//! The threads that are in a callback.

use std::sync::Mutex;
use std::thread::{self, ThreadId};

use crate::sync::lock;

/// The threads that serve an event. They serve no other one until its callbacks have returned:
/// callbacks that poll would nest without a limit. A delivery event's messages stay in flight until
/// then, so a callback that waits for deliveries would wait for itself.
#[derive(Debug, Default)]
pub(super) struct CallbackThreads(Mutex<Vec<ThreadId>>);

/// Marks this thread as being in a callback until it is dropped.
#[derive(Debug)]
pub(super) struct InCallback<'t>(&'t CallbackThreads);

impl CallbackThreads {
    pub(super) fn enter(&self) -> InCallback<'_> {
        lock(&self.0).push(thread::current().id());
        InCallback(self)
    }

    /// Returns true if this thread is in a callback.
    pub(super) fn contains_current(&self) -> bool {
        lock(&self.0).contains(&thread::current().id())
    }
}

impl Drop for InCallback<'_> {
    fn drop(&mut self) {
        let current = thread::current().id();
        let mut threads = lock(&(self.0).0);
        if let Some(index) = threads.iter().position(|&thread| thread == current) {
            threads.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_in_a_callback_until_it_returns() {
        let threads = CallbackThreads::default();
        let callback = threads.enter();
        assert!(threads.contains_current());
        thread::scope(|scope| {
            scope.spawn(|| assert!(!threads.contains_current()));
        });
        drop(callback);
        assert!(!threads.contains_current());
    }
}
