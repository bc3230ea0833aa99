//! Notifies all waiters that something has changed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::foreign::{Wakeups, drop_foreign};
use super::lock::{Mutex, lock};

/// Wakes all waiters, also if the waker of one of them panics. tokio's `Notify` and `watch` would
/// leave the others waiting.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of notifications.
    notified: u64,
    wakers: Slab<Waker>,
}

/// Resolves at the next notification after its creation, also if it is polled later.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub(crate) struct Changed<'n> {
    notifier: &'n Notifier,
    /// The number of notifications at the creation.
    notified: u64,
    key: Option<usize>,
}

impl Notifier {
    pub(crate) fn notify(&self) {
        let mut wakeups = Wakeups::default();
        let mut state = lock(&self.state);
        state.notified += 1;
        state.wakers.drain().for_each(|waker| wakeups.push(waker));
        drop(state);
        drop(wakeups);
    }

    pub(crate) fn changed(&self) -> Changed<'_> {
        Changed {
            notifier: self,
            notified: lock(&self.state).notified,
            key: None,
        }
    }
}

impl Future for Changed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Foreign code, which does not run under the lock.
        let waker = cx.waker().clone();
        let mut state = lock(&self.notifier.state);
        if state.notified != self.notified {
            drop(state);
            self.key = None;
            drop_foreign(waker);
            return Poll::Ready(());
        }
        let before = match self.key {
            Some(key) => Some(std::mem::replace(&mut state.wakers[key], waker)),
            None => {
                let key = state.wakers.insert(waker);
                drop(state);
                self.key = Some(key);
                return Poll::Pending;
            }
        };
        drop(state);
        drop_foreign(before);
        Poll::Pending
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else {
            return;
        };
        let waker = {
            let mut state = lock(&self.notifier.state);
            let is_there = state.notified == self.notified;
            is_there.then(|| state.wakers.remove(key))
        };
        drop_foreign(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes {
        count: AtomicUsize,
        panics: bool,
    }

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.count.fetch_add(1, Ordering::SeqCst);
            assert!(!self.panics, "as foreign code may");
        }
    }

    fn is_ready(changed: &mut Changed<'_>, wakes: &Arc<Wakes>) -> bool {
        let waker = Waker::from(Arc::clone(wakes));
        let mut cx = Context::from_waker(&waker);
        Pin::new(changed).poll(&mut cx).is_ready()
    }

    #[test]
    fn a_future_resolves_at_the_next_notification_after_its_creation() {
        let (notifier, wakes) = (Notifier::default(), Arc::default());
        let (mut first, mut unpolled) = (notifier.changed(), notifier.changed());
        assert!(!is_ready(&mut first, &wakes));
        assert!(!is_ready(&mut first, &wakes));
        notifier.notify();
        assert_eq!(wakes.count.load(Ordering::SeqCst), 1);
        assert!(is_ready(&mut first, &wakes) && is_ready(&mut unpolled, &wakes));
        let mut later = notifier.changed();
        assert!(!is_ready(&mut later, &wakes));
        drop(later);
        assert!(lock(&notifier.state).wakers.is_empty());
    }

    #[test]
    fn a_waker_that_panics_does_not_keep_others_from_being_woken() {
        let notifier = Notifier::default();
        let all: Vec<_> = (0..100)
            .map(|index| {
                Arc::new(Wakes {
                    panics: index == 7,
                    ..Wakes::default()
                })
            })
            .collect();
        let mut waiting: Vec<_> = all.iter().map(|_| notifier.changed()).collect();
        for (changed, wakes) in waiting.iter_mut().zip(&all) {
            assert!(!is_ready(changed, wakes));
        }
        notifier.notify();
        assert!(all.iter().all(|it| it.count.load(Ordering::SeqCst) == 1));
    }
}
