//! The line of those who wait for room.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use crate::config::QueueLimits;
use crate::room::{CapacityError, Capacity};
use crate::{check, idle_waker};

/// Waits for room; gives its place up when it is dropped.
struct Acquire {
    room: Arc<Capacity>,
    bytes: usize,
    place: Option<usize>,
}

impl Acquire {
    fn new(room: &Arc<Capacity>, bytes: usize) -> Self {
        Self {
            room: Arc::clone(room),
            bytes,
            place: None,
        }
    }

    /// Takes a place, for which nobody waits yet.
    fn queued(room: &Arc<Capacity>, bytes: usize) -> Self {
        let mut acquire = Self::new(room, bytes);
        let waker = idle_waker();
        let polled = Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
        acquire
    }
}

impl Future for Acquire {
    type Output = Result<(), CapacityError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { room, bytes, place } = &mut *self;
        room.poll_acquire(*bytes, place, cx)
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(key) = self.place {
            self.room.cancel(self.bytes, key);
        }
    }
}

/// A room that is full with one message.
fn full(bytes: usize) -> Arc<Capacity> {
    let room = Capacity::new(QueueLimits { messages: 1, bytes }, || {});
    room.try_acquire(bytes).expect("an empty room");
    Arc::new(room)
}

fn release(room: &Capacity, bytes: usize) {
    let mut wakers = Vec::new();
    room.release(1, bytes, &mut wakers);
    wakers.into_iter().for_each(|waker| waker.wake());
}

/// All that was taken is back: the whole room is to be had, and no more.
fn is_empty(room: &Capacity, bytes: usize) {
    assert_eq!(room.try_acquire(bytes), Ok(()));
    assert_eq!(room.try_acquire(0), Err(CapacityError::Full));
}

/// Both get it, one after the other.
pub fn two_wait_and_one_gives_back() {
    check(|| {
        let room = full(1);
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let room = Arc::clone(&room);
                thread::spawn(move || {
                    assert_eq!(block_on(Acquire::new(&room, 1)), Ok(()));
                    release(&room, 1);
                })
            })
            .collect();
        release(&room, 1);
        for waiter in waiters {
            waiter.join().expect("a waiter");
        }
        is_empty(&room, 1);
    });
}

/// The first in the line leaves while room comes: before it is let in, or after, without having
/// looked. Either way the second gets it.
pub fn the_first_leaves_while_room_comes() {
    check(|| {
        let room = full(1);
        let first = Acquire::queued(&room, 1);
        let second = Acquire::queued(&room, 1);
        let releasing = {
            let room = Arc::clone(&room);
            thread::spawn(move || release(&room, 1))
        };
        let waiting = thread::spawn(move || block_on(second));
        drop(first);
        assert_eq!(waiting.join().expect("a waiter"), Ok(()));
        releasing.join().expect("a release");
        release(&room, 1);
        is_empty(&room, 1);
    });
}

/// As above, with a first one that does not fit into what comes: the second is let in by its leave.
pub fn one_that_is_too_large_leaves_while_room_comes() {
    check(|| {
        let limits = QueueLimits {
            messages: 3,
            bytes: 3,
        };
        let room = Arc::new(Capacity::new(limits, || {}));
        room.try_acquire(2).expect("room");
        room.try_acquire(1).expect("room");
        let large = Acquire::queued(&room, 3);
        let small = Acquire::queued(&room, 1);
        let releasing = {
            let room = Arc::clone(&room);
            thread::spawn(move || release(&room, 1))
        };
        let waiting = thread::spawn(move || block_on(small));
        drop(large);
        assert_eq!(waiting.join().expect("a waiter"), Ok(()));
        releasing.join().expect("a release");
        release(&room, 1);
        release(&room, 2);
        assert_eq!(room.try_acquire(3), Ok(()));
    });
}

/// A task that takes its place along to another waker is woken there.
pub fn a_place_moves_to_another_waker_while_room_comes() {
    check(|| {
        let room = full(1);
        let waiting = Acquire::queued(&room, 1);
        let releasing = {
            let room = Arc::clone(&room);
            thread::spawn(move || release(&room, 1))
        };
        assert_eq!(block_on(waiting), Ok(()));
        releasing.join().expect("a release");
        release(&room, 1);
        is_empty(&room, 1);
    });
}

/// The first in the line leaves while room is lent: to it, and then it is given back, or to the
/// second.
pub fn the_first_leaves_while_room_is_lent() {
    check(|| {
        let room = full(1);
        let first = Acquire::queued(&room, 1);
        let second = Acquire::queued(&room, 1);
        let lending = {
            let room = Arc::clone(&room);
            thread::spawn(move || room.lend())
        };
        drop(first);
        lending.join().expect("a loan");
        release(&room, 1);
        assert_eq!(block_on(second), Ok(()));
        release(&room, 1);
        is_empty(&room, 1);
    });
}

/// Whoever waits when it closes is refused, and so is whoever comes after.
pub fn a_close_meets_one_who_comes() {
    check(|| {
        let room = full(1);
        let waiting = {
            let room = Arc::clone(&room);
            thread::spawn(move || block_on(Acquire::new(&room, 1)))
        };
        room.close();
        assert_eq!(waiting.join().expect("a waiter"), Err(CapacityError::Closed));
        assert_eq!(room.try_acquire(0), Err(CapacityError::Closed));
    });
}

/// One who waits is let in or refused, whichever comes first, and what it got is counted.
pub fn a_close_meets_room_that_comes() {
    check(|| {
        let room = full(1);
        let waiting = {
            let room = Arc::clone(&room);
            thread::spawn(move || block_on(Acquire::new(&room, 1)))
        };
        let releasing = {
            let room = Arc::clone(&room);
            thread::spawn(move || release(&room, 1))
        };
        room.close();
        let got = waiting.join().expect("a waiter");
        releasing.join().expect("a release");
        let taken = usize::from(got.is_ok());
        let counted = format!("messages: {taken}, bytes: {taken}, waiting: 0");
        assert!(format!("{room:?}").contains(&counted), "{room:?}");
    });
}
