//! Decides whether a broker is up, by the last failure of each, and notifies the waiters.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::down_brokers::{DownBrokers, broker_id_of};
use crate::client::broker_of;
use crate::error::{ConnectFailure, KafkaError, RDKafkaErrorCode};
use crate::ffi::{Event, Opaque};
use crate::sync::{Changed, Notifier, lock};

/// Grace period for the remaining brokers and addresses, after one has failed.
///
/// librdkafka reports that all brokers are down when the first address of the last one has failed,
/// and then connects to the next address.
const GRACE: Duration = Duration::from_secs(1);

/// How long the health takes failures for temporary: of all brokers, or of one whose connection
/// has broken.
const PATIENCE: Duration = Duration::from_millis(400);

/// The facility of librdkafka's log lines about brokers that have failed.
const FAILED: &str = "FAIL";

/// The largest number of brokers whose failures are kept.
const MAX_FAILURES: usize = 128;

/// The largest number of advertised addresses that are kept.
const MAX_ADVERTISED: usize = 32;

/// What is known of the brokers, and who waits for one.
#[derive(Debug, Default)]
pub(crate) struct BrokerWatch {
    state: Mutex<State>,
    /// Notifies the waiters that the verdict may have changed.
    changed: Notifier,
}

#[derive(Debug, Default)]
struct State {
    /// The last failure of each broker, since one has been up, by its address.
    failures: HashMap<String, Failure>,
    /// The addresses that the cluster advertises, if a bootstrap server has answered and no broker
    /// yet.
    advertised: Vec<Advertised>,
    /// When all were found to be down.
    all_down: Option<Instant>,
    /// How many messages had been delivered by the last failure: a later delivery disproves it.
    delivered: u64,
    /// Whether a broker has ever been up.
    has_been_up: bool,
    /// How many wait for the next answer.
    waiting: usize,
    /// How many answers there were.
    answers: u64,
    /// The brokers that fail, also while others answer. Nobody needs it but those who look at the
    /// health.
    down: DownBrokers,
}

/// An address that the cluster advertises.
#[derive(Clone, Debug)]
pub(crate) struct Advertised {
    /// `host:port`, as in librdkafka's texts.
    pub(crate) address: String,
    /// The same without secrets.
    pub(crate) shown: String,
}

/// The failure of a broker.
#[derive(Clone, Debug)]
struct Failure {
    error: KafkaError,
    /// The first failure since one has been up, if it was of another kind. A later one may only
    /// follow from it, or from a pause of this process.
    cause: Option<KafkaError>,
    /// The address without secrets, if the cluster advertises it: librdkafka knows it from a
    /// bootstrap server.
    advertised: Option<String>,
    /// Whether it does not go away by itself.
    is_lasting: bool,
    /// Whether the broker was up.
    was_up: bool,
    /// Whether a broker has answered a request for metadata since then.
    is_before_answer: bool,
    /// When it first failed, since one has been up.
    first: Instant,
    /// When it last failed; if that is lasting, when it first did so.
    at: Instant,
}

impl Failure {
    /// The failure, with the first one as its source if that was of another kind.
    fn with_cause(&self) -> KafkaError {
        self.error.clone().caused_by(self.cause.clone())
    }

    /// Returns true if a broker that was up has closed the connection since then. It does so
    /// instead of an answer if it wants a login, for example. Each broker that comes up makes
    /// librdkafka count anew how many are down.
    fn cut_off_since(&self, since: Instant) -> bool {
        self.at >= since && self.was_up
    }
}

/// What is known of the brokers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A broker is up.
    Up,
    /// No broker will be up soon.
    NotUp,
    /// Not known yet. If nothing happens, look again after this time.
    Wait(Option<Duration>),
}

impl State {
    fn forget(&mut self) {
        self.failures.clear();
        self.advertised.clear();
        self.all_down = None;
    }

    fn disprove_by_deliveries(&mut self, delivered: u64) {
        if delivered > self.delivered {
            self.delivered = delivered;
            self.has_been_up = true;
            self.forget();
        }
    }

    /// `shown` returns a text without secrets.
    fn record(
        &mut self,
        error: &KafkaError,
        text: &str,
        shown: impl FnOnce(&str) -> String,
        at: Instant,
    ) {
        match error.code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                // Without a failure before, brokers may have closed idle connections.
                let before = self.all_down.filter(|_| !self.failures.is_empty());
                self.all_down = before.or(Some(at));
            }
            Some(
                RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::BadMessage,
            ) => self.record_failure(error, text, shown, at),
            _ => {}
        }
    }

    fn record_failure(
        &mut self,
        error: &KafkaError,
        text: &str,
        shown: impl FnOnce(&str) -> String,
        at: Instant,
    ) {
        let broker = broker_of(text);
        self.down.failed(text, broker, error, at);
        let mut failure = Failure {
            error: error.clone(),
            cause: None,
            advertised: has_broker_id(text).then(|| shown(broker)),
            is_lasting: error.connect_failure().is_some_and(|failure| {
                // A broker that is being stopped looks like one with another protocol.
                let is_guess = failure == ConnectFailure::SecurityProtocol && self.has_been_up;
                failure.is_lasting() && !is_guess
            }),
            was_up: text.contains("in state UP"),
            is_before_answer: false,
            first: at,
            at,
        };
        match self.failures.get(broker) {
            Some(before) => {
                failure.first = before.first;
                let first = before.cause.as_ref().unwrap_or(&before.error);
                let kind = |error: &KafkaError| (error.code(), error.connect_failure());
                if kind(first) != kind(error) {
                    failure.cause = Some(first.clone());
                }
                if before.is_lasting && failure.is_lasting {
                    failure.at = before.at;
                }
            }
            None if self.failures.len() == MAX_FAILURES => self.drop_least_failure(),
            None => {}
        }
        self.failures.insert(broker.to_owned(), failure);
    }

    fn drop_least_failure(&mut self) {
        let by_weight = |(_, failure): &(&String, &Failure)| (failure.is_lasting, failure.at);
        let least = self.failures.iter().min_by_key(by_weight);
        if let Some(broker) = least.map(|(broker, _)| broker.clone()) {
            self.failures.remove(&broker);
        }
    }

    /// A bootstrap server has answered. That disproves what was known of the bootstrap servers, but
    /// only once: if the advertised addresses fail, librdkafka asks the bootstrap servers again and
    /// again.
    fn bootstrap_answered(&mut self, advertised: impl Iterator<Item = Advertised>) {
        if self.advertised.is_empty() {
            self.all_down = None;
            self.failures
                .retain(|_, failure| failure.advertised.is_some());
        }
        self.advertised = advertised.take(MAX_ADVERTISED).collect();
    }

    /// When all advertised addresses had failed. librdkafka does not report it reliably: it counts
    /// the bootstrap servers, too, until it has left them.
    fn all_advertised_failed(&self) -> Option<Instant> {
        let failed = |it: &Advertised| Some(self.failures.get(&it.address)?.first);
        let failed: Option<Vec<_>> = self.advertised.iter().map(failed).collect();
        failed?.into_iter().max()
    }

    /// The verdict for one who has waited since then.
    fn verdict(&self, since: Instant, now: Instant) -> Verdict {
        match self.all_failed(since).map(|at| at.max(since) + GRACE) {
            None => Verdict::Wait(None),
            Some(end) => match end.saturating_duration_since(now) {
                Duration::ZERO => Verdict::NotUp,
                left => Verdict::Wait(Some(left)),
            },
        }
    }

    /// When all brokers had failed, for one who has waited since then.
    fn all_failed(&self, since: Instant) -> Option<Instant> {
        let is_grave = |failure: &&Failure| failure.is_lasting || failure.cut_off_since(since);
        let grave = self.failures.values().filter(is_grave);
        let grave = grave.map(|failure| failure.at).min();
        let is_known = |at: &Instant| *at >= since || !self.failures.is_empty();
        let all_down = self.all_down.filter(is_known);
        let all_failed = [grave, all_down, self.all_advertised_failed()];
        all_failed.into_iter().flatten().min()
    }

    /// When the health of one who waits since then turns to failing. A failure that does not go
    /// away by itself is told at once.
    fn failing_at(&self, since: Instant) -> Option<Instant> {
        // A broker that is being stopped looks like one with another protocol.
        let is_sure = |it: &&Failure| {
            let failure = it.error.connect_failure();
            it.is_lasting && failure != Some(ConnectFailure::SecurityProtocol)
        };
        let lasting = self.failures.values().filter(is_sure);
        let lasting = lasting.map(|it| it.at).min();
        let others = self.all_failed(since).map(|at| at.max(since) + PATIENCE);
        [lasting, others].into_iter().flatten().min()
    }

    /// The failure that says the most.
    fn reason(&self) -> Option<KafkaError> {
        let weight = |failure: &&Failure| (failure.is_lasting, failure.at);
        if !self.advertised.is_empty() {
            let failure = |advertised: &Advertised| self.failures.get(&advertised.address);
            let failures = self.advertised.iter().filter_map(failure);
            let cause = failures.max_by_key(weight);
            let addresses = self.advertised.iter().map(|it| it.shown.as_str());
            let cause = cause.map(Failure::with_cause);
            return Some(KafkaError::advertised(addresses, cause));
        }
        let failure = self.failures.values().max_by_key(weight)?;
        let error = failure.with_cause();
        // The probe may have missed the answer of the bootstrap server: librdkafka asks, too.
        let is_advertised = |failure: &Failure| failure.advertised.is_some();
        if self.has_been_up || !self.failures.values().all(is_advertised) {
            return Some(error);
        }
        let addresses = self.failures.values();
        let addresses = addresses.filter_map(|failure| failure.advertised.as_deref());
        Some(KafkaError::advertised(addresses, Some(error)))
    }
}

impl BrokerWatch {
    /// Records an event that is about brokers. `error` returns the error of a code and a text, and
    /// `shown` a text without secrets.
    pub(crate) fn record<O: Opaque>(
        &self,
        event: &Event<O>,
        delivered: u64,
        error: impl FnOnce(i32, &str) -> KafkaError,
        shown: impl FnOnce(&str) -> String,
    ) {
        let (code, text) = match event {
            Event::Error { code, text, .. } => (*code, text.as_str()),
            // A failure that librdkafka takes for less than an error shows in its log line alone.
            // The lines of level debug repeat the others, without their code.
            Event::Log {
                level,
                facility,
                text,
            } if facility == FAILED && (4..7).contains(level) => {
                let thread_and_text = text.split_once("]: ");
                let text = thread_and_text.map_or(text.as_str(), |(_, text)| text);
                (RDKafkaErrorCode::BrokerTransportFailure.raw(), text)
            }
            _ => return,
        };
        let error = error(code, text);
        let mut state = lock(&self.state);
        state.disprove_by_deliveries(delivered);
        state.record(&error, text, shown, Instant::now());
    }

    /// Wakes the waiters, which then ask for the verdict again.
    pub(crate) fn notify(&self) {
        self.changed.notify();
    }

    /// Resolves at the next [`notify`](Self::notify) after this call, also if it is polled later.
    pub(crate) fn changed(&self) -> Changed<'_> {
        self.changed.changed()
    }

    /// Begins to wait for an answer. Returns the number of answers so far.
    pub(crate) fn begin_waiting(&self) -> u64 {
        let mut state = lock(&self.state);
        state.waiting += 1;
        state.answers
    }

    /// Stops waiting for the answer after number `answers`.
    pub(crate) fn stop_waiting(&self, answers: u64) {
        let mut state = lock(&self.state);
        if state.answers == answers {
            state.waiting -= 1;
        }
    }

    /// Returns the verdict for a waiter for the answer after number `answers`.
    pub(crate) fn verdict(&self, answers: u64, since: Instant, delivered: u64) -> Verdict {
        let mut state = lock(&self.state);
        if state.answers != answers {
            return Verdict::Up;
        }
        state.disprove_by_deliveries(delivered);
        state.verdict(since, Instant::now())
    }

    /// Records that a broker has answered.
    pub(crate) fn answered(&self) {
        {
            let mut state = lock(&self.state);
            state.answers += 1;
            state.waiting = 0;
            state.has_been_up = true;
            state.forget();
        }
        self.notify();
    }

    /// A bootstrap server has answered, which is none of the brokers.
    pub(crate) fn bootstrap_answered(&self, advertised: impl Iterator<Item = Advertised>) {
        lock(&self.state).bootstrap_answered(advertised);
        self.notify();
    }

    /// A broker, or a bootstrap server, has answered a request for metadata. The failures before it do
    /// not explain why a later one gets no answer. They may still be why records are not delivered.
    pub(crate) fn metadata_answered(&self) {
        let mut state = lock(&self.state);
        let failures = state.failures.values_mut();
        failures.for_each(|failure| failure.is_before_answer = true);
    }

    /// The failure that says the most about why no broker answers a request for metadata.
    pub(crate) fn metadata_failure(&self, delivered: u64) -> Option<KafkaError> {
        let mut state = lock(&self.state);
        state.disprove_by_deliveries(delivered);
        let mut failures = state.failures.values();
        let may_explain =
            state.failures.is_empty() || failures.any(|failure| !failure.is_before_answer);
        may_explain.then(|| state.reason()).flatten()
    }

    /// Calls `leave` if nobody waits for an answer; whether somebody does.
    pub(crate) fn has_waiters_or(&self, leave: impl FnOnce()) -> bool {
        let state = lock(&self.state);
        let is_awaited = state.waiting > 0;
        if !is_awaited {
            leave();
        }
        is_awaited
    }

    /// Returns true if a broker has answered or taken a record, and none has failed since.
    pub(crate) fn is_known_up(&self, delivered: u64) -> bool {
        let mut state = lock(&self.state);
        state.disprove_by_deliveries(delivered);
        state.has_been_up && state.all_down.is_none() && state.failures.is_empty()
    }

    /// Returns the reason why no broker is up, for one who has waited since then, or for how long
    /// nothing is to be said.
    pub(crate) fn failing(&self, since: Instant) -> Result<Option<KafkaError>, Option<Duration>> {
        let state = lock(&self.state);
        let at = state.failing_at(since).ok_or(None)?;
        match at.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Ok(state.reason()),
            left => Err(Some(left)),
        }
    }

    /// Calls `look` with the brokers that fail.
    pub(crate) fn down<T>(&self, look: impl FnOnce(&mut DownBrokers) -> T) -> T {
        look(&mut lock(&self.state).down)
    }

    /// The failure that says the most, unless a message was delivered since then.
    pub(crate) fn failure(&self, delivered: u64) -> Option<KafkaError> {
        let mut state = lock(&self.state);
        state.disprove_by_deliveries(delivered);
        state.reason()
    }
}

/// Whether a text is about a broker with an id.
fn has_broker_id(text: &str) -> bool {
    broker_id_of(text).is_some()
}

#[cfg(test)]
mod tests;
