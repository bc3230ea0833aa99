//! The wait queue for capacity.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use crate::client::QueueLimits;
use crate::driver::capacity::{Capacity, CapacityError, Purpose};
use crate::{check, idle_waker};

/// Waits for capacity; gives its place up when it is dropped.
struct Acquire {
    capacity: Arc<Capacity>,
    bytes: usize,
    key: Option<usize>,
}

impl Acquire {
    fn new(capacity: &Arc<Capacity>, bytes: usize) -> Self {
        Self {
            capacity: Arc::clone(capacity),
            bytes,
            key: None,
        }
    }

    /// Takes a place, for which nobody waits yet.
    fn queued(capacity: &Arc<Capacity>, bytes: usize) -> Self {
        let mut acquire = Self::new(capacity, bytes);
        let waker = idle_waker();
        let polled = Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
        acquire
    }
}

impl Future for Acquire {
    type Output = Result<(), CapacityError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { capacity, bytes, key } = &mut *self;
        let polled = capacity.poll_acquire(*bytes, Purpose::Produce, key, cx);
        polled.map_ok(drop)
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.capacity.cancel(self.bytes, key);
        }
    }
}

/// The capacity of one message, which is acquired.
fn full(bytes: usize) -> Arc<Capacity> {
    let capacity = Capacity::new(QueueLimits { messages: 1, bytes }, || {});
    capacity.try_acquire(bytes).expect("capacity");
    Arc::new(capacity)
}

fn release(capacity: &Capacity, bytes: usize) {
    drop(capacity.release(1, bytes));
}

/// All that was acquired is back: the whole capacity is to be had, and no more.
fn is_empty(capacity: &Capacity, bytes: usize) {
    assert_eq!(capacity.try_acquire(bytes).map(drop), Ok(()));
    assert_eq!(capacity.try_acquire(0), Err(CapacityError::Full));
}

/// Both get it, one after the other.
pub fn two_wait_and_one_gives_back() {
    check(|| {
        let capacity = full(1);
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let capacity = Arc::clone(&capacity);
                thread::spawn(move || {
                    assert_eq!(block_on(Acquire::new(&capacity, 1)), Ok(()));
                    release(&capacity, 1);
                })
            })
            .collect();
        release(&capacity, 1);
        for waiter in waiters {
            waiter.join().expect("a waiter");
        }
        is_empty(&capacity, 1);
    });
}

/// The first in the queue leaves while capacity comes: before it is admitted, or after, without
/// having looked. Either way the second gets it.
pub fn the_first_leaves_while_capacity_comes() {
    check(|| {
        let capacity = full(1);
        let first = Acquire::queued(&capacity, 1);
        let second = Acquire::queued(&capacity, 1);
        let releasing = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || release(&capacity, 1))
        };
        let waiting = thread::spawn(move || block_on(second));
        drop(first);
        assert_eq!(waiting.join().expect("a waiter"), Ok(()));
        releasing.join().expect("a release");
        release(&capacity, 1);
        is_empty(&capacity, 1);
    });
}

/// As above, with a first one that does not fit into what comes: the second is admitted by its
/// leave.
pub fn one_that_is_too_large_leaves_while_capacity_comes() {
    check(|| {
        let limits = QueueLimits {
            messages: 3,
            bytes: 3,
        };
        let capacity = Arc::new(Capacity::new(limits, || {}));
        capacity.try_acquire(2).expect("capacity");
        capacity.try_acquire(1).expect("capacity");
        let large = Acquire::queued(&capacity, 3);
        let small = Acquire::queued(&capacity, 1);
        let releasing = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || release(&capacity, 1))
        };
        let waiting = thread::spawn(move || block_on(small));
        drop(large);
        assert_eq!(waiting.join().expect("a waiter"), Ok(()));
        releasing.join().expect("a release");
        release(&capacity, 1);
        release(&capacity, 2);
        assert_eq!(capacity.try_acquire(3).map(drop), Ok(()));
    });
}

/// A task that takes its place along to another waker is woken there.
pub fn a_place_moves_to_another_waker_while_capacity_comes() {
    check(|| {
        let capacity = full(1);
        let waiting = Acquire::queued(&capacity, 1);
        let releasing = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || release(&capacity, 1))
        };
        assert_eq!(block_on(waiting), Ok(()));
        releasing.join().expect("a release");
        release(&capacity, 1);
        is_empty(&capacity, 1);
    });
}

/// The first one leaves while the queue is overbooked: it was admitted, or the second is.
pub fn the_first_leaves_while_the_queue_is_overbooked() {
    check(|| {
        let limits = QueueLimits {
            messages: 1,
            bytes: 1,
        };
        let capacity = Arc::new(Capacity::new(limits, || {}));
        let unused = capacity.try_acquire(1).expect("capacity");
        let first = Acquire::queued(&capacity, 1);
        let second = Acquire::queued(&capacity, 1);
        let overbooking = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || {
                if let Some(moves) = capacity.moves_if_awaited() {
                    drop(capacity.relieve(moves));
                }
            })
        };
        drop(first);
        overbooking.join().expect("the watch");
        drop(capacity.release_unused(unused, 1));
        assert_eq!(block_on(second), Ok(()));
        release(&capacity, 1);
        is_empty(&capacity, 1);
    });
}

/// A close refuses the waiters, and every later one.
pub fn a_close_meets_one_who_comes() {
    check(|| {
        let capacity = full(1);
        let waiting = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || block_on(Acquire::new(&capacity, 1)))
        };
        drop(capacity.close());
        assert_eq!(waiting.join().expect("a waiter"), Err(CapacityError::Closed));
        assert_eq!(capacity.try_acquire(0), Err(CapacityError::Closed));
    });
}

/// One who waits is admitted or refused, whichever comes first, and what it got is counted.
pub fn a_close_meets_capacity_that_comes() {
    check(|| {
        let capacity = full(1);
        let waiting = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || block_on(Acquire::new(&capacity, 1)))
        };
        let releasing = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || release(&capacity, 1))
        };
        drop(capacity.close());
        let got = waiting.join().expect("a waiter");
        releasing.join().expect("a release");
        let taken = usize::from(got.is_ok());
        let acquired = format!("acquired: Amount {{ messages: {taken}, bytes: {taken} }}");
        let shown = format!("{capacity:?}");
        assert!(shown.contains(&acquired) && shown.contains("waiting: 0"), "{shown}");
    });
}
