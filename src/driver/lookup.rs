//! What is looked up by a blocking call, one for all that wait for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::coop::unconstrained;

use super::blocking::UnderWay;
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
pub(super) struct Lookup<T>(Mutex<Waiting<T>>);

struct Waiting<T> {
    last_ticket: u64,
    by_ticket: BTreeMap<u64, Waiter<T>>,
}

struct Waiter<T> {
    since: Instant,
    timeout: Duration,
    result: oneshot::Sender<Result<T, KafkaError>>,
}

/// Those who wait at a time.
#[derive(Debug)]
pub(super) struct Waiters {
    /// The last one who began.
    pub(super) last: u64,
    /// The longest time that any of them has left.
    pub(super) left: Duration,
    /// The longest time that any of them has waited.
    pub(super) waited: Duration,
}

/// The blocking call that answers. If its thread panics, all who wait get an error.
pub(super) struct Answering<'l, T: Clone> {
    pub(super) lookup: &'l Lookup<T>,
    pub(super) under_way: UnderWay,
}

/// One who waits; dropping it ends the waiting.
pub(super) struct LookupWaiter<'l, T> {
    lookup: &'l Lookup<T>,
    ticket: u64,
    result: oneshot::Receiver<Result<T, KafkaError>>,
}

impl<T: Clone> Lookup<T> {
    /// Begins to wait. `begin` is called under the lock.
    pub(super) fn wait<B>(
        &self,
        timeout: Duration,
        begin: impl FnOnce() -> B,
    ) -> (LookupWaiter<'_, T>, B) {
        let (sender, result) = oneshot::channel();
        let mut waiting = lock(&self.0);
        waiting.last_ticket += 1;
        let ticket = waiting.last_ticket;
        let waiter = Waiter {
            since: Instant::now(),
            timeout,
            result: sender,
        };
        waiting.by_ticket.insert(ticket, waiter);
        let waiter = LookupWaiter {
            lookup: self,
            ticket,
            result,
        };
        (waiter, begin())
    }

    /// Those who wait now; `None` if nobody does, and then `leave` was called.
    pub(super) fn waiting_or(&self, leave: impl FnOnce()) -> Option<Waiters> {
        let waiting = lock(&self.0);
        let Some(left) = waiting.by_ticket.values().map(Waiter::left).max() else {
            leave();
            return None;
        };
        let waited = waiting.by_ticket.values().map(|it| it.since.elapsed());
        Some(Waiters {
            last: waiting.last_ticket,
            left,
            waited: waited.max().unwrap_or_default(),
        })
    }

    /// Answers those who wait, up to that one.
    pub(super) fn answer(&self, last: u64, result: &Result<T, KafkaError>) {
        let answered = {
            let mut waiting = lock(&self.0);
            let later = waiting.by_ticket.split_off(&last.saturating_add(1));
            std::mem::replace(&mut waiting.by_ticket, later)
        };
        for waiter in answered.into_values() {
            waiter.answer(result.clone());
        }
    }

    /// Answers those whose time is over.
    pub(super) fn answer_late(&self) {
        let late: BTreeMap<_, _> = {
            let mut waiting = lock(&self.0);
            let all = std::mem::take(&mut waiting.by_ticket).into_iter();
            let (late, left) = all.partition(|(_, waiter)| waiter.left().is_zero());
            waiting.by_ticket = left;
            late
        };
        for waiter in late.into_values() {
            waiter.answer(Err(KafkaError::no_answer()));
        }
    }
}

impl<T> LookupWaiter<'_, T> {
    /// Returns the answer; `None` if nobody answers any more.
    pub(super) async fn answered(mut self) -> Option<Result<T, KafkaError>> {
        unconstrained(&mut self.result).await.ok()
    }
}

impl<T> Drop for LookupWaiter<'_, T> {
    fn drop(&mut self) {
        // The sender, which is dropped under the lock, must not call a waker there. The waker
        // itself is dropped by this, or with the receiver.
        self.result.close();
        lock(&self.lookup.0).by_ticket.remove(&self.ticket);
    }
}

impl<T: Clone> Drop for Answering<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            // Those who come after this have a call of their own.
            self.under_way.leave();
            self.lookup.answer(u64::MAX, &Err(KafkaError::no_answer()));
        }
    }
}

impl<T> Waiter<T> {
    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.since.elapsed())
    }

    fn answer(self, result: Result<T, KafkaError>) {
        // It calls a waker.
        let _ = catch_panic(|| self.result.send(result));
    }
}

impl<T> Default for Lookup<T> {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            last_ticket: 0,
            by_ticket: BTreeMap::new(),
        }))
    }
}

impl<T> fmt::Debug for Lookup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.0).by_ticket.len();
        f.debug_struct("Lookup").field("waiting", &waiting).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time;

    use super::super::blocking::{BlockingCall, BlockingCalls};
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn waiting(lookup: &Lookup<u8>) -> usize {
        lock(&lookup.0).by_ticket.len()
    }

    #[test]
    fn nothing_is_kept_of_those_who_stop_waiting() {
        let lookup = Lookup::default();
        let (waiter, ()) = lookup.wait(LONG, || ());
        for _ in 0..1_000 {
            drop(lookup.wait(LONG, || ()));
        }
        assert_eq!(waiting(&lookup), 1);
        drop(waiter);
        assert_eq!(waiting(&lookup), 0);
        assert!(lookup.waiting_or(|| ()).is_none());
    }

    #[test]
    fn a_call_answers_those_who_waited_when_it_began() {
        let lookup = Lookup::default();
        let (cancelled, ()) = lookup.wait(LONG, || ());
        let (mut early, ()) = lookup.wait(LONG, || ());
        let last = lookup.waiting_or(|| ()).unwrap().last;
        let (mut later, ()) = lookup.wait(LONG, || ());
        let (mut late, ()) = lookup.wait(Duration::ZERO, || ());
        drop(cancelled);
        lookup.answer(last, &Ok(7));
        assert_eq!(early.result.try_recv().unwrap().unwrap(), 7);
        assert!(later.result.try_recv().is_err());
        lookup.answer_late();
        assert!(late.result.try_recv().unwrap().unwrap_err().is_timed_out());
        lookup.answer(u64::MAX, &Ok(8));
        assert_eq!(later.result.try_recv().unwrap().unwrap(), 8);
    }

    #[tokio::test]
    async fn a_panic_of_the_call_answers_all_who_wait() {
        let calls = BlockingCalls::new(|| {});
        let lookup = Arc::new(Lookup::<u32>::default());
        let begin = || calls.begin(BlockingCall::AllTopics);
        let (first, begun) = lookup.wait(Duration::MAX, begin);
        let (second, joined) = lookup.wait(Duration::MAX, begin);
        assert!(joined.is_err());
        let answering = Arc::clone(&lookup);
        let call = begun.unwrap().spawn(move |under_way| {
            let _answering = Answering {
                lookup: &answering,
                under_way,
            };
            panic!("as it may");
        });
        call.unwrap();
        let both = async { futures::join!(first.answered(), second.answered()) };
        let (first, second) = time::timeout(LONG / 60, both).await.unwrap();
        assert!(first.unwrap().is_err() && second.unwrap().is_err());
    }
}
