//! Decides whether a broker is up, by the last failure of each, and notifies the waiters.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::client::{broker_of, client_error};
use crate::error::RDKafkaErrorCode;
use crate::ffi::{Event, Opaque};
use crate::sync::{Changed, Notifier, lock};

/// Grace period for the remaining brokers, or the same one, after one has failed.
const GRACE: Duration = Duration::from_secs(1);

/// How many brokers have their failure kept. Brokers may come and go under ever new names.
const MAX_FAILURES: usize = 1000;

/// The facility of librdkafka's log lines about brokers that have failed.
const FAILED: &str = "FAIL";

/// What is known of the brokers, and who waits for one.
#[derive(Debug, Default)]
pub(crate) struct BrokerWatch {
    state: Mutex<State>,
    /// Notifies the waiters that the verdict may have changed.
    changed: Notifier,
}

#[derive(Debug, Default)]
struct State {
    /// The last failure of each broker, since one has been up.
    failures: HashMap<String, Failure>,
    /// When all were found to be down.
    all_down: Option<Instant>,
    /// How many messages had been delivered by the last failure: a later delivery disproves it.
    delivered: u64,
    /// How many wait for the next answer.
    waiting: usize,
    /// How many answers there were.
    answers: u64,
}

/// The failure of a broker.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    /// librdkafka's, which may contain values of the configuration.
    pub(crate) text: String,
    /// Whether it does not go away by itself.
    is_lasting: bool,
    at: Instant,
}

impl Failure {
    /// Returns true if a broker that was up has closed the connection since then. It does so
    /// instead of an answer if it wants a login, for example. Each broker that comes up makes
    /// librdkafka count anew how many are down.
    fn cut_off_since(&self, since: Instant) -> bool {
        self.at >= since && self.text.contains("in state UP")
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
        self.all_down = None;
    }

    fn disprove_by_deliveries(&mut self, delivered: u64) {
        if delivered > self.delivered {
            self.delivered = delivered;
            self.forget();
        }
    }

    fn record(&mut self, code: RDKafkaErrorCode, text: &str, at: Instant) {
        match code {
            RDKafkaErrorCode::AllBrokersDown => self.all_down = Some(at),
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SSL
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::BrokerTransportFailure => {
                let failure = client_error(code.raw(), text, text, |_| None).connect_failure();
                let is_lasting = failure.is_some_and(|failure| failure.is_lasting());
                let broker = broker_of(text);
                let before = self.failures.get(broker);
                let at = match before {
                    Some(before) if before.is_lasting && is_lasting => before.at,
                    _ => at,
                };
                let failure = Failure {
                    code: code.raw(),
                    text: text.to_owned(),
                    is_lasting,
                    at,
                };
                if before.is_none() && self.failures.len() >= MAX_FAILURES {
                    self.forget_oldest();
                }
                self.failures.insert(broker.to_owned(), failure);
            }
            _ => {}
        }
    }

    #[cold]
    fn forget_oldest(&mut self) {
        let oldest = self.failures.iter().min_by_key(|(_, failure)| failure.at);
        if let Some(broker) = oldest.map(|(broker, _)| broker.clone()) {
            self.failures.remove(&broker);
        }
    }

    /// The verdict for one who has waited since then.
    fn verdict(&self, since: Instant, now: Instant) -> Verdict {
        if self.all_down.is_some_and(|at| at >= since) {
            return Verdict::NotUp;
        }
        let is_grave = |failure: &&Failure| failure.is_lasting || failure.cut_off_since(since);
        let grave = self.failures.values().filter(is_grave);
        let grave = grave.map(|failure| failure.at).min();
        // Without a failure, brokers may have closed idle connections.
        let all_down = self.all_down.filter(|_| !self.failures.is_empty());
        match [grave, all_down].into_iter().flatten().min() {
            None => Verdict::Wait(None),
            Some(at) => match (at.max(since) + GRACE).saturating_duration_since(now) {
                Duration::ZERO => Verdict::NotUp,
                left => Verdict::Wait(Some(left)),
            },
        }
    }

    /// The failure that says the most.
    fn reason(&self) -> Option<&Failure> {
        let failures = self.failures.values();
        failures.max_by_key(|failure| (failure.is_lasting, failure.at))
    }
}

impl BrokerWatch {
    /// Records an event that is about brokers.
    pub(crate) fn record<O: Opaque>(&self, event: &Event<O>, delivered: u64) {
        let (code, text) = match event {
            Event::Error { code, text, .. } => (RDKafkaErrorCode::from(*code), text.as_str()),
            // A failure that librdkafka takes for less than an error shows in its log line alone.
            Event::Log {
                level,
                facility,
                text,
            } if facility == FAILED && *level > 3 => {
                let thread_and_text = text.split_once("]: ");
                let text = thread_and_text.map_or(text.as_str(), |(_, text)| text);
                (RDKafkaErrorCode::BrokerTransportFailure, text)
            }
            _ => return,
        };
        let mut state = lock(&self.state);
        state.disprove_by_deliveries(delivered);
        state.record(code, text, Instant::now());
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
            state.forget();
        }
        self.notify();
    }

    /// Calls `leave` if nobody waits for an answer; whether somebody does.
    pub(crate) fn is_awaited_or(&self, leave: impl FnOnce()) -> bool {
        let state = lock(&self.state);
        let is_awaited = state.waiting > 0;
        if !is_awaited {
            leave();
        }
        is_awaited
    }

    /// The failure that says the most.
    pub(crate) fn failure(&self) -> Option<Failure> {
        lock(&self.state).reason().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "a:1/bootstrap: Connect to a:1 failed: Connection refused";
    const REFUSED_BY_B: &str = "b:1/bootstrap: Connect to b:1 failed: Connection refused";
    const NOT_LET_IN: &str = "a:1/bootstrap: SASL authentication error";

    fn soon(left: Duration) -> Verdict {
        Verdict::Wait(Some(left))
    }

    #[test]
    fn all_down_while_asking_is_the_end() {
        let start = Instant::now();
        let mut state = State::default();
        assert_eq!(state.verdict(start, start), Verdict::Wait(None));
        state.record(RDKafkaErrorCode::BrokerTransportFailure, REFUSED, start);
        let later = start + GRACE * 10;
        assert_eq!(state.verdict(start, later), Verdict::Wait(None));
        state.record(RDKafkaErrorCode::AllBrokersDown, "1/1", start);
        assert_eq!(state.verdict(start, start), Verdict::NotUp);
    }

    #[test]
    fn what_was_so_before_has_some_time_to_be_belied() {
        let start = Instant::now();
        let asking = start + GRACE * 100;
        let mut state = State::default();
        state.record(RDKafkaErrorCode::AllBrokersDown, "1/1", start);
        // Without a reason.
        assert_eq!(state.verdict(asking, asking + GRACE), Verdict::Wait(None));
        state.record(RDKafkaErrorCode::BrokerTransportFailure, REFUSED, start);
        assert_eq!(state.verdict(asking, asking), soon(GRACE));
        assert_eq!(state.verdict(asking, asking + GRACE), Verdict::NotUp);
        state.disprove_by_deliveries(1);
        assert_eq!(state.verdict(asking, asking + GRACE), Verdict::Wait(None));
        assert!(state.reason().is_none());
    }

    #[test]
    fn the_failures_of_brokers_that_come_and_go_are_bounded() {
        let start = Instant::now();
        let mut state = State::default();
        for number in 0..2 * MAX_FAILURES {
            let text = format!("b{number}:1/{number}: Connect to b{number}:1 failed");
            let at = start + Duration::from_millis(number as u64);
            state.record(RDKafkaErrorCode::BrokerTransportFailure, &text, at);
        }
        assert_eq!(state.failures.len(), MAX_FAILURES);
        let oldest = state.failures.values().map(|it| it.at).min();
        assert_eq!(oldest, Some(start + Duration::from_secs(1)));
    }

    #[test]
    fn what_lasts_is_not_put_off_by_being_repeated() {
        let start = Instant::now();
        let mut state = State::default();
        state.record(RDKafkaErrorCode::Authentication, NOT_LET_IN, start);
        assert_eq!(state.verdict(start, start), soon(GRACE));
        let later = start + GRACE / 2;
        state.record(RDKafkaErrorCode::Authentication, NOT_LET_IN, later);
        state.record(
            RDKafkaErrorCode::BrokerTransportFailure,
            REFUSED_BY_B,
            later,
        );
        assert_eq!(state.verdict(start, later), soon(GRACE / 2));
        assert_eq!(
            state.reason().map(|failure| &*failure.text),
            Some(NOT_LET_IN)
        );
        // It was up.
        let cut_off = "b:1/bootstrap: Disconnected (after 2ms in state UP)";
        state.record(RDKafkaErrorCode::BrokerTransportFailure, cut_off, later);
        state.record(RDKafkaErrorCode::BrokerTransportFailure, REFUSED, later);
        assert_eq!(state.verdict(start, later), soon(GRACE));
        let asking = later + GRACE;
        assert_eq!(
            state.verdict(asking, later + GRACE * 9),
            Verdict::Wait(None)
        );
        state.record(
            RDKafkaErrorCode::BrokerTransportFailure,
            REFUSED_BY_B,
            later,
        );
        // The same broker, another failure.
        state.record(RDKafkaErrorCode::BrokerTransportFailure, REFUSED, later);
        assert_eq!(state.verdict(start, start + GRACE), Verdict::Wait(None));
    }
}
