//! Which threads are in a delivery callback.

use std::sync::Mutex;
use std::thread::{self, ThreadId};

use crate::sync::lock;

/// The threads that serve a delivery event. Its messages are outstanding until they are done, so
/// what waits for deliveries would wait for itself on one of them.
#[derive(Debug, Default)]
pub(super) struct CallbackThreads(Mutex<Vec<ThreadId>>);

/// This thread reports while this lives.
#[derive(Debug)]
pub(super) struct InCallback<'r>(&'r CallbackThreads);

impl CallbackThreads {
    pub(super) fn enter(&self) -> InCallback<'_> {
        lock(&self.0).push(thread::current().id());
        InCallback(self)
    }

    /// Whether this thread is in a delivery callback.
    pub(super) fn is_here(&self) -> bool {
        lock(&self.0).contains(&thread::current().id())
    }
}

impl Drop for InCallback<'_> {
    fn drop(&mut self) {
        let here = thread::current().id();
        let mut threads = lock(&(self.0).0);
        // One of them: a callback may poll, and be in another callback of that.
        if let Some(index) = threads.iter().position(|&thread| thread == here) {
            threads.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_reports_until_its_outermost_report_ends() {
        let threads = CallbackThreads::default();
        let outer = threads.enter();
        let inner = threads.enter();
        thread::scope(|scope| {
            scope.spawn(|| assert!(!threads.is_here()));
        });
        drop(inner);
        assert!(threads.is_here());
        drop(outer);
        assert!(!threads.is_here());
    }
}
