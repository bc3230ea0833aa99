//! Errors for the tests of users (feature `mock`).

use super::connect_failure::ConnectFailure;
use super::error_code::RDKafkaErrorCode;
use super::kafka_error::{Class, KafkaError, WhyClosed};

/// Errors as the producers return them, for tests of code that handles them (feature `mock`).
///
/// ```
/// use tokio_rdkafka::{KafkaError, RDKafkaErrorCode};
///
/// fn is_worth_a_retry(error: &KafkaError) -> bool {
///     error.is_retriable() && !error.is_closed()
/// }
///
/// assert!(is_worth_a_retry(&KafkaError::mock(RDKafkaErrorCode::QueueFull)));
/// assert!(!is_worth_a_retry(&KafkaError::mock(RDKafkaErrorCode::InvalidRecord)));
/// assert!(!is_worth_a_retry(&KafkaError::mock_closed()));
/// ```
impl KafkaError {
    /// Returns the error of a record, or of another call that is not transactional, with that code
    /// and librdkafka's text.
    ///
    /// The code decides the predicates: `QueueFull` makes
    /// [`is_queue_full`](Self::is_queue_full) true, `MessageTimedOut`
    /// [`is_timed_out`](Self::is_timed_out), `Fenced` [`is_fenced`](Self::is_fenced).
    pub fn mock(code: RDKafkaErrorCode) -> Self {
        Self::from_code(code)
    }

    /// Returns an error as [`mock`](Self::mock) does, with another text.
    pub fn mock_with_text(code: RDKafkaErrorCode, text: &str) -> Self {
        Self::with_text(code, text)
    }

    /// Returns the error of a record in a batch of that many records, which a broker refused.
    ///
    /// [`is_batch_refused`](Self::is_batch_refused) is true if there are several records and the
    /// code is one of those that it lists. Errors of [`mock`](Self::mock) never return true there.
    pub fn mock_refused_batch(code: RDKafkaErrorCode, records: usize) -> Self {
        Self::of_verdict(code, records)
    }

    /// Returns a fatal error. With the code `Fenced` it also [`is_fenced`](Self::is_fenced).
    pub fn mock_fatal(code: RDKafkaErrorCode, text: &str) -> Self {
        Self::fatal(code, text)
    }

    /// Returns the error of a producer that its user has closed.
    pub fn mock_closed() -> Self {
        Self::closed(WhyClosed::Closed)
    }

    /// Returns the error of a transactional call after which the transaction
    /// [must be aborted](Self::requires_abort).
    pub fn mock_requires_abort(code: RDKafkaErrorCode, text: &str) -> Self {
        Self::of_call(Class::RequiresAbort, code, text)
    }

    /// Returns the error of a transactional call that [may be retried](Self::is_retriable),
    /// whatever the code.
    pub fn mock_retriable_call(code: RDKafkaErrorCode, text: &str) -> Self {
        Self::of_call(Class::Retriable, code, text)
    }

    /// Returns the error of a connection that failed for that [reason](Self::connect_failure).
    pub fn mock_connect(failure: ConnectFailure, code: RDKafkaErrorCode, text: &str) -> Self {
        Self::connect(failure, code, text)
    }

    /// Returns the same error with a [source](std::error::Error::source).
    ///
    /// The error of a record has the last failure of a broker as its source.
    pub fn mock_caused_by(self, source: KafkaError) -> Self {
        self.caused_by(source)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn the_predicates_are_those_of_the_producers_errors() {
        use RDKafkaErrorCode as Code;
        let full = KafkaError::mock(Code::QueueFull);
        assert!(full.is_queue_full() && full.is_retriable());
        assert!(KafkaError::mock(Code::MessageTimedOut).is_timed_out());
        assert!(KafkaError::mock(Code::Fenced).is_fenced());
        let of_batch = |code, records| KafkaError::mock_refused_batch(code, records);
        assert!(of_batch(Code::InvalidRecord, 3).is_batch_refused());
        assert!(!of_batch(Code::InvalidRecord, 1).is_batch_refused());
        assert!(!of_batch(Code::TopicAuthorizationFailed, 3).is_batch_refused());
        let fatal = KafkaError::mock_fatal(Code::Fenced, "fenced");
        assert!(fatal.is_fatal() && fatal.is_fenced() && !fatal.is_retriable());
        let closed = KafkaError::mock_closed();
        assert!(closed.is_closed() && closed.code().is_none());
        let abort = KafkaError::mock_requires_abort(Code::Inconsistent, "abort it");
        assert!(abort.requires_abort() && abort.to_string().contains("abort it"));
        assert!(KafkaError::mock_retriable_call(Code::State, "again").is_retriable());
        let refused = KafkaError::mock_connect(
            ConnectFailure::Authentication,
            Code::Authentication,
            "wrong password",
        );
        assert_eq!(
            refused.connect_failure(),
            Some(ConnectFailure::Authentication)
        );
        let error = KafkaError::mock_with_text(Code::MessageTimedOut, "late");
        let error = error.mock_caused_by(refused);
        assert!(
            error
                .source()
                .unwrap()
                .to_string()
                .contains("wrong password")
        );
    }
}
