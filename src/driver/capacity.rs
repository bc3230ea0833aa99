//! The ledger of room in the queue: messages and payload bytes, first come, first served.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::config::QueueLimits;
use crate::coop;
use crate::error::KafkaError;
use crate::sync::{Mutex, lock, wake};

/// How much room is taken and who waits for some.
///
/// A waiter is let in ("granted") under the lock by whoever gives room back, in order, for as long
/// as the first one fits; it is woken once, after that. Nobody overtakes: while anybody waits, room
/// is granted to the first waiter or to nobody.
pub(crate) struct Room {
    limits: QueueLimits,
    state: Mutex<State>,
    /// Called when the first one begins to wait.
    line_formed: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    messages: usize,
    bytes: usize,
    closed: bool,
    waiters: Waiters,
    /// Counts whatever those who take room, wait for it or give it back do.
    moves: u64,
}

/// Why there is no room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// None is left, or others wait.
    Full,
    /// There will be none.
    Closed,
}

impl Room {
    /// Calls `line_formed` each time somebody begins to wait where nobody did.
    pub(crate) fn new(limits: QueueLimits, line_formed: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            line_formed: Box::new(line_formed),
        }
    }

    /// Refuses a payload that can never fit.
    #[inline]
    pub(crate) fn check_bytes(&self, payload: usize) -> Result<(), KafkaError> {
        let limit = self.limits.bytes;
        if payload > limit {
            Err(KafkaError::never_fits(payload, limit))
        } else {
            Ok(())
        }
    }

    /// Takes room for one message with so many payload bytes, if there is some and nobody waits.
    #[inline]
    pub(crate) fn try_acquire(&self, bytes: usize) -> Result<(), NoRoom> {
        let mut state = lock(&self.state);
        if state.closed {
            Err(NoRoom::Closed)
        } else if state.waiters.is_empty() && state.fits(self.limits, 1, bytes) {
            state.take(1, bytes);
            Ok(())
        } else {
            Err(NoRoom::Full)
        }
    }

    /// Takes room for several messages with so many payload bytes in all, to be used at once or given
    /// back; if nobody waits, and as much again is left for others meanwhile.
    pub(crate) fn try_acquire_ahead(&self, messages: usize, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        let is_there = !state.closed
            && state.waiters.is_empty()
            && state.fits(self.limits, 2 * messages, 2 * bytes);
        if is_there {
            state.take(messages, bytes);
        }
        is_there
    }

    /// Takes room for one message with so many payload bytes, waiting for it.
    ///
    /// Cancel safety: the place in the line is lost, what was granted is passed on.
    pub(crate) fn acquire(&self, bytes: usize) -> Acquire<'_> {
        Acquire {
            room: self,
            bytes,
            place: None,
        }
    }

    /// Gives room back and lets in those who fit now; their wakers are added to `wakers`, to be
    /// woken after the lock is free.
    pub(crate) fn release(&self, messages: usize, bytes: usize, wakers: &mut Vec<Waker>) {
        let mut state = lock(&self.state);
        state.give_back(messages, bytes);
        state.grant(self.limits, wakers);
    }

    /// Gives the room of messages back that were never produced.
    pub(crate) fn give_back(&self, messages: usize, bytes: usize) {
        let mut wakers = Vec::new();
        self.release(messages, bytes, &mut wakers);
        wakers.into_iter().for_each(wake);
    }

    /// Corrects the bytes of one message, upwards without asking whether they fit.
    #[inline]
    pub(crate) fn recharge(&self, from: usize, to: usize) {
        if from < to {
            // Whoever waits fits no better than before.
            let mut state = lock(&self.state);
            state.bytes += to - from;
            state.moves += 1;
        } else if from > to {
            self.give_back(0, from - to);
        }
    }

    /// Refuses everybody from now on, and those who wait.
    pub(crate) fn close(&self) {
        let mut wakers = Vec::new();
        {
            let mut state = lock(&self.state);
            state.closed = true;
            while let Some(waker) = state.waiters.pop(Standing::Closed) {
                wakers.extend(waker);
            }
        }
        wakers.into_iter().for_each(wake);
    }

    /// As [`acquire`](Self::acquire); the place is the caller's to keep, and to
    /// [`cancel`](Self::cancel).
    pub(crate) fn poll_acquire(
        &self,
        bytes: usize,
        place: &mut Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), NoRoom>> {
        let mut state = lock(&self.state);
        let Some(key) = *place else {
            if state.closed {
                return Poll::Ready(Err(NoRoom::Closed));
            }
            if state.waiters.is_empty() && state.fits(self.limits, 1, bytes) {
                if coop::may_enqueue() {
                    state.take(1, bytes);
                    return Poll::Ready(Ok(()));
                }
                // Waking may run foreign code: not under the lock.
                drop(state);
                return coop::yield_turn(cx).map(Ok);
            }
            let forms_line = state.waiters.is_empty();
            *place = Some(state.waiters.push(bytes, cx.waker().clone()));
            drop(state);
            if forms_line {
                (self.line_formed)();
            }
            return Poll::Pending;
        };
        match state.waiters.standing(key) {
            Standing::Waiting => {
                let before = state.waiters.set_waker(key, cx.waker());
                // Dropping a waker may run foreign code: not under the lock.
                drop(state);
                drop(before);
                Poll::Pending
            }
            standing => {
                state.waiters.leave(key);
                state.moves += 1;
                *place = None;
                let granted = standing == Standing::Granted;
                Poll::Ready(if granted { Ok(()) } else { Err(NoRoom::Closed) })
            }
        }
    }

    /// Gives up a place in the line.
    pub(crate) fn cancel(&self, bytes: usize, key: usize) {
        let mut wakers = Vec::new();
        {
            let mut state = lock(&self.state);
            if state.waiters.leave(key) == Standing::Granted {
                state.give_back(1, bytes);
            }
            // The next may fit: into what was given back, or where this one was too large.
            state.grant(self.limits, &mut wakers);
        }
        wakers.into_iter().for_each(wake);
    }

    /// Where anybody waits: how many moves there have been so far.
    pub(crate) fn moves_of_line(&self) -> Option<u64> {
        let state = lock(&self.state);
        (!state.waiters.is_empty()).then_some(state.moves)
    }

    /// Lets the first waiter in beyond the limits.
    ///
    /// For when nothing is in flight and nobody moves: then all room is held by permits that are
    /// not used, or was granted to waiters that do not look, and no delivery will give any back.
    pub(crate) fn lend(&self) {
        let waker = {
            let mut state = lock(&self.state);
            let Some(bytes) = state.waiters.first_bytes() else {
                return;
            };
            state.messages += 1;
            state.bytes += bytes;
            state.waiters.pop(Standing::Granted).flatten()
        };
        waker.into_iter().for_each(wake);
    }
}

impl State {
    #[inline]
    fn fits(&self, limits: QueueLimits, messages: usize, bytes: usize) -> bool {
        let fits = |taken: usize, more, limit| {
            let sum = taken.checked_add(more);
            sum.is_some_and(|sum| sum <= limit)
        };
        fits(self.messages, messages, limits.messages) && fits(self.bytes, bytes, limits.bytes)
    }

    #[inline]
    fn take(&mut self, messages: usize, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes;
        self.moves += 1;
    }

    fn give_back(&mut self, messages: usize, bytes: usize) {
        self.messages -= messages;
        self.bytes -= bytes;
        self.moves += 1;
    }

    fn grant(&mut self, limits: QueueLimits, wakers: &mut Vec<Waker>) {
        while let Some(bytes) = self.waiters.first_bytes() {
            if !self.fits(limits, 1, bytes) {
                break;
            }
            self.take(1, bytes);
            wakers.extend(self.waiters.pop(Standing::Granted).flatten());
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Room")
            .field("limits", &self.limits)
            .field("messages", &state.messages)
            .field("bytes", &state.bytes)
            .field("waiting", &state.waiters.waiting)
            .field("closed", &state.closed)
            .finish()
    }
}

/// The future of room.
pub(crate) struct Acquire<'a> {
    room: &'a Room,
    bytes: usize,
    place: Option<usize>,
}

impl Future for Acquire<'_> {
    type Output = Result<(), NoRoom>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { room, bytes, place } = &mut *self;
        room.poll_acquire(*bytes, place, cx)
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.place {
            self.room.cancel(self.bytes, key);
        }
    }
}

/// The line: a doubly linked list over a slab, so that leaving it in the middle costs nothing.
#[derive(Default)]
struct Waiters {
    slots: Slab<Waiter>,
    first: Option<usize>,
    last: Option<usize>,
    /// Those in the line; the slab also has those who were let in but have not looked yet.
    waiting: usize,
}

struct Waiter {
    bytes: usize,
    waker: Option<Waker>,
    standing: Standing,
    before: Option<usize>,
    behind: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// In the line.
    Waiting,
    /// Out of it, with room.
    Granted,
    /// Out of it, without.
    Closed,
}

impl Waiters {
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn push(&mut self, bytes: usize, waker: Waker) -> usize {
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

    fn first_bytes(&self) -> Option<usize> {
        self.first.map(|key| self.slots[key].bytes)
    }

    fn standing(&self, key: usize) -> Standing {
        self.slots[key].standing
    }

    fn set_waker(&mut self, key: usize, waker: &Waker) -> Option<Waker> {
        let slot = &mut self.slots[key].waker;
        match slot {
            Some(current) if current.will_wake(waker) => None,
            _ => slot.replace(waker.clone()),
        }
    }

    /// Takes the first out of the line; its waker, for the caller to wake. `None` is an empty line.
    fn pop(&mut self, standing: Standing) -> Option<Option<Waker>> {
        let key = self.first?;
        self.unlink(key);
        let waiter = &mut self.slots[key];
        waiter.standing = standing;
        Some(waiter.waker.take())
    }

    /// Frees the slot; says how the waiter stood.
    fn leave(&mut self, key: usize) -> Standing {
        if self.slots[key].standing == Standing::Waiting {
            self.unlink(key);
        }
        self.slots.remove(key).standing
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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A waiting future, and how often it was woken.
    struct Waiting<'r> {
        future: Pin<Box<Acquire<'r>>>,
        wakes: Arc<Wakes>,
    }

    impl<'r> Waiting<'r> {
        fn begin(room: &'r Room, bytes: usize) -> Self {
            let mut waiting = Self {
                future: Box::pin(room.acquire(bytes)),
                wakes: Arc::default(),
            };
            assert_eq!(waiting.poll(), Poll::Pending);
            waiting
        }

        fn poll(&mut self) -> Poll<Result<(), NoRoom>> {
            let waker = Waker::from(Arc::clone(&self.wakes));
            self.future.as_mut().poll(&mut Context::from_waker(&waker))
        }

        fn wakes(&self) -> usize {
            self.wakes.0.load(Ordering::SeqCst)
        }
    }

    fn release(room: &Room, messages: usize, bytes: usize) {
        let mut wakers = Vec::new();
        room.release(messages, bytes, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn room(messages: usize, bytes: usize) -> Room {
        Room::new(QueueLimits { messages, bytes }, || {})
    }

    fn taken(room: &Room) -> (usize, usize) {
        let state = lock(&room.state);
        (state.messages, state.bytes)
    }

    #[test]
    fn as_many_are_let_in_as_there_is_room_and_each_is_woken_once() {
        let room = room(100, usize::MAX);
        for _ in 0..100 {
            room.try_acquire(1).unwrap();
        }
        let mut waiting: Vec<_> = (0..20_000).map(|_| Waiting::begin(&room, 1)).collect();
        for round in 0..200 {
            release(&room, 100, 100);
            let (let_in, others) = waiting.split_at_mut((round + 1) * 100);
            assert!(let_in.iter().all(|waiting| waiting.wakes() == 1));
            assert!(others.iter().all(|waiting| waiting.wakes() == 0));
            for waiting in &mut let_in[round * 100..] {
                assert_eq!(waiting.poll(), Poll::Ready(Ok(())));
            }
        }
        assert_eq!(taken(&room), (100, 100));
        assert!(lock(&room.state).waiters.slots.is_empty());
    }

    #[test]
    fn whoever_forms_a_line_says_so_once() {
        let lines = Arc::new(Wakes::default());
        let told = Arc::clone(&lines);
        let limits = QueueLimits {
            messages: 1,
            bytes: 100,
        };
        let room = Room::new(limits, move || {
            told.0.fetch_add(1, Ordering::SeqCst);
        });
        room.try_acquire(1).unwrap();
        let first = Waiting::begin(&room, 1);
        let second = Waiting::begin(&room, 1);
        assert_eq!(lines.0.load(Ordering::SeqCst), 1);
        drop((first, second));
        drop(Waiting::begin(&room, 1));
        assert_eq!(lines.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn room_is_lent_to_the_first_and_comes_back() {
        let room = room(1, 100);
        room.try_acquire(100).unwrap();
        assert_eq!(room.moves_of_line(), None);
        let mut first = Waiting::begin(&room, 100);
        let second = Waiting::begin(&room, 1);
        let moves = room.moves_of_line();
        room.lend();
        assert_eq!((first.wakes(), second.wakes()), (1, 0));
        assert_eq!(room.moves_of_line(), moves);
        assert_eq!(first.poll(), Poll::Ready(Ok(())));
        assert_ne!(room.moves_of_line(), moves);
        assert_eq!(taken(&room), (2, 200));
        // What was lent stops the others until it is back.
        release(&room, 1, 100);
        assert_eq!(second.wakes(), 0);
        release(&room, 1, 100);
        assert_eq!(second.wakes(), 1);
        assert_eq!(taken(&room), (1, 1));
    }

    #[test]
    fn bytes_count_too_and_a_small_one_does_not_overtake() {
        let room = room(10, 100);
        room.try_acquire(60).unwrap();
        let mut large = Waiting::begin(&room, 50);
        let mut small = Waiting::begin(&room, 1);
        assert_eq!(room.try_acquire(1), Err(NoRoom::Full));
        release(&room, 1, 60);
        assert_eq!(
            (large.poll(), small.poll()),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(())))
        );
        assert_eq!(taken(&room), (2, 51));
    }

    #[test]
    fn one_who_leaves_passes_place_and_room_on() {
        let room = room(1, 100);
        room.try_acquire(1).unwrap();
        let granted = Waiting::begin(&room, 1);
        let leaves = Waiting::begin(&room, 1);
        let mut last = Waiting::begin(&room, 1);
        release(&room, 1, 1);
        drop(leaves);
        assert_eq!(last.wakes(), 0);
        // It was let in and never looked.
        drop(granted);
        assert_eq!((last.wakes(), last.poll()), (1, Poll::Ready(Ok(()))));
        assert_eq!(taken(&room), (1, 1));
    }

    #[test]
    fn when_a_large_one_leaves_those_behind_it_fit() {
        let room = room(10, 100);
        room.try_acquire(60).unwrap();
        let large = Waiting::begin(&room, 100);
        let mut small = Waiting::begin(&room, 40);
        drop(large);
        assert_eq!((small.wakes(), small.poll()), (1, Poll::Ready(Ok(()))));
    }

    #[test]
    fn a_close_refuses_those_who_wait_but_not_those_let_in() {
        let room = room(1, 100);
        room.try_acquire(0).unwrap();
        let mut let_in = Waiting::begin(&room, 0);
        let mut waits = Waiting::begin(&room, 0);
        release(&room, 1, 0);
        room.close();
        assert_eq!(let_in.poll(), Poll::Ready(Ok(())));
        assert_eq!(waits.poll(), Poll::Ready(Err(NoRoom::Closed)));
        assert_eq!(room.try_acquire(0), Err(NoRoom::Closed));
        assert_eq!(taken(&room), (1, 0));
    }
}
