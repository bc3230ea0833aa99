//! The wait queue for capacity: first come, first served.

use std::task::Waker;

use slab::Slab;

/// Waiters in the order in which they came: a doubly linked list over a slab, so that leaving it in
/// the middle costs nothing.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    slots: Slab<Waiter>,
    first: Option<usize>,
    last: Option<usize>,
    /// Those in the queue; the slab also has those that were admitted, or parked, and have not looked
    /// yet.
    waiting: usize,
    /// Those that were admitted and have not looked yet.
    granted: usize,
}

#[derive(Debug)]
struct Waiter {
    bytes: usize,
    waker: Option<Waker>,
    standing: Standing,
    before: Option<usize>,
    behind: Option<usize>,
}

/// How a waiter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// In the queue.
    Waiting,
    /// Out of it, with capacity that was acquired in that generation.
    Granted(u32),
    /// Out of it, without: it is to wait again.
    Parked,
    /// Out of it, without: there will be none.
    Closed,
}

impl WaitQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many were admitted and have not looked yet.
    pub(super) fn granted(&self) -> usize {
        self.granted
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Adds a waiter at the end; returns its key.
    pub(super) fn push(&mut self, bytes: usize, waker: Waker) -> usize {
        let key = self.slots.insert(Waiter {
            bytes,
            waker: Some(waker),
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

    /// The bytes that the first waiter needs.
    pub(super) fn first_bytes(&self) -> Option<usize> {
        self.first.map(|key| self.slots[key].bytes)
    }

    pub(super) fn standing(&self, key: usize) -> Standing {
        self.slots[key].standing
    }

    /// Whether the waiter's task would be woken by this waker.
    pub(super) fn will_wake(&self, key: usize, waker: &Waker) -> bool {
        let current = &self.slots[key].waker;
        current.as_ref().is_some_and(|it| it.will_wake(waker))
    }

    /// Replaces the waiter's waker; returns the one before, for the caller to drop.
    pub(super) fn set_waker(&mut self, key: usize, waker: Waker) -> Option<Waker> {
        self.slots[key].waker.replace(waker)
    }

    /// Takes the first waiter out of the queue; returns its waker, for the caller to wake. `None` if
    /// the queue is empty.
    pub(super) fn pop(&mut self, standing: Standing) -> Option<Option<Waker>> {
        let key = self.first?;
        self.unlink(key);
        self.granted += usize::from(matches!(standing, Standing::Granted(_)));
        let waiter = &mut self.slots[key];
        waiter.standing = standing;
        Some(waiter.waker.take())
    }

    /// Parks all: those that were admitted, whose bytes and generations go to `revoked`, and those
    /// that wait, whose wakers go to `wake`.
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

    /// Frees the slot; returns how the waiter stood, and its waker, for the caller to drop.
    pub(super) fn leave(&mut self, key: usize) -> (Standing, Option<Waker>) {
        if self.slots[key].standing == Standing::Waiting {
            self.unlink(key);
        }
        let waiter = self.slots.remove(key);
        self.granted -= usize::from(matches!(waiter.standing, Standing::Granted(_)));
        (waiter.standing, waiter.waker)
    }

    fn unlink(&mut self, key: usize) {
        let Waiter { before, behind, .. } = self.slots[key];
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

    /// Whether no slot is in use.
    #[cfg(test)]
    pub(super) fn has_no_slots(&self) -> bool {
        self.slots.is_empty()
    }
}
