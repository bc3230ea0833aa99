//! The capacity of the queue: messages and payload bytes, first come, first served.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::wait_queue::{Standing, WaitQueue};
use crate::client::QueueLimits;
use crate::error::KafkaError;
use crate::sync::{Mutex, Wakeups, coop, drop_foreign, lock};
use crate::values::Metrics;

/// The acquired capacity and the waiters for more.
///
/// A release admits waiters under the lock, in order, for as long as the first one fits. Each is
/// woken once, after the lock is free. No waiter is overtaken: while the wait queue is not empty,
/// capacity goes to its first waiter or to nobody.
pub(crate) struct Capacity {
    limits: QueueLimits,
    state: Mutex<State>,
    /// Called when a waiter enters the empty wait queue.
    on_wait: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    acquired: Amount,
    is_closed: bool,
    waiters: WaitQueue,
    /// The amount by which the limits may be exceeded; see [`Capacity::relieve`].
    overbooked: Amount,
    /// The number of times that the queue has been overbooked. Grants of an earlier generation were
    /// unused then.
    generation: u32,
    /// Counts acquisitions, releases, and polls of admitted waiters.
    moves: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    messages: usize,
    bytes: usize,
}

/// Capacity that was acquired for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    generation: u32,
}

/// What a waiter uses the capacity for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For a message that is produced at once.
    Produce,
    /// For a permit, which may be kept.
    Reserve,
}

/// Why there is no capacity now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CapacityError {
    /// Not enough is left, or others wait.
    Full,
    /// The producer is closed.
    Closed,
}

impl Capacity {
    /// `on_wait` is called each time a waiter enters the empty wait queue.
    pub(crate) fn new(limits: QueueLimits, on_wait: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            on_wait: Box::new(on_wait),
        }
    }

    /// Refuses a payload that can never fit.
    #[inline]
    pub(crate) fn check_payload(&self, len: usize) -> Result<(), KafkaError> {
        self.limits.check_payload(len)
    }

    /// Acquires capacity for one message with `bytes` of payload, if it fits and nobody waits.
    #[inline]
    pub(crate) fn try_acquire(&self, bytes: usize) -> Result<Grant, CapacityError> {
        let mut state = lock(&self.state);
        if state.is_closed {
            Err(CapacityError::Closed)
        } else if state.waiters.is_empty() && state.fits(self.limits, 1, bytes) {
            Ok(state.acquire(1, bytes))
        } else {
            Err(CapacityError::Full)
        }
    }

    /// Returns true if [`try_acquire`](Self::try_acquire) would succeed without a payload.
    #[inline]
    pub(crate) fn is_available(&self) -> bool {
        let state = lock(&self.state);
        !state.is_closed && state.waiters.is_empty() && state.fits(self.limits, 1, 0)
    }

    /// Acquires capacity for one message with `bytes` of payload, even if it does not fit.
    #[inline]
    pub(crate) fn acquire_unchecked(&self, bytes: usize) {
        lock(&self.state).acquire(1, bytes);
    }

    /// Acquires capacity for several messages with `bytes` of payload in all.
    ///
    /// It succeeds if nobody waits and as much again is left for others. The caller must use or
    /// [release](Self::release_batch) the capacity soon.
    pub(crate) fn try_acquire_many(&self, messages: usize, bytes: usize) -> Option<Grant> {
        let mut state = lock(&self.state);
        let is_there = !state.is_closed
            && state.waiters.is_empty()
            && state.fits(self.limits, 2 * messages, 2 * bytes);
        is_there.then(|| state.acquire(messages, bytes))
    }

    /// Releases what is left of the capacity of a batch. `grant` is the batch's first one.
    ///
    /// If the queue has been overbooked since, because the batch took long, that ends. It may be
    /// overbooked again because of permits.
    pub(crate) fn release_batch(&self, grant: Grant, messages: usize, bytes: usize) -> Wakeups {
        let mut wakeups = Wakeups::default();
        let mut state = lock(&self.state);
        if grant.generation != state.generation {
            state.overbooked = Amount::default();
        }
        state.release(messages, bytes);
        state.admit(self.limits, &mut wakeups);
        wakeups
    }

    /// Waits for capacity for one message with `bytes` of payload and acquires it.
    ///
    /// Dropping the future gives up its place in the wait queue. Capacity that it was granted
    /// passes to the next waiter.
    pub(crate) fn acquire(&self, bytes: usize, purpose: Purpose) -> Acquire<'_> {
        Acquire {
            capacity: self,
            bytes,
            purpose,
            key: None,
        }
    }

    /// Releases capacity and admits the waiters that fit now.
    pub(crate) fn release(&self, messages: usize, bytes: usize) -> Wakeups {
        let mut wakeups = Wakeups::default();
        self.release_into(messages, bytes, &mut wakeups);
        wakeups
    }

    /// Releases capacity as [`release`](Self::release) does, and adds the wakers to `wakeups`.
    pub(crate) fn release_into(&self, messages: usize, bytes: usize, wakeups: &mut Wakeups) {
        let mut state = lock(&self.state);
        state.release(messages, bytes);
        state.admit(self.limits, wakeups);
    }

    /// Releases the capacity of a permit that was not used.
    pub(crate) fn release_unused(&self, grant: Grant, bytes: usize) -> Wakeups {
        let mut wakeups = Wakeups::default();
        let mut state = lock(&self.state);
        state.end_overbooking(grant, bytes);
        state.release(1, bytes);
        state.admit(self.limits, &mut wakeups);
        wakeups
    }

    /// Uses the capacity of a permit for a payload of `bytes` instead of the `reserved` ones, even
    /// if they do not fit.
    #[inline]
    pub(crate) fn use_reserved(&self, grant: Grant, reserved: usize, bytes: usize) -> Wakeups {
        let mut wakeups = Wakeups::default();
        let mut state = lock(&self.state);
        state.end_overbooking(grant, reserved);
        state.moves += 1;
        if bytes >= reserved {
            state.acquired.bytes += bytes - reserved;
        } else {
            state.acquired.bytes -= reserved - bytes;
            state.admit(self.limits, &mut wakeups);
        }
        wakeups
    }

    /// Refuses all waiters, and every acquisition from now on.
    pub(crate) fn close(&self) -> Wakeups {
        let mut wakeups = Wakeups::default();
        let mut state = lock(&self.state);
        state.is_closed = true;
        while let Some(waker) = state.waiters.pop(Standing::Closed) {
            waker.into_iter().for_each(|waker| wakeups.push(waker));
        }
        wakeups
    }

    /// Polls as the future of [`acquire`](Self::acquire) does. The caller keeps the key of its
    /// waiter, and must [`cancel`](Self::cancel) it.
    pub(crate) fn poll_acquire(
        &self,
        bytes: usize,
        purpose: Purpose,
        key: &mut Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Grant, CapacityError>> {
        match *key {
            None => self.begin_to_wait(bytes, key, cx),
            Some(waiter) => self.look(waiter, bytes, purpose, key, cx),
        }
    }

    fn begin_to_wait(
        &self,
        bytes: usize,
        key: &mut Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Grant, CapacityError>> {
        // Foreign code, which does not run under the lock.
        let waker = cx.waker().clone();
        let mut state = lock(&self.state);
        let is_first = state.waiters.is_empty();
        if state.is_closed || (is_first && state.fits(self.limits, 1, bytes)) {
            let acquired = if state.is_closed {
                Some(Err(CapacityError::Closed))
            } else {
                coop::may_enqueue().then(|| Ok(state.acquire(1, bytes)))
            };
            drop(state);
            drop_foreign(waker);
            return match acquired {
                Some(acquired) => Poll::Ready(acquired),
                None => {
                    coop::yield_turn(cx);
                    Poll::Pending
                }
            };
        }
        *key = Some(state.waiters.push(bytes, waker));
        drop(state);
        if is_first {
            (self.on_wait)();
        }
        Poll::Pending
    }

    fn look(
        &self,
        waiter: usize,
        bytes: usize,
        purpose: Purpose,
        key: &mut Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Grant, CapacityError>> {
        let mut state = lock(&self.state);
        if state.waiters.standing(waiter) == Standing::Waiting {
            if state.waiters.will_wake(waiter, cx.waker()) {
                return Poll::Pending;
            }
            drop(state);
            let waker = cx.waker().clone();
            state = lock(&self.state);
            if state.waiters.standing(waiter) == Standing::Waiting {
                let before = state.waiters.set_waker(waiter, waker);
                drop(state);
                drop_foreign(before);
                return Poll::Pending;
            }
            // It was admitted meanwhile.
            drop(state);
            drop_foreign(waker);
            state = lock(&self.state);
        }
        // Its waker was taken when it left the queue.
        let (standing, _none) = state.waiters.leave(waiter);
        state.moves += 1;
        *key = None;
        if standing == Standing::Parked {
            drop(state);
            return self.begin_to_wait(bytes, key, cx);
        }
        Poll::Ready(match standing {
            Standing::Granted(generation) => {
                let grant = Grant { generation };
                if purpose == Purpose::Produce {
                    state.end_overbooking(grant, bytes);
                }
                Ok(grant)
            }
            Standing::Waiting | Standing::Parked | Standing::Closed => Err(CapacityError::Closed),
        })
    }

    /// Gives up a place in the wait queue.
    pub(crate) fn cancel(&self, bytes: usize, key: usize) {
        let mut wakeups = Wakeups::default();
        let waker = {
            let mut state = lock(&self.state);
            let (standing, waker) = state.waiters.leave(key);
            if let Standing::Granted(generation) = standing {
                state.end_overbooking(Grant { generation }, bytes);
                state.release(1, bytes);
            }
            // The next one may fit: into what was released, or because this one was too large.
            state.admit(self.limits, &mut wakeups);
            waker
        };
        drop_foreign(waker);
    }

    /// Returns the number of moves so far, or `None` if nobody waits.
    pub(crate) fn moves_if_awaited(&self) -> Option<u64> {
        let state = lock(&self.state);
        (!state.waiters.is_empty()).then_some(state.moves)
    }

    /// Writes what is known of capacity to `metrics`.
    pub(crate) fn measure(&self, metrics: &mut Metrics) {
        let as_u64 = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        metrics.max_records = match self.limits.messages {
            usize::MAX => u64::MAX,
            messages => as_u64(messages),
        };
        metrics.max_bytes = as_u64(self.limits.bytes);
        let state = lock(&self.state);
        metrics.waiting = as_u64(state.waiters.len());
        metrics.acquired.records = as_u64(state.acquired.messages);
        metrics.acquired.bytes = as_u64(state.acquired.bytes);
        metrics.capacity_wait.clone_from(state.waiters.waits());
    }

    /// Admits waiters although nothing is released.
    ///
    /// Call it if nothing is in flight and [`moves_if_awaited`](Self::moves_if_awaited) has not
    /// changed for long. Then admitted waiters that nobody polls, or unused permits, hold the
    /// capacity, and no delivery will release any.
    ///
    /// Admitted waiters that have not been polled lose their turn. All others are woken, and wait
    /// again when they are polled. If there are only permits, the queue is overbooked by what they
    /// hold, up to twice the limits, until they are used or dropped. Returns the number of messages
    /// that they hold.
    pub(crate) fn relieve(&self, moves: u64) -> (Option<usize>, Wakeups) {
        let mut wakeups = Wakeups::default();
        let mut state = lock(&self.state);
        if state.moves != moves {
            return (None, wakeups);
        }
        if state.waiters.granted() > 0 {
            state.park_waiters(&mut wakeups);
            return (None, wakeups);
        }
        let Some(overbooked) = state.overbooking(self.limits) else {
            return (None, wakeups);
        };
        let held = state.acquired.messages;
        state.overbooked = overbooked;
        state.generation += 1;
        state.admit(self.limits, &mut wakeups);
        (Some(held), wakeups)
    }
}

impl State {
    #[inline]
    fn fits(&self, limits: QueueLimits, messages: usize, bytes: usize) -> bool {
        let fits = |acquired: usize, more: usize, limit: usize, overbooked: usize| {
            let left = limit.saturating_add(overbooked).checked_sub(acquired);
            left.is_some_and(|left| more <= left)
        };
        fits(
            self.acquired.messages,
            messages,
            limits.messages,
            self.overbooked.messages,
        ) && fits(
            self.acquired.bytes,
            bytes,
            limits.bytes,
            self.overbooked.bytes,
        )
    }

    /// Returns the amount of overbooking if nothing of the acquired capacity is used, or `None` if
    /// the queue is already overbooked by that.
    fn overbooking(&self, limits: QueueLimits) -> Option<Amount> {
        let most = Amount {
            messages: self.acquired.messages.min(limits.messages),
            bytes: self.acquired.bytes.min(limits.bytes),
        };
        let is_more =
            most.messages > self.overbooked.messages || most.bytes > self.overbooked.bytes;
        is_more.then_some(most)
    }

    /// Takes the capacity of admitted waiters that have not been polled. All others wait again.
    fn park_waiters(&mut self, wakeups: &mut Wakeups) {
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.park_all(
            |bytes, generation| {
                self.end_overbooking(Grant { generation }, bytes);
                self.release(1, bytes);
            },
            |waker| wakeups.push(waker),
        );
        self.waiters = waiters;
    }

    #[inline]
    fn acquire(&mut self, messages: usize, bytes: usize) -> Grant {
        self.acquired.messages += messages;
        self.acquired.bytes += bytes;
        self.moves += 1;
        Grant {
            generation: self.generation,
        }
    }

    fn release(&mut self, messages: usize, bytes: usize) {
        self.acquired.messages -= messages;
        self.acquired.bytes -= bytes;
        self.moves += 1;
    }

    fn admit(&mut self, limits: QueueLimits, wakeups: &mut Wakeups) {
        while let Some(bytes) = self.waiters.first_bytes() {
            if !self.fits(limits, 1, bytes) {
                break;
            }
            let Grant { generation } = self.acquire(1, bytes);
            let waker = self.waiters.pop(Standing::Granted(generation)).flatten();
            waker.into_iter().for_each(|waker| wakeups.push(waker));
        }
    }

    /// Ends the overbooking that a grant caused, if it did. Call it when the grant is used or
    /// released.
    #[inline]
    fn end_overbooking(&mut self, grant: Grant, bytes: usize) {
        if grant.generation != self.generation {
            let Amount {
                messages: of_messages,
                bytes: of_bytes,
            } = &mut self.overbooked;
            *of_messages = of_messages.saturating_sub(1);
            *of_bytes = of_bytes.saturating_sub(bytes);
        }
    }
}

impl fmt::Debug for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Capacity")
            .field("limits", &self.limits)
            .field("acquired", &state.acquired)
            .field("overbooked", &state.overbooked)
            .field("waiting", &state.waiters.len())
            .field("is_closed", &state.is_closed)
            .finish()
    }
}

/// The future that [`Capacity::acquire`] returns.
#[derive(Debug)]
pub(crate) struct Acquire<'a> {
    capacity: &'a Capacity,
    bytes: usize,
    purpose: Purpose,
    key: Option<usize>,
}

impl Future for Acquire<'_> {
    type Output = Result<Grant, CapacityError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            capacity,
            bytes,
            purpose,
            key,
        } = &mut *self;
        capacity.poll_acquire(*bytes, *purpose, key, cx)
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.capacity.cancel(self.bytes, key);
        }
    }
}

#[cfg(test)]
mod tests;
