//! The line for room and the promise of a delivery, under loom: all orders in which threads may take
//! their steps.
//!
//! The modules are those of the crate itself, between stand-ins for what they use of it: locks and
//! references are loom's, and values without a part in what happens between threads are empty.
//! A lost wake-up shows as loom's deadlock, a leaked segment or result as a leak, a promise and an
//! expectation at the same value in a slot as an access that is not ordered.
#![allow(dead_code)] // The modules have more than the models use.

#[path = "../../../src/completion.rs"]
mod completion;
#[path = "../../../src/ffi/promise.rs"]
mod promise;
#[path = "../../../src/room.rs"]
mod room;

use std::ffi::c_void;

pub mod delivery_models;
pub mod room_models;

/// Stands in for the crate's module, of which only the promises are here.
mod ffi {
    pub(crate) use crate::promise::{Receiver, Completer, Completers};
}

enum PayloadGuard {}

unsafe trait Opaque: Send + Sized + 'static {
    fn into_raw(self) -> *mut c_void;
    unsafe fn from_raw(raw: *mut c_void) -> Self;
    fn payload_guard(&mut self) -> Option<&mut Option<PayloadGuard>>;
    fn set_payload_len(&mut self, len: usize);
    unsafe fn payload_len(raw: *mut c_void) -> usize;
}

mod sync {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicUsize, fence};
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
    use std::task::Waker;

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().expect("no model panics under a lock")
    }

    pub(crate) fn wake(waker: Waker) {
        waker.wake();
    }
}

mod coop {
    use std::task::{Context, Poll};

    pub(crate) fn poll_delivery(_: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    pub(crate) fn may_enqueue() -> bool {
        true
    }

    pub(crate) fn yield_turn(_: &mut Context<'_>) -> Poll<()> {
        unreachable!("each may enqueue")
    }
}

mod config {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct QueueLimits {
        pub(crate) messages: usize,
        pub(crate) bytes: usize,
    }
}

mod error {
    use std::marker::PhantomData;

    #[derive(Debug)]
    pub struct KafkaError;

    impl KafkaError {
        pub(crate) fn never_fits(_payload: usize, _limit: usize) -> Self {
            Self
        }
    }

    #[derive(Debug)]
    pub struct SendError<D>(pub(crate) PhantomData<D>);
}

mod delivery {
    use loom::sync::Arc;

    /// Counted, so that loom sees whether each is dropped.
    #[derive(Debug)]
    pub struct Delivery(pub(crate) Arc<()>);
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
