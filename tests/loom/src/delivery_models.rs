//! The promise that resolves a delivery's future.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use crate::completion::{
    Tracked, DeliveryFuture, DeliveryCompleter, CompleterPool, MessageState, DeliveryKind,
};
use crate::delivery::Delivery;
use crate::{check, idle_waker};

fn parcel() -> MessageState<()> {
    MessageState::new(0, -1, None, Some(()))
}

fn pair() -> (DeliveryCompleter<()>, DeliveryFuture) {
    Tracked::promise(&CompleterPool::new(), parcel())
}

fn complete(mut promise: DeliveryCompleter<()>) {
    promise.set_result(Ok(Delivery(Arc::new(()))));
    if let Some(waker) = promise.complete() {
        waker.wake();
    }
}

fn polled_by_another_waker(future: &mut DeliveryFuture) -> bool {
    let waker = idle_waker();
    let polled = Pin::new(future).poll(&mut Context::from_waker(&waker));
    matches!(polled, Poll::Ready(Ok(Delivery(_))))
}

pub fn a_future_is_awaited_while_it_resolves() {
    check(|| {
        let (promise, future) = pair();
        let completing = thread::spawn(move || complete(promise));
        block_on(future).expect("a delivery");
        completing.join().expect("the driver");
    });
}

/// The task polls by one waker and then by another: the second is woken, or finds it done.
pub fn a_future_changes_its_waker_while_it_resolves() {
    check(|| {
        let (promise, mut future) = pair();
        let completing = thread::spawn(move || complete(promise));
        if !polled_by_another_waker(&mut future) {
            block_on(future).expect("a delivery");
        }
        completing.join().expect("the driver");
    });
}

/// As above, where the future moves to another thread in between.
pub fn a_future_moves_to_another_thread_while_it_resolves() {
    check(|| {
        let (promise, mut future) = pair();
        assert!(!polled_by_another_waker(&mut future));
        let completing = thread::spawn(move || complete(promise));
        let awaiting = thread::spawn(move || block_on(future).expect("a delivery"));
        awaiting.join().expect("a delivery");
        completing.join().expect("the driver");
    });
}

/// Nothing leaks, and no waker is used after it was dropped.
pub fn a_future_is_dropped_while_it_resolves() {
    check(|| {
        let (promise, mut future) = pair();
        assert!(!polled_by_another_waker(&mut future));
        let completing = thread::spawn(move || complete(promise));
        drop(future);
        completing.join().expect("the driver");
    });
}

/// The driver asks whether a result is wanted: it may be told so for one who is just leaving, but
/// once it was told no, nobody comes back.
pub fn a_future_is_dropped_while_the_driver_asks() {
    check(|| {
        let (promise, mut future) = pair();
        assert!(!polled_by_another_waker(&mut future));
        let leaving = thread::spawn(move || drop(future));
        let (before, after) = (promise.is_awaited(), promise.is_awaited());
        assert!(before || !after);
        if before {
            complete(promise);
        }
        leaving.join().expect("a drop");
    });
}

/// One who waits is never taken for one who left.
pub fn a_future_is_polled_while_the_driver_asks() {
    check(|| {
        let (promise, future) = pair();
        let awaiting = thread::spawn(move || block_on(future).expect("a delivery"));
        assert!(promise.is_awaited());
        complete(promise);
        awaiting.join().expect("a delivery");
    });
}

/// The last to look at a segment makes it spare, whoever that is, and it is used again.
pub fn a_segment_is_used_again_while_others_let_go_of_it() {
    check(|| {
        let promises = CompleterPool::<()>::new();
        let (first, future) = Tracked::promise(&promises, parcel());
        let completing = thread::spawn(move || complete(first));
        drop(future);
        // The rest of the segment, and the first of another, or of the same again.
        for _ in 0..crate::promise::SLOTS {
            drop(promises.detached(parcel()));
        }
        drop(promises);
        completing.join().expect("the driver");
    });
}
