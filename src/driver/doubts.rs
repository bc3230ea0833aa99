//! Why the next transaction needs another epoch than the last one had.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::{Event, Opaque};
use crate::sync::lock;

/// librdkafka reports the same failure of a connection again only after 30 s
/// (`rd_kafka_broker_set_error`).
const UNREPORTED: Duration = Duration::from_secs(31);

/// A request is sent again after `retry.backoff.ms`, 100 ms by default, less a fifth. A transaction
/// that took less than this has sent none again.
const SHORTEST_RETRY: Duration = Duration::from_millis(20);

/// What has happened under the current epoch. A request may reach its broker late, and would then
/// count for a later transaction of the same epoch. A refused record leaves a gap in the sequence
/// numbers.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The first event of this epoch that calls for another one.
    reason: Option<KafkaError>,
    /// When a connection was last reported as broken.
    broken: Option<Instant>,
    /// When the last transaction began.
    began: Option<Instant>,
    /// How often another epoch has begun.
    renewals: u64,
}

impl Doubts {
    /// Records an event that calls for another epoch.
    #[cold]
    pub(crate) fn record(&self, reason: &KafkaError) {
        lock(&self.state)
            .reason
            .get_or_insert_with(|| reason.clone());
    }

    /// Records that a connection has broken or that requests have timed out, if the event says so.
    pub(super) fn record_event<O: Opaque>(
        &self,
        event: &Event<O>,
        shown: impl FnOnce(&str) -> String,
    ) {
        let Event::Log { facility, text, .. } = event else {
            return;
        };
        if is_loss(facility, text) {
            let code = RDKafkaErrorCode::BrokerTransportFailure;
            self.broken(KafkaError::with_text(code, shown(text)), Instant::now());
        }
    }

    fn broken(&self, reason: KafkaError, now: Instant) {
        let mut state = lock(&self.state);
        state.broken = Some(now);
        state.reason.get_or_insert(reason);
    }

    /// Records that a transaction begins.
    pub(crate) fn begin(&self) {
        lock(&self.state).began = Some(Instant::now());
    }

    /// Returns why another epoch is needed, if it is.
    pub(crate) fn reason(&self) -> Option<KafkaError> {
        self.reason_at(Instant::now())
    }

    fn reason_at(&self, now: Instant) -> Option<KafkaError> {
        let state = lock(&self.state);
        let may_be_unreported = || {
            let broken = state.broken?;
            let began = state.began?;
            let is_recent = now.duration_since(broken) < UNREPORTED;
            (is_recent && now.duration_since(began) >= SHORTEST_RETRY).then(|| {
                let text = "a connection has broken, and librdkafka may not report the next break";
                KafkaError::with_text(RDKafkaErrorCode::BrokerTransportFailure, text)
            })
        };
        state.reason.clone().or_else(may_be_unreported)
    }

    /// Forgets the reason: another epoch has begun.
    pub(crate) fn renewed(&self) {
        let mut state = lock(&self.state);
        state.reason = None;
        state.began = None;
        state.renewals += 1;
    }

    /// Returns how often another epoch has begun.
    pub(crate) fn renewals(&self) -> u64 {
        lock(&self.state).renewals
    }
}

/// Returns true if librdkafka's log line says that requests may have lost their answers. A broker
/// that cannot be connected to has got no request.
fn is_loss(facility: &str, text: &str) -> bool {
    facility == "REQTMOUT" || (facility == "FAIL" && text.contains("in state UP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> KafkaError {
        KafkaError::with_text(RDKafkaErrorCode::InvalidRecord, "")
    }

    #[test]
    fn the_first_reason_lasts_until_a_renewal() {
        let doubts = Doubts::default();
        assert!(doubts.reason().is_none());
        doubts.record(&error());
        doubts.record(&KafkaError::queue_full());
        let code = doubts.reason().unwrap().code();
        assert_eq!(code, Some(RDKafkaErrorCode::InvalidRecord));
        doubts.renewed();
        assert!(doubts.reason().is_none());
    }

    #[test]
    fn after_a_break_only_short_transactions_are_above_doubt() {
        let doubts = Doubts::default();
        let at = Instant::now();
        doubts.broken(error(), at);
        assert!(doubts.reason_at(at).is_some());
        doubts.renewed();
        assert!(doubts.reason_at(at + SHORTEST_RETRY).is_none());
        doubts.begin();
        assert!(doubts.reason_at(at).is_none());
        assert!(doubts.reason_at(at + UNREPORTED / 2).is_some());
        assert!(doubts.reason_at(at + UNREPORTED).is_none());
    }

    #[test]
    fn a_broker_that_cannot_be_reached_raises_none() {
        let up = "a:1/1: Disconnected (after 3ms in state UP)";
        let down = "a:1/1: Connect to ipv4#1 failed: refused (after 0ms in state CONNECT)";
        assert!(is_loss("FAIL", up) && is_loss("REQTMOUT", ""));
        assert!(!is_loss("FAIL", down) && !is_loss("TXNERR", up));
    }
}
