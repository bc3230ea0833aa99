//! Looking something up by a blocking call, one for all that wait for it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::blocking::{BlockingCall, NotBegun, UnderWay};
use super::shared::Shared;
use crate::client::ProducerContext;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::Client;
use crate::sync::{catch_panic, lock};
use crate::values::TopicInfo;

/// How long a call has at first. It is called again, with twice the time, if that was too short: so
/// a close need not wait for longer than the call has already taken.
const FIRST_SLICE: Duration = Duration::from_secs(1);

/// What a producer looks up.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    broker: Lookup<Option<i32>>,
    topics: Lookup<Vec<TopicInfo>>,
}

/// Those who wait for a `T`.
struct Lookup<T> {
    waiters: Mutex<Vec<Waiter<T>>>,
}

struct Waiter<T> {
    deadline: Option<Instant>,
    result: oneshot::Sender<Result<T, KafkaError>>,
}

/// What a thread calls, with a limit of time.
type Call<T> = fn(&Client, Duration) -> Result<T, i32>;

impl<C: ProducerContext> Shared<C> {
    /// A broker that answers; `None` if none is known by a number.
    pub(super) async fn find_broker(
        self: &Arc<Self>,
        timeout: Duration,
    ) -> Result<Option<i32>, KafkaError> {
        fn lookup<C: ProducerContext>(shared: &Shared<C>) -> &Lookup<Option<i32>> {
            &shared.lookups.broker
        }
        let kind = BlockingCall::FindBroker;
        self.look_up(kind, lookup, Client::any_broker, timeout)
            .await
    }

    /// All topics that the client may see.
    pub(crate) async fn all_topics(
        self: &Arc<Self>,
        timeout: Duration,
    ) -> Result<Vec<TopicInfo>, KafkaError> {
        fn lookup<C: ProducerContext>(shared: &Shared<C>) -> &Lookup<Vec<TopicInfo>> {
            &shared.lookups.topics
        }
        let kind = BlockingCall::AllTopics;
        self.look_up(kind, lookup, Client::all_topics, timeout)
            .await
    }

    async fn look_up<T: Clone + Send + 'static>(
        self: &Arc<Self>,
        kind: BlockingCall,
        lookup: fn(&Self) -> &Lookup<T>,
        call: Call<T>,
        timeout: Duration,
    ) -> Result<T, KafkaError> {
        let (sender, result) = oneshot::channel();
        let begun = {
            let mut waiters = lock(&lookup(self).waiters);
            waiters.push(Waiter {
                deadline: Instant::now().checked_add(timeout),
                result: sender,
            });
            self.calls.begin(kind)
        };
        match begun {
            Ok(under_way) => {
                let shared = Arc::clone(self);
                under_way
                    .spawn(move |under_way| shared.answer_waiters(under_way, lookup, call))
                    .map_err(KafkaError::no_thread)?;
            }
            Err(NotBegun::UnderWay) => {}
            Err(NotBegun::Stopped) => return Err(KafkaError::closed()),
        }
        result.await.unwrap_or_else(|_| Err(KafkaError::closed()))
    }

    fn answer_waiters<T: Clone + Send + 'static>(
        &self,
        mut under_way: UnderWay,
        lookup: fn(&Self) -> &Lookup<T>,
        call: Call<T>,
    ) {
        let lookup = lookup(self);
        let mut slice = FIRST_SLICE;
        loop {
            let client = self.core.client().filter(|_| !self.core.is_closed());
            if client.is_none() {
                lookup.answer(usize::MAX, &Err(KafkaError::closed()));
            }
            lookup.answer_late();
            // Those who come later may ask for what has changed meanwhile.
            let Some((count, left)) = lookup.waiting_or(|| under_way.leave()) else {
                return;
            };
            let Some(client) = client else {
                continue;
            };
            let result = call(&client, left.min(slice));
            drop(client);
            match result.map_err(RDKafkaErrorCode::from) {
                Ok(found) => lookup.answer(count, &Ok(found)),
                Err(
                    RDKafkaErrorCode::OperationTimedOut
                    // Also if no broker could be reached, for as long as that.
                    | RDKafkaErrorCode::BrokerTransportFailure,
                ) if left > slice => {
                    slice *= 2;
                    continue;
                }
                Err(
                    RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::BrokerTransportFailure,
                ) => lookup.answer_late(),
                Err(code) => lookup.answer(count, &Err(KafkaError::from_code(code))),
            }
            slice = FIRST_SLICE;
        }
    }
}

impl<T: Clone> Lookup<T> {
    /// How many wait, without those who have stopped, and the longest time that one of them has left;
    /// `None` if nobody waits, and then `leave` was called.
    fn waiting_or(&self, leave: impl FnOnce()) -> Option<(usize, Duration)> {
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
    fn answer(&self, count: usize, result: &Result<T, KafkaError>) {
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
    fn answer_late(&self) {
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

impl<T> Waiter<T> {
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
