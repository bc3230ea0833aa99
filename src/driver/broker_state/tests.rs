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
