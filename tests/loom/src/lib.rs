//! The wait queue for capacity and the completion of a delivery, under loom: all orders in which
//! threads may take their steps.
//!
//! The modules are those of the crate itself, between stand-ins for what they use of it: locks and
//! references are loom's, and values without a part in what happens between threads are empty.
//! A lost wake-up shows as loom's deadlock, a leaked segment or result as a leak, a completer and a
//! receiver at the same value in a slot as an access that is not ordered.
#![allow(dead_code)] // The modules have more than the models use.

pub mod capacity_models;
pub mod delivery_models;

mod driver;
mod ffi;
#[path = "../../../src/values/histogram.rs"]
mod histogram;
mod message;

mod sync {
    use std::task::Waker;

    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, fence};
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().expect("no model panics under a lock")
    }

    pub(crate) fn wake(waker: Waker) {
        waker.wake();
    }

    pub(crate) fn drop_foreign<T>(value: T) {
        drop(value);
    }

    #[derive(Debug, Default)]
    pub(crate) struct Wakeups(Vec<Waker>);

    impl Wakeups {
        pub(crate) fn push(&mut self, waker: Waker) {
            self.0.push(waker);
        }
    }

    impl Drop for Wakeups {
        fn drop(&mut self) {
            self.0.drain(..).for_each(wake);
        }
    }

    pub(crate) mod coop {
        use std::task::{Context, Poll};

        pub(crate) fn poll_delivery(_: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }

        pub(crate) fn may_enqueue() -> bool {
            true
        }

        pub(crate) fn yield_turn(_: &mut Context<'_>) {
            unreachable!("each may enqueue")
        }
    }
}

mod client {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct QueueLimits {
        pub(crate) messages: usize,
        pub(crate) bytes: usize,
    }

    impl QueueLimits {
        pub(crate) fn check_payload(self, _len: usize) -> Result<(), crate::error::KafkaError> {
            Ok(())
        }
    }
}

mod values {
    pub(crate) use super::histogram::Histogram;

    pub(crate) struct Metrics {
        pub(crate) waiting: u64,
        pub(crate) acquired: Amount,
        pub(crate) max_records: u64,
        pub(crate) max_bytes: u64,
        pub(crate) capacity_wait: Histogram,
    }

    pub(crate) struct Amount {
        pub(crate) records: u64,
        pub(crate) bytes: u64,
    }
}

mod error {
    #[derive(Debug)]
    pub struct KafkaError;

    impl KafkaError {
        pub(crate) fn queue_full() -> Self {
            Self
        }

        pub(crate) fn closed() -> Self {
            Self
        }
    }
}

/// Runs a model in all orders.
fn check(model: impl Fn() + Send + Sync + 'static) {
    loom::model(model);
}

/// A waker that nobody waits for: of a task that has gone on to another waker, or is gone.
fn idle_waker() -> std::task::Waker {
    struct Idle;
    impl std::task::Wake for Idle {
        fn wake(self: std::sync::Arc<Self>) {}
    }
    std::sync::Arc::new(Idle).into()
}
