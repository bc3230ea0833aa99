//! What is looked up by a blocking call, one for all that wait for it.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::KafkaError;
use crate::sync::{catch_panic, lock};
use crate::values::TopicInfo;

/// What a producer looks up.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    pub(super) broker: Lookup<Option<i32>>,
    pub(super) topics: Lookup<Vec<TopicInfo>>,
}

/// Those who wait for a `T`.
pub(super) struct Lookup<T> {
    pub(super) waiters: Mutex<Vec<LookupWaiter<T>>>,
}

pub(super) struct LookupWaiter<T> {
    pub(super) deadline: Option<Instant>,
    pub(super) result: oneshot::Sender<Result<T, KafkaError>>,
}

impl<T: Clone> Lookup<T> {
    /// How many wait, without those who have stopped, and the longest time that one of them has left;
    /// `None` if nobody waits, and then `leave` was called.
    pub(super) fn waiting_or(&self, leave: impl FnOnce()) -> Option<(usize, Duration)> {
        let mut waiters = lock(&self.waiters);
        // A receiver that is closed has no waker that its sender's drop could call.
        waiters.retain(|waiter| !waiter.result.is_closed());
        let left = waiters.iter().map(|waiter| waiter.left()).max();
        if left.is_none() {
            leave();
        }
        Some((waiters.len(), left?))
    }

    /// Answers the first `count` who wait.
    pub(super) fn answer(&self, count: usize, result: &Result<T, KafkaError>) {
        let answered: Vec<_> = {
            let mut waiters = lock(&self.waiters);
            let count = count.min(waiters.len());
            waiters.drain(..count).collect()
        };
        for waiter in answered {
            waiter.answer(result.clone());
        }
    }

    /// Answers those whose time is over.
    pub(super) fn answer_late(&self) {
        let late: Vec<_> = {
            let mut waiters = lock(&self.waiters);
            let all = std::mem::take(&mut *waiters).into_iter();
            let (late, left) = all.partition(|waiter| waiter.left().is_zero());
            *waiters = left;
            late
        };
        for waiter in late {
            waiter.answer(Err(KafkaError::no_answer()));
        }
    }
}

impl<T> LookupWaiter<T> {
    fn left(&self) -> Duration {
        let now = Instant::now();
        let left = |deadline: Instant| deadline.saturating_duration_since(now);
        self.deadline.map_or(Duration::MAX, left)
    }

    fn answer(self, result: Result<T, KafkaError>) {
        // It calls a waker.
        let _ = catch_panic(|| self.result.send(result));
    }
}

impl<T> Default for Lookup<T> {
    fn default() -> Self {
        Self {
            waiters: Mutex::default(),
        }
    }
}

impl<T> fmt::Debug for Lookup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.waiters).len();
        f.debug_struct("Lookup").field("waiting", &waiting).finish()
    }
}
