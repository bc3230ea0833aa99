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
    /// When it first failed, since one has been up.
    first: Instant,
    /// When it last failed; if that is lasting, when it first did so.
    at: Instant,
}

impl Failure {
    /// The failure, with the first one as its source if that was of another kind.
    fn with_cause(&self) -> KafkaError {
        match &self.cause {
            Some(cause) => self.error.clone().caused_by(cause.clone()),
            None => self.error.clone(),
        }
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

    /// Calls `leave` if nobody waits for an answer; whether somebody does.
    pub(crate) fn has_waiters_or(&self, leave: impl FnOnce()) -> bool {
        let state = lock(&self.state);
        let is_awaited = state.waiting > 0;
        if !is_awaited {
            leave();
        }
        is_awaited
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
mod tests {
    use super::*;
    use crate::client::client_error;
    use crate::ffi::Completer;

    const REFUSED: &str = "a:1/bootstrap: Connect to a:1 failed: Connection refused";
    const REFUSED_BY_B: &str = "b:1/bootstrap: Connect to b:1 failed: Connection refused";
    const NOT_LET_IN: &str = "a:1/bootstrap: SASL authentication error";

    impl State {
        fn fail(&mut self, code: RDKafkaErrorCode, text: &str, at: Instant) {
            let error = client_error(code.raw(), text, text, |_| None);
            self.record(&error, text, str::to_owned, at);
        }

        fn refuse(&mut self, text: &str, at: Instant) {
            self.fail(RDKafkaErrorCode::BrokerTransportFailure, text, at);
        }

        fn all_down(&mut self, at: Instant) {
            self.fail(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down", at);
        }
    }

    fn soon(left: Duration) -> Verdict {
        Verdict::Wait(Some(left))
    }

    #[test]
    fn all_down_while_asking_is_the_end_after_the_grace_period() {
        let start = Instant::now();
        let mut state = State::default();
        assert_eq!(state.verdict(start, start), Verdict::Wait(None));
        state.refuse(REFUSED, start);
        let later = start + GRACE * 10;
        assert_eq!(state.verdict(start, later), Verdict::Wait(None));
        state.all_down(start);
        assert_eq!(state.verdict(start, start), soon(GRACE));
        assert_eq!(state.verdict(start, start + GRACE), Verdict::NotUp);
        // Without a reason.
        let mut state = State::default();
        state.all_down(start);
        assert_eq!(state.verdict(start, start), soon(GRACE));
        assert_eq!(state.verdict(start, start + GRACE), Verdict::NotUp);
    }

    /// The events of a name with two addresses: the first refuses, the second may.
    #[test]
    fn the_first_address_of_the_only_name_does_not_decide() {
        let first = "localhost:9092/bootstrap: Connect to ipv6#[::1]:9092 failed: Connection \
                     refused (after 0ms in state CONNECT)";
        let second = "localhost:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection \
                      refused (after 0ms in state CONNECT)";
        let watch = BrokerWatch::default();
        let (start, answers) = (Instant::now(), watch.begin_waiting());
        {
            let mut state = lock(&watch.state);
            state.refuse(first, start);
            state.all_down(start);
            let connected = start + Duration::from_millis(3);
            assert_eq!(
                state.verdict(start, connected),
                soon(GRACE - (connected - start))
            );
        }
        watch.answered();
        assert_eq!(watch.verdict(answers, start, 0), Verdict::Up);
        assert!(watch.failure(0).is_none());

        // Both refuse, in turn: librdkafka reports each, and only once that all are down.
        let mut state = State::default();
        state.refuse(first, start);
        state.all_down(start);
        for (attempt, text) in [second, first, second].into_iter().enumerate() {
            state.refuse(text, start + GRACE / 4 * attempt as u32);
        }
        assert_eq!(state.verdict(start, start + GRACE), Verdict::NotUp);
        let reason = state.reason().unwrap();
        assert_eq!(reason.connect_failure(), Some(ConnectFailure::Refused));
    }

    #[test]
    fn what_was_so_before_has_some_time_to_be_belied() {
        let start = Instant::now();
        let asking = start + GRACE * 100;
        let mut state = State::default();
        state.all_down(start);
        // Without a reason.
        assert_eq!(state.verdict(asking, asking + GRACE), Verdict::Wait(None));
        state.refuse(REFUSED, start);
        assert_eq!(state.verdict(asking, asking), soon(GRACE));
        assert_eq!(state.verdict(asking, asking + GRACE), Verdict::NotUp);
        state.disprove_by_deliveries(1);
        assert_eq!(state.verdict(asking, asking + GRACE), Verdict::Wait(None));
        assert!(state.reason().is_none());
    }

    #[test]
    fn what_lasts_is_not_put_off_by_being_repeated() {
        let start = Instant::now();
        let mut state = State::default();
        state.fail(RDKafkaErrorCode::Authentication, NOT_LET_IN, start);
        assert_eq!(state.verdict(start, start), soon(GRACE));
        let later = start + GRACE / 2;
        state.fail(RDKafkaErrorCode::Authentication, NOT_LET_IN, later);
        state.refuse(REFUSED_BY_B, later);
        assert_eq!(state.verdict(start, later), soon(GRACE / 2));
        let reason = state.reason().unwrap().to_string();
        assert!(reason.starts_with(NOT_LET_IN), "{reason}");
        // It was up.
        let cut_off = "b:1/bootstrap: Disconnected (after 2ms in state UP)";
        state.refuse(cut_off, later);
        state.refuse(REFUSED, later);
        assert_eq!(state.verdict(start, later), soon(GRACE));
        let asking = later + GRACE;
        assert_eq!(
            state.verdict(asking, later + GRACE * 9),
            Verdict::Wait(None)
        );
        state.refuse(REFUSED_BY_B, later);
        // The same broker, another failure.
        state.refuse(REFUSED, later);
        assert_eq!(state.verdict(start, start + GRACE), Verdict::Wait(None));
    }

    /// The events of a bootstrap server that answers and an advertised address that refuses: when
    /// it has refused, librdkafka asks the bootstrap server again.
    #[test]
    fn an_answer_of_a_bootstrap_server_is_not_enough() {
        let start = Instant::now();
        let mut state = State::default();
        let answered = |state: &mut State| {
            let advertised = ["a:1", "b:1", "c:1", "d:1"].map(|address| Advertised {
                address: address.to_owned(),
                shown: address.to_owned(),
            });
            state.bootstrap_answered(advertised.into_iter());
        };
        // The first address of the bootstrap server.
        state.refuse("boot:1/bootstrap: Connection refused", start);
        state.all_down(start);
        answered(&mut state);
        let later = start + GRACE * 9;
        assert_eq!(state.verdict(start, later), Verdict::Wait(None));
        let text = state.reason().unwrap().to_string();
        assert!(text.contains("a:1, b:1, c:1, …"), "{text}");
        assert!(text.contains("advertised.listeners"), "{text}");

        state.refuse("b:1/2: Connect to b:1 failed: Connection refused", later);
        assert_eq!(state.verdict(start, later), Verdict::Wait(None));
        for address in ["a:1", "c:1", "d:1"] {
            state.refuse(&format!("{address}/1: Connection refused"), later);
        }
        for round in 0..4 {
            let at = later + GRACE / 4 * round;
            assert_eq!(state.verdict(start, at), soon(GRACE / 4 * (4 - round)));
            // Neither of these puts it off.
            state.refuse("b:1/2: Connect to ipv4#b:1 failed: Connection refused", at);
            state.all_down(at);
            answered(&mut state);
        }
        assert_eq!(state.verdict(start, later + GRACE), Verdict::NotUp);
        let reason = state.reason().unwrap();
        assert_eq!(reason.connect_failure(), Some(ConnectFailure::Refused));
        assert!(reason.to_string().contains("c:1, …"), "{reason}");
        let source = std::error::Error::source(&reason).unwrap().to_string();
        assert!(source.starts_with("b:1/2: "), "{source}");
        assert!(!reason.to_string().contains(&source), "{reason}");
    }

    #[test]
    fn an_advertised_address_is_told_by_the_id_of_its_broker() {
        let start = Instant::now();
        let refused = "ssl://a:1/12: Connect to a:1 failed: Connection refused";
        let mut state = State::default();
        state.refuse(refused, start);
        let text = state.reason().unwrap().to_string();
        assert!(text.contains("advertises: a:1;"), "{text}");
        // A bootstrap server fails as well, so it may be that no server is up.
        state.refuse(REFUSED_BY_B, start);
        let is_plain = |state: &State| !state.reason().unwrap().to_string().contains("advertises");
        assert!(is_plain(&state));
        // A broker that was up has gone away.
        state.disprove_by_deliveries(1);
        state.refuse(refused, start);
        assert!(is_plain(&state));
    }

    #[test]
    fn a_debug_line_repeats_a_failure_and_does_not_replace_it() {
        let watch = BrokerWatch::default();
        let record = |event: Event<Completer<(), ()>>| {
            let error = |code, text: &str| client_error(code, text, text, |_| None);
            watch.record(&event, 0, error, str::to_owned);
            watch.failure(0)
        };
        let log = |level| Event::Log {
            level,
            facility: FAILED.to_owned(),
            text: format!("[thrd:a:1/bootstrap]: {NOT_LET_IN} (_AUTHENTICATION)"),
        };
        assert!(record(log(7)).is_none());
        let refused = Event::Error {
            code: RDKafkaErrorCode::Authentication.raw(),
            text: NOT_LET_IN.to_owned(),
            is_fatal: false,
        };
        record(refused);
        let failure = record(log(7)).unwrap();
        assert_eq!(failure.code(), Some(RDKafkaErrorCode::Authentication));
        let later = record(log(6)).unwrap();
        assert_eq!(later.code(), Some(RDKafkaErrorCode::BrokerTransportFailure));
    }

    #[test]
    fn the_failures_are_bounded_and_the_lasting_ones_kept() {
        let start = Instant::now();
        let mut state = State::default();
        state.fail(RDKafkaErrorCode::Authentication, NOT_LET_IN, start);
        for broker in 0..MAX_FAILURES * 2 {
            let text = format!("host-{broker}:1/{broker}: Connection refused");
            state.refuse(&text, start + Duration::from_millis(broker as u64));
        }
        assert_eq!(state.failures.len(), MAX_FAILURES);
        assert!(state.failures["a:1"].is_lasting);
        let last = format!("host-{}:1", MAX_FAILURES * 2 - 1);
        assert!(state.failures.contains_key(&last));
    }
}
