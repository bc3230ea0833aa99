//! Whether a broker is up: the last error of each, and who waits for one that is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time;

use crate::connect_failure::{broker_of, client_error};
use crate::context::ProducerContext;
use crate::driver::Shared;
use crate::error::KafkaError;
use crate::error_code::RDKafkaErrorCode;
use crate::ffi::{Event, Opaque, catch_panic};
use crate::lane;
use crate::sync::lock;

/// How long a broker has to come up although another, or itself, has failed before.
const GRACE: Duration = Duration::from_secs(1);

/// How long one question waits for its answer: at first, and at the most. A broker that takes longer
/// is not up.
const FIRST_SLICE: Duration = Duration::from_millis(200);
const LAST_SLICE: Duration = Duration::from_secs(1);

/// How much time there is at the least between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// The facility of librdkafka's log lines about brokers that have failed.
const FAILED: &str = "FAIL";

/// What is known of the brokers, and who waits for one.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    state: Mutex<State>,
    /// Tells those who wait that there may be something new.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The last failure of each broker, since one has been up.
    failures: HashMap<String, Failure>,
    /// When all were found to be down.
    all_down: Option<Instant>,
    /// How many messages had been delivered by the last failure: a later delivery belies it.
    delivered: u64,
    /// Whether a thread asks for a broker.
    asking: bool,
    /// How many wait for the next answer.
    waiting: usize,
    /// How many answers there were.
    answers: u64,
}

#[derive(Debug)]
struct Failure {
    code: i32,
    /// librdkafka's, which may contain values of the configuration.
    text: String,
    /// Whether it does not go away by itself.
    is_lasting: bool,
    at: Instant,
}

impl Failure {
    /// Whether a broker that was up has closed the connection since then, mostly instead of an answer:
    /// where it wants a login, say. Each that comes up makes librdkafka count anew how many are down.
    fn cut_off_since(&self, since: Instant) -> bool {
        self.at >= since && self.text.contains("in state UP")
    }
}

/// What can be said of the brokers.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    NotUp,
    /// Not yet; where nothing happens, ask again after this time.
    Wait(Option<Duration>),
}

impl State {
    fn forget(&mut self) {
        self.failures.clear();
        self.all_down = None;
    }

    fn believe_deliveries(&mut self, delivered: u64) {
        if delivered > self.delivered {
            self.delivered = delivered;
            self.forget();
        }
    }

    fn note(&mut self, code: RDKafkaErrorCode, text: &str, at: Instant) {
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
                self.failures.insert(broker.to_owned(), failure);
            }
            _ => {}
        }
    }

    /// For one who has waited since then.
    fn verdict(&self, since: Instant, now: Instant) -> Verdict {
        if self.all_down.is_some_and(|at| at >= since) {
            return Verdict::NotUp;
        }
        let is_grave = |failure: &&Failure| failure.is_lasting || failure.cut_off_since(since);
        let grave = self.failures.values().filter(is_grave);
        let grave = grave.map(|failure| failure.at).min();
        // Without a reason it may be that brokers closed idle connections.
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

impl Ready {
    /// Takes note of an event that is about brokers.
    pub(crate) fn note<O: Opaque>(&self, event: &Event<O>, delivered: u64) {
        let (code, text) = match event {
            Event::Error { code, text, .. } => (RDKafkaErrorCode::from(*code), text.as_str()),
            // Of a failure that librdkafka takes for less than an error, its log line tells alone.
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
        state.believe_deliveries(delivered);
        state.note(code, text, Instant::now());
    }

    /// Has those who wait look again.
    pub(crate) fn tell(&self) {
        // It calls wakers, which may panic; see `wake`.
        let _ = catch_panic(|| self.changed.notify_waiters());
    }

    /// Whether a thread asks for a broker.
    pub(crate) fn is_asking(&self) -> bool {
        lock(&self.state).asking
    }
}

impl<C: ProducerContext> Shared<C> {
    /// Waits until a broker is up, or it is known that none comes up.
    pub(crate) async fn ready(self: &Arc<Self>, timeout: Duration) -> Result<(), KafkaError> {
        self.check_open()?;
        let waiting = Waiting::begin(self)?;
        match time::timeout(timeout, waiting.ended()).await {
            Ok(result) => result,
            Err(_) => Err(KafkaError::not_ready(timeout, self.failure_of_a_broker())),
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), KafkaError> {
        self.core.check_fatal()?;
        if self.core.is_closed() {
            return Err(KafkaError::closed());
        }
        Ok(())
    }

    fn failure_of_a_broker(&self) -> Option<KafkaError> {
        let state = lock(&self.ready.state);
        let failure = state.reason()?;
        Some(self.core.client_error(failure.code, &failure.text))
    }

    /// Asks for a broker for as long as somebody waits for one. Blocks.
    fn ask(&self) {
        let mut slice = FIRST_SLICE;
        while self.is_to_ask() {
            let started = Instant::now();
            let client = self.core.client();
            if client.is_some_and(|client| client.is_answered(slice)) {
                {
                    let mut state = lock(&self.ready.state);
                    state.answers += 1;
                    state.waiting = 0;
                    state.forget();
                }
                self.ready.tell();
            } else {
                // It returns early where a connection breaks.
                thread::sleep(PAUSE.saturating_sub(started.elapsed()));
                slice = (slice * 2).min(LAST_SLICE);
            }
        }
        // It may wait for this to come to its end.
        self.wake();
    }

    fn is_to_ask(&self) -> bool {
        let mut state = lock(&self.ready.state);
        let is_to_ask = state.waiting > 0 && !self.core.is_closed();
        if !is_to_ask {
            state.asking = false;
        }
        is_to_ask
    }
}

/// One who waits for a broker; dropping it stops the waiting.
struct Waiting<'s, C: ProducerContext> {
    shared: &'s Arc<Shared<C>>,
    /// How many answers there were before.
    answers: u64,
    since: Instant,
}

impl<'s, C: ProducerContext> Waiting<'s, C> {
    fn begin(shared: &'s Arc<Shared<C>>) -> Result<Self, KafkaError> {
        let mut state = lock(&shared.ready.state);
        if !state.asking {
            let asker = Arc::clone(shared);
            lane::spawn(move || asker.ask()).map_err(KafkaError::no_thread)?;
            // The thread looks at it under the lock.
            state.asking = true;
        }
        state.waiting += 1;
        let answers = state.answers;
        drop(state);
        let since = Instant::now();
        Ok(Self {
            shared,
            answers,
            since,
        })
    }

    async fn ended(&self) -> Result<(), KafkaError> {
        loop {
            // Told from here on, also before it is polled.
            let changed = self.shared.ready.changed.notified();
            match self.look()? {
                None => return Ok(()),
                Some(Verdict::NotUp) => return Err(self.not_up()),
                Some(Verdict::Wait(None)) => changed.await,
                Some(Verdict::Wait(Some(left))) => {
                    // Either way it is looked at again.
                    let _ = time::timeout(left, changed).await;
                }
            }
        }
    }

    /// `None`: a broker is up.
    fn look(&self) -> Result<Option<Verdict>, KafkaError> {
        let mut state = lock(&self.shared.ready.state);
        if state.answers != self.answers {
            return Ok(None);
        }
        self.shared.check_open()?;
        state.believe_deliveries(self.shared.core.delivered());
        Ok(Some(state.verdict(self.since, Instant::now())))
    }

    fn not_up(&self) -> KafkaError {
        self.shared.failure_of_a_broker().unwrap_or_else(|| {
            KafkaError::with_text(RDKafkaErrorCode::AllBrokersDown, "all brokers are down")
        })
    }
}

impl<C: ProducerContext> Drop for Waiting<'_, C> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.ready.state);
        if state.answers == self.answers {
            state.waiting -= 1;
        }
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
        state.note(RDKafkaErrorCode::BrokerTransportFailure, REFUSED, start);
        let later = start + GRACE * 10;
        assert_eq!(state.verdict(start, later), Verdict::Wait(None));
        state.note(RDKafkaErrorCode::AllBrokersDown, "1/1", start);
        assert_eq!(state.verdict(start, start), Verdict::NotUp);
    }

    #[test]
    fn what_was_so_before_has_some_time_to_be_belied() {
        let start = Instant::now();
        let asking = start + GRACE * 100;
        let mut state = State::default();
        state.note(RDKafkaErrorCode::AllBrokersDown, "1/1", start);
        // Without a reason.
        assert_eq!(state.verdict(asking, asking + GRACE), Verdict::Wait(None));
        state.note(RDKafkaErrorCode::BrokerTransportFailure, REFUSED, start);
        assert_eq!(state.verdict(asking, asking), soon(GRACE));
        assert_eq!(state.verdict(asking, asking + GRACE), Verdict::NotUp);
        state.believe_deliveries(1);
        assert_eq!(state.verdict(asking, asking + GRACE), Verdict::Wait(None));
        assert!(state.reason().is_none());
    }

    #[test]
    fn what_lasts_is_not_put_off_by_being_repeated() {
        let start = Instant::now();
        let mut state = State::default();
        state.note(RDKafkaErrorCode::Authentication, NOT_LET_IN, start);
        assert_eq!(state.verdict(start, start), soon(GRACE));
        let later = start + GRACE / 2;
        state.note(RDKafkaErrorCode::Authentication, NOT_LET_IN, later);
        state.note(
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
        state.note(RDKafkaErrorCode::BrokerTransportFailure, cut_off, later);
        state.note(RDKafkaErrorCode::BrokerTransportFailure, REFUSED, later);
        assert_eq!(state.verdict(start, later), soon(GRACE));
        let asking = later + GRACE;
        assert_eq!(
            state.verdict(asking, later + GRACE * 9),
            Verdict::Wait(None)
        );
        state.note(
            RDKafkaErrorCode::BrokerTransportFailure,
            REFUSED_BY_B,
            later,
        );
        // The same broker, another failure.
        state.note(RDKafkaErrorCode::BrokerTransportFailure, REFUSED, later);
        assert_eq!(state.verdict(start, start + GRACE), Verdict::Wait(None));
    }
}
