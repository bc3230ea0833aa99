//! The wait queue for capacity: first come, first served.

use std::task::Waker;
use std::time::Instant;

use slab::Slab;

use crate::values::Histogram;

/// Waiters in the order in which they came.
///
/// It is a doubly linked list over a slab, so leaving it in the middle takes constant time.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    slots: Slab<Waiter>,
    first: Option<usize>,
    last: Option<usize>,
    /// The number of waiters in the queue. The slab also has those that were admitted or parked and
    /// have not been polled since.
    waiting: usize,
    /// The number of waiters that were admitted and have not been polled since.
    granted: usize,
    /// How long those waited that have left the queue, in microseconds.
    waits: Histogram,
}

#[derive(Debug)]
struct Waiter {
    bytes: usize,
    waker: Option<Waker>,
    since: Instant,
    standing: Standing,
    before: Option<usize>,
    behind: Option<usize>,
}

/// The state of a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// In the queue.
    Waiting,
    /// Out of the queue, with capacity that was acquired in that generation.
    Granted(u32),
    /// Out of the queue, without capacity. It must wait again.
    Parked,
    /// Out of the queue, because the producer is closed.
    Closed,
}

impl WaitQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Returns the number of waiters that were admitted and have not been polled since.
    pub(super) fn granted(&self) -> usize {
        self.granted
    }

    /// Returns the number of waiters in the queue.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Returns how long those waited that have left the queue, in microseconds.
    pub(super) fn waits(&self) -> &Histogram {
        &self.waits
    }

    /// Adds a waiter at the end. Returns its key.
    pub(super) fn push(&mut self, bytes: usize, waker: Waker) -> usize {
        let key = self.slots.insert(Waiter {
            bytes,
            waker: Some(waker),
            since: Instant::now(),
            standing: Standing::Waiting,
            before: self.last,
            behind: None,
        });
        match self.last {
            Some(last) => self.slots[last].behind = Some(key),
            None => self.first = Some(key),
        }
        self.last = Some(key);
        self.waiting += 1;
        key
    }

    /// Returns the bytes that the first waiter needs.
    pub(super) fn first_bytes(&self) -> Option<usize> {
        self.first.map(|key| self.slots[key].bytes)
    }

    pub(super) fn standing(&self, key: usize) -> Standing {
        self.slots[key].standing
    }

    /// Returns true if this waker would wake the waiter's task.
    pub(super) fn will_wake(&self, key: usize, waker: &Waker) -> bool {
        let current = &self.slots[key].waker;
        current.as_ref().is_some_and(|it| it.will_wake(waker))
    }

    /// Replaces the waiter's waker. Returns the previous one, which the caller must drop.
    pub(super) fn set_waker(&mut self, key: usize, waker: Waker) -> Option<Waker> {
        self.slots[key].waker.replace(waker)
    }

    /// Takes the first waiter out of the queue. Returns its waker, which the caller must wake, or
    /// `None` if the queue is empty.
    pub(super) fn pop(&mut self, standing: Standing) -> Option<Option<Waker>> {
        let key = self.first?;
        self.unlink(key);
        self.granted += usize::from(matches!(standing, Standing::Granted(_)));
        let waiter = &mut self.slots[key];
        waiter.standing = standing;
        Some(waiter.waker.take())
    }

    /// Parks all waiters.
    ///
    /// The bytes and generations of those that were admitted go to `revoked`. The wakers of those
    /// that wait go to `wake`.
    pub(super) fn park_all(
        &mut self,
        mut revoked: impl FnMut(usize, u32),
        mut wake: impl FnMut(Waker),
    ) {
        for (_, waiter) in &mut self.slots {
            if let Standing::Granted(generation) = waiter.standing {
                waiter.standing = Standing::Parked;
                revoked(waiter.bytes, generation);
            }
        }
        self.granted = 0;
        while let Some(waker) = self.pop(Standing::Parked) {
            waker.into_iter().for_each(&mut wake);
        }
    }

    /// Frees the slot. Returns the waiter's state, and its waker, which the caller must drop.
    pub(super) fn leave(&mut self, key: usize) -> (Standing, Option<Waker>) {
        if self.slots[key].standing == Standing::Waiting {
            self.unlink(key);
        }
        let waiter = self.slots.remove(key);
        self.granted -= usize::from(matches!(waiter.standing, Standing::Granted(_)));
        (waiter.standing, waiter.waker)
    }

    fn unlink(&mut self, key: usize) {
        let Waiter {
            before,
            behind,
            since,
            ..
        } = self.slots[key];
        let waited = since.elapsed().as_micros();
        self.waits.record(u64::try_from(waited).unwrap_or(u64::MAX));
        match before {
            Some(before) => self.slots[before].behind = behind,
            None => self.first = behind,
        }
        match behind {
            Some(behind) => self.slots[behind].before = before,
            None => self.last = before,
        }
        self.waiting -= 1;
    }

    /// Returns true if no slot is in use.
    #[cfg(test)]
    pub(super) fn has_no_slots(&self) -> bool {
        self.slots.is_empty()
    }
}
