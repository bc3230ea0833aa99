//! The completion of a delivery's future.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::ffi::completion::SLOTS;
use crate::message::delivery::Delivery;
use crate::message::delivery_future::{
    CompleterPool, DeliveryCompleter, DeliveryFuture, DeliveryKind, Tracked,
};
use crate::message::message_state::MessageState;
use crate::{check, idle_waker};

fn state() -> MessageState<()> {
    MessageState::of_no_message()
}

fn pair() -> (DeliveryCompleter<()>, DeliveryFuture) {
    Tracked::completer(&CompleterPool::new(drop), state())
}

fn complete(mut completer: DeliveryCompleter<()>) {
    completer.set_result(Ok(Delivery(Arc::new(()))));
    if let Some(waker) = completer.complete() {
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
        let (completer, future) = pair();
        let completing = thread::spawn(move || complete(completer));
        block_on(future).expect("a delivery");
        completing.join().expect("the driver");
    });
}

/// The task polls by one waker and then by another: the second is woken, or finds it done.
pub fn a_future_changes_its_waker_while_it_resolves() {
    check(|| {
        let (completer, mut future) = pair();
        let completing = thread::spawn(move || complete(completer));
        if !polled_by_another_waker(&mut future) {
            block_on(future).expect("a delivery");
        }
        completing.join().expect("the driver");
    });
}

/// As above, where the future moves to another thread in between.
pub fn a_future_moves_to_another_thread_while_it_resolves() {
    check(|| {
        let (completer, mut future) = pair();
        assert!(!polled_by_another_waker(&mut future));
        let completing = thread::spawn(move || complete(completer));
        let awaiting = thread::spawn(move || block_on(future).expect("a delivery"));
        awaiting.join().expect("a delivery");
        completing.join().expect("the driver");
    });
}

/// Nothing leaks, and no waker is used after it was dropped.
pub fn a_future_is_dropped_while_it_resolves() {
    check(|| {
        let (completer, mut future) = pair();
        assert!(!polled_by_another_waker(&mut future));
        let completing = thread::spawn(move || complete(completer));
        drop(future);
        completing.join().expect("the driver");
    });
}

/// A result goes to its future or, if that was dropped without it, to the pool's function: to one
/// of them, once.
pub fn a_result_is_taken_or_unseen() {
    check(|| {
        let unseen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&unseen);
        let pool = CompleterPool::<()>::new(move |_result| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let (completer, mut future) = Tracked::completer(&pool, state());
        let asking = thread::spawn(move || {
            let is_tracked = completer.is_tracked();
            if is_tracked {
                complete(completer);
            }
            is_tracked
        });
        let is_taken = polled_by_another_waker(&mut future);
        drop(future);
        let is_tracked = asking.join().expect("the driver");
        let expected = usize::from(is_tracked && !is_taken);
        assert_eq!(unseen.load(Ordering::SeqCst), expected);
    });
}

/// A completer that is dropped without a result: the future resolves with an error.
pub fn a_future_is_awaited_while_its_completer_is_dropped() {
    check(|| {
        let (completer, future) = pair();
        let dropping = thread::spawn(move || drop(completer));
        assert!(block_on(future).is_err());
        dropping.join().expect("the driver");
    });
}

/// The driver asks whether a result is wanted: it may learn so of one that is just leaving, but
/// once it learned no, nobody comes back.
pub fn a_future_is_dropped_while_the_driver_asks() {
    check(|| {
        let (completer, mut future) = pair();
        assert!(!polled_by_another_waker(&mut future));
        let leaving = thread::spawn(move || drop(future));
        let (before, after) = (completer.is_tracked(), completer.is_tracked());
        assert!(before || !after);
        if before {
            complete(completer);
        }
        leaving.join().expect("a drop");
    });
}

/// One who waits is never taken for one who left.
pub fn a_future_is_polled_while_the_driver_asks() {
    check(|| {
        let (completer, future) = pair();
        let awaiting = thread::spawn(move || block_on(future).expect("a delivery"));
        assert!(completer.is_tracked());
        complete(completer);
        awaiting.join().expect("a delivery");
    });
}

/// The last reference to a segment makes it spare, and it is used again.
pub fn a_segment_is_used_again_while_others_let_go_of_it() {
    check(|| {
        let pool = CompleterPool::<()>::new(drop);
        let (first, future) = Tracked::completer(&pool, state());
        let completing = thread::spawn(move || complete(first));
        drop(future);
        // The rest of the segment, and the first of another, or of the same again.
        for _ in 0..SLOTS {
            drop(pool.detached(state()));
        }
        drop(pool);
        completing.join().expect("the driver");
    });
}
