//! Asking whether a broker is up, on a thread, for as long as somebody waits.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::blocking::{BlockingCall, NotBegun, UnderWay};
use super::broker_state::{Advertised, Verdict};
use super::shared::Shared;
use crate::client::ProducerContext;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::Answerer;

/// How long one question waits for its answer, at first and at most. A broker that takes longer is
/// not up.
const FIRST_SLICE: Duration = Duration::from_millis(200);
const LAST_SLICE: Duration = Duration::from_secs(3);

/// The least time between two questions: at first after an answer of a bootstrap server, and
/// otherwise.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(50);

impl<C: ProducerContext> Shared<C> {
    /// Starts a thread that asks for a broker, unless one is running.
    fn ensure_probe(self: &Arc<Self>) -> Result<(), KafkaError> {
        match self.calls.begin(BlockingCall::Probe) {
            Ok(call) => {
                let shared = Arc::clone(self);
                let spawned = call.spawn(move |call| shared.probe(call));
                // Others may have come to wait for the call meanwhile.
                spawned
                    .inspect_err(|_| self.brokers.notify())
                    .map_err(KafkaError::no_thread)
            }
            Err(NotBegun::UnderWay) => Ok(()),
            Err(NotBegun::Stopped) => Err(self.core.closed_error()),
        }
    }

    fn probe(&self, mut call: UnderWay) {
        let mut slice = FIRST_SLICE;
        let mut pause = FIRST_PAUSE;
        while !self.core.is_closed() && self.brokers.has_waiters_or(|| call.leave()) {
            let started = Instant::now();
            let client = self.core.client();
            match client.and_then(|client| client.answerer(slice)) {
                Some(Answerer::Broker) => self.brokers.answered(),
                // Not enough: records go to the addresses that the cluster advertises. librdkafka
                // leaves the bootstrap servers as soon as it knows those, and connects there for
                // the next question.
                Some(Answerer::Bootstrap(addresses)) => {
                    let advertised = addresses.into_iter().map(|address| Advertised {
                        shown: self.core.shown(&address),
                        address,
                    });
                    self.brokers.bootstrap_answered(advertised);
                    thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE);
                }
                None => {
                    // It returns early if a connection breaks.
                    thread::sleep(PAUSE.saturating_sub(started.elapsed()));
                    // A waiter may have no timer of its own.
                    self.brokers.notify();
                    slice = (slice * 2).min(LAST_SLICE);
                }
            }
        }
    }

    /// What is known of why no broker is up.
    pub(crate) fn broker_failure(&self) -> Option<KafkaError> {
        self.brokers.failure(self.core.delivered())
    }

    /// What is known of why no broker answers a request for metadata.
    pub(crate) fn metadata_failure(&self) -> Option<KafkaError> {
        self.brokers.metadata_failure(self.core.delivered())
    }
}

/// A waiter for a broker. Dropping it stops the wait.
#[derive(Debug)]
pub(crate) struct BrokerWaiter<'s, C: ProducerContext> {
    shared: &'s Arc<Shared<C>>,
    /// The number of answers before.
    answers: u64,
    since: Instant,
}

impl<'s, C: ProducerContext> BrokerWaiter<'s, C> {
    pub(crate) fn new(shared: &'s Arc<Shared<C>>) -> Self {
        Self {
            shared,
            answers: shared.brokers.begin_waiting(),
            since: Instant::now(),
        }
    }

    /// What can be said now. Sees to it that a thread asks.
    ///
    /// # Errors
    ///
    /// Why no broker will be up, or that the system has no thread to ask with.
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
        shared.ensure_probe()?;
        Ok(verdict)
    }
}

impl<C: ProducerContext> Drop for BrokerWaiter<'_, C> {
    fn drop(&mut self) {
        self.shared.brokers.stop_waiting(self.answers);
    }
}
