//! Asking whether a broker is up, on a thread, for as long as somebody waits.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::blocking::{BlockingCall, NotBegun, UnderWay};
use super::broker_state::{Asked, Verdict};
use super::shared::Shared;
use crate::client::ProducerContext;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::{Advertised, Answerer};

/// How long one question waits for its answer: at first, and at the most. A broker that takes longer
/// is not up.
const FIRST_SLICE: Duration = Duration::from_millis(200);
const LAST_SLICE: Duration = Duration::from_secs(1);

/// The least time between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// How many brokers are asked at once at their advertised addresses: at first, and at the most. Each
/// question makes librdkafka connect to a broker.
const FIRST_BROKERS: usize = 3;
const MOST_BROKERS: usize = 32;

impl<C: ProducerContext> Shared<C> {
    /// Has a thread ask for a broker.
    fn ensure_probe(self: &Arc<Self>) -> Result<(), KafkaError> {
        match self.calls.begin(BlockingCall::Probe) {
            Ok(call) => {
                let shared = Arc::clone(self);
                let spawned = call.spawn(move |call| shared.probe(call));
                spawned.map_err(KafkaError::no_thread)
            }
            Err(NotBegun::UnderWay) => Ok(()),
            Err(NotBegun::Stopped) => Err(KafkaError::closed()),
        }
    }

    fn probe(&self, mut call: UnderWay) {
        let mut slice = FIRST_SLICE;
        let mut count = FIRST_BROKERS;
        while !self.core.is_closed() && self.brokers.is_awaited_or(|| call.leave()) {
            let started = Instant::now();
            match self.ask(slice, count) {
                Ok(()) => self.brokers.answered(),
                Err(asked) => {
                    if !asked.is_empty() {
                        count = (count * 2).min(MOST_BROKERS);
                    }
                    self.brokers.unanswered(asked);
                    // It returns early if a connection breaks.
                    thread::sleep(PAUSE.saturating_sub(started.elapsed()));
                    slice = (slice * 2).min(LAST_SLICE);
                }
            }
        }
    }

    /// Asks for a broker.
    ///
    /// An answer of a bootstrap server is not enough: records go to the addresses that the cluster
    /// advertises. Then up to `count` of those are asked.
    ///
    /// # Errors
    ///
    /// Returns the advertised addresses that were asked.
    fn ask(&self, slice: Duration, count: usize) -> Result<(), Vec<Asked>> {
        let started = Instant::now();
        let client = self.core.client().ok_or_else(Vec::new)?;
        let mut brokers = match client.answerer(slice) {
            None => return Err(Vec::new()),
            Some(Answerer::Broker) => return Ok(()),
            Some(Answerer::Bootstrap(brokers)) => brokers,
        };
        if !brokers.is_empty() {
            // Not all clients ask the same ones.
            let random = RandomState::new().build_hasher().finish() as usize;
            let first = random % brokers.len();
            brokers.rotate_left(first);
        }
        brokers.truncate(count);
        let left = slice.saturating_sub(started.elapsed());
        if client.is_answered_by_any(brokers.iter().map(|broker| broker.id), left) {
            return Ok(());
        }
        let asked = brokers.into_iter().map(|Advertised { address, .. }| Asked {
            shown: self.core.shown(&address),
            address,
        });
        Err(asked.collect())
    }

    /// What is known of why no broker is up.
    pub(crate) fn broker_failure(&self) -> Option<KafkaError> {
        self.brokers.failure(self.core.delivered())
    }
}

/// One who waits for a broker; dropping it stops the waiting.
#[derive(Debug)]
pub(crate) struct BrokerWaiter<'s, C: ProducerContext> {
    shared: &'s Arc<Shared<C>>,
    /// How many answers there were before.
    answers: u64,
    since: Instant,
}

impl<'s, C: ProducerContext> BrokerWaiter<'s, C> {
    /// # Errors
    ///
    /// If the producer is closed, or the system has no thread to ask with.
    pub(crate) fn new(shared: &'s Arc<Shared<C>>) -> Result<Self, KafkaError> {
        let waiter = Self {
            shared,
            answers: shared.brokers.begin_waiting(),
            since: Instant::now(),
        };
        shared.ensure_probe()?;
        Ok(waiter)
    }

    /// What can be said now.
    ///
    /// # Errors
    ///
    /// Why no broker will be up.
    pub(crate) fn look(&self) -> Result<Verdict, KafkaError> {
        let Self {
            shared,
            answers,
            since,
        } = self;
        let verdict = shared
            .brokers
            .verdict(*answers, *since, shared.core.delivered());
        if verdict == Verdict::Up {
            return Ok(verdict);
        }
        shared.check_open()?;
        if verdict == Verdict::NotUp {
            return Err(shared.broker_failure().unwrap_or_else(|| {
                KafkaError::with_text(RDKafkaErrorCode::AllBrokersDown, "all brokers are down")
            }));
        }
        Ok(verdict)
    }
}

impl<C: ProducerContext> Drop for BrokerWaiter<'_, C> {
    fn drop(&mut self) {
        self.shared.brokers.stop_waiting(self.answers);
    }
}
