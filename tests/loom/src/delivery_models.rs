//! The cell that resolves a delivery's future.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use crate::completion::{Cell, DeliveryFuture};
use crate::delivery::Delivery;
use crate::{check, idle_waker};

fn cell() -> (Arc<Cell<()>>, DeliveryFuture) {
    let cell = Cell::new(0, -1, None, ());
    let future = DeliveryFuture::new(Arc::clone(&cell));
    (cell, future)
}

fn complete(cell: &Cell<()>) {
    cell.complete(Ok(Delivery(Arc::new(()))));
}

fn polled_by_another_waker(future: &mut DeliveryFuture) -> bool {
    let waker = idle_waker();
    let polled = Pin::new(future).poll(&mut Context::from_waker(&waker));
    matches!(polled, Poll::Ready(Ok(Delivery(_))))
}

pub fn a_future_is_awaited_while_it_resolves() {
    check(|| {
        let (cell, future) = cell();
        let completing = thread::spawn(move || complete(&cell));
        block_on(future).expect("a delivery");
        completing.join().expect("the driver");
    });
}

/// The task polls by one waker and then by another: the second is woken, or finds it done.
pub fn a_future_changes_its_waker_while_it_resolves() {
    check(|| {
        let (cell, mut future) = cell();
        let completing = thread::spawn(move || complete(&cell));
        if !polled_by_another_waker(&mut future) {
            block_on(future).expect("a delivery");
        }
        completing.join().expect("the driver");
    });
}

/// As above, where the future moves to another thread in between.
pub fn a_future_moves_to_another_thread_while_it_resolves() {
    check(|| {
        let (cell, mut future) = cell();
        assert!(!polled_by_another_waker(&mut future));
        let completing = thread::spawn(move || complete(&cell));
        let awaiting = thread::spawn(move || block_on(future).expect("a delivery"));
        awaiting.join().expect("a delivery");
        completing.join().expect("the driver");
    });
}

/// Nothing leaks, and no waker is used after it was dropped.
pub fn a_future_is_dropped_while_it_resolves() {
    check(|| {
        let (cell, mut future) = cell();
        assert!(!polled_by_another_waker(&mut future));
        let completing = thread::spawn(move || complete(&cell));
        drop(future);
        completing.join().expect("the driver");
    });
}

/// The driver asks whether a result is wanted: it may be told so for one who is just leaving, but
/// once it was told no, nobody comes back.
pub fn a_future_is_dropped_while_the_driver_asks() {
    check(|| {
        let (cell, mut future) = cell();
        assert!(!polled_by_another_waker(&mut future));
        let leaving = thread::spawn(move || drop(future));
        let (before, after) = (Cell::is_awaited(&cell), Cell::is_awaited(&cell));
        assert!(before || !after);
        if before {
            complete(&cell);
        }
        leaving.join().expect("a drop");
        assert!(!Cell::is_awaited(&cell));
    });
}

/// One who waits is never taken for one who left.
pub fn a_future_is_polled_while_the_driver_asks() {
    check(|| {
        let (cell, future) = cell();
        let awaiting = thread::spawn(move || block_on(future).expect("a delivery"));
        assert!(Cell::is_awaited(&cell));
        complete(&cell);
        awaiting.join().expect("a delivery");
        assert!(!Cell::is_awaited(&cell));
    });
}
