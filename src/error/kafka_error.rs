//! Errors: [`KafkaError`], and the two that give a record back.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::connect_failure::ConnectFailure;
use super::error_code::RDKafkaErrorCode;

/// Any error, boxed.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What went wrong: a code of librdkafka or of a broker with a text, or a reason of our own.
///
/// Cheap to clone. Neither `Display` nor `Debug` shows a configuration value.
#[derive(Clone)]
pub struct KafkaError(Arc<Inner>);

struct Inner {
    kind: Kind,
    code: Option<RDKafkaErrorCode>,
    text: String,
    source: Option<BoxError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Code,
    Fatal,
    Closed,
    Stopped,
    NoCapacity,
    Call(Class),
    Connect(ConnectFailure),
    Runtime,
    Config(Option<String>),
    Record(&'static str),
}

/// What librdkafka says of the error of a call: its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The producer cannot go on.
    Fatal,
    /// The transaction can only be aborted.
    RequiresAbort,
    /// The same call may be made again.
    Retriable,
    /// None of these.
    Other,
}

impl KafkaError {
    fn new(kind: Kind, code: Option<RDKafkaErrorCode>, text: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            code,
            text: text.into(),
            source: None,
        }))
    }

    pub(crate) fn from_code(code: impl Into<RDKafkaErrorCode>) -> Self {
        let code = code.into();
        Self::new(Kind::Code, Some(code), code.description())
    }

    pub(crate) fn with_text(code: impl Into<RDKafkaErrorCode>, text: impl Into<String>) -> Self {
        Self::new(Kind::Code, Some(code.into()), text)
    }

    pub(crate) fn fatal(code: impl Into<RDKafkaErrorCode>, text: impl Into<String>) -> Self {
        Self::new(Kind::Fatal, Some(code.into()), text)
    }

    /// The error of a call, with librdkafka's own judgement of it.
    pub(crate) fn of_call(
        class: Class,
        code: impl Into<RDKafkaErrorCode>,
        text: impl Into<String>,
    ) -> Self {
        let kind = match class {
            Class::Fatal => Kind::Fatal,
            class => Kind::Call(class),
        };
        Self::new(kind, Some(code.into()), text)
    }

    /// The same, because of that.
    pub(crate) fn caused_by(self, cause: KafkaError) -> Self {
        let Inner {
            kind, code, text, ..
        } = &*self.0;
        Self(Arc::new(Inner {
            kind: kind.clone(),
            code: *code,
            text: text.clone(),
            source: Some(cause.into()),
        }))
    }

    /// Of a message that was given up because of a fatal error.
    pub(crate) fn after_fatal(self, fatal: KafkaError) -> Self {
        let text = format!("{}, after a fatal error: {}", self.0.text, fatal.0.text);
        Self::new(Kind::Fatal, self.0.code, text).caused_by(fatal)
    }

    pub(crate) fn closed() -> Self {
        Self::new(Kind::Closed, None, "the producer is closed")
    }

    pub(crate) fn runtime_ended() -> Self {
        let text = "the producer is closed: its tokio runtime has ended, and with it the driver task; \
                    create a producer for each runtime";
        Self::new(Kind::Closed, None, text)
    }

    /// A sink takes no more records, since one failed.
    pub(crate) fn stopped(cause: &KafkaError) -> Self {
        Self(Arc::new(Inner {
            kind: Kind::Stopped,
            code: None,
            text: "the sink has stopped after a failure".to_owned(),
            source: Some(cause.clone().into()),
        }))
    }

    pub(crate) fn queue_full() -> Self {
        Self::from_code(RDKafkaErrorCode::QueueFull)
    }

    pub(crate) fn no_capacity(waited: Duration) -> Self {
        Self::new(
            Kind::NoCapacity,
            Some(RDKafkaErrorCode::QueueFull),
            format!("no room in the queue within {waited:?}"),
        )
    }

    #[cold]
    pub(crate) fn never_fits(payload: usize, limit: usize) -> Self {
        Self::new(
            Kind::Record("payload"),
            Some(RDKafkaErrorCode::MessageSizeTooLarge),
            format!(
                "invalid record: payload of {payload} bytes can never fit \
                 queue.buffering.max.kbytes, which allows {limit} bytes"
            ),
        )
    }

    pub(crate) fn runtime(text: &str) -> Self {
        Self::new(Kind::Runtime, None, text)
    }

    /// `property` is `None` where librdkafka's text names it.
    pub(crate) fn config(property: Option<&str>, text: impl Into<String>) -> Self {
        Self::new(
            Kind::Config(property.map(str::to_owned)),
            Some(RDKafkaErrorCode::InvalidArgument),
            text,
        )
    }

    #[cold]
    pub(crate) fn record(field: &'static str, problem: &str) -> Self {
        Self::new(
            Kind::Record(field),
            Some(RDKafkaErrorCode::InvalidArgument),
            format!("invalid record: {field} {problem}"),
        )
    }

    pub(crate) fn timed_out(waited: Duration) -> Self {
        let text = format!("not done within {waited:?}");
        Self::new(Kind::Code, Some(RDKafkaErrorCode::OperationTimedOut), text)
    }

    /// No connection to a broker comes about.
    pub(crate) fn connect(
        failure: ConnectFailure,
        code: impl Into<RDKafkaErrorCode>,
        text: impl Into<String>,
    ) -> Self {
        Self::new(Kind::Connect(failure), Some(code.into()), text)
    }

    /// No broker was up in time; the reason is what is known of one that is not.
    pub(crate) fn not_ready(waited: Duration, reason: Option<KafkaError>) -> Self {
        let code = RDKafkaErrorCode::OperationTimedOut;
        let text = format!("no broker was up within {waited:?}");
        let Some(reason) = reason else {
            return Self::with_text(code, text);
        };
        let text = format!("{text}: {}", reason.0.text);
        let error = match reason.connect_failure() {
            Some(failure) => Self::connect(failure, code, text),
            None => Self::with_text(code, text),
        };
        error.caused_by(reason)
    }

    pub(crate) fn no_answer() -> Self {
        Self::with_text(RDKafkaErrorCode::OperationTimedOut, "no answer in time")
    }

    pub(crate) fn no_thread(source: std::io::Error) -> Self {
        Self(Arc::new(Inner {
            kind: Kind::Runtime,
            code: None,
            text: "the system has no thread for the call".to_owned(),
            source: Some(source.into()),
        }))
    }

    /// The code of librdkafka or of the broker, where there is one.
    pub fn code(&self) -> Option<RDKafkaErrorCode> {
        self.0.code
    }

    /// The configuration property or the field of the record that is to blame, where one is.
    pub fn field(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::Config(property) => property.as_deref(),
            Kind::Record(field) => Some(field),
            _ => None,
        }
    }

    /// Whether there was no room in the queue.
    pub fn is_queue_full(&self) -> bool {
        self.0.code == Some(RDKafkaErrorCode::QueueFull)
    }

    /// Whether time ran out: the caller's for a place in the queue, or `message.timeout.ms`, or
    /// that of a request.
    pub fn is_timed_out(&self) -> bool {
        matches!(
            self.0.code,
            Some(
                RDKafkaErrorCode::MessageTimedOut
                    | RDKafkaErrorCode::OperationTimedOut
                    | RDKafkaErrorCode::RequestTimedOut
                    | RDKafkaErrorCode::TimedOutQueue
            )
        ) || self.0.kind == Kind::NoCapacity
    }

    /// Why no connection to a broker comes about, where this says so and the reason is one of those
    /// known: of [`Producer::ready`](crate::Producer::ready), and of the errors that
    /// [`ClientContext::error`](crate::ClientContext::error) gets.
    pub fn connect_failure(&self) -> Option<ConnectFailure> {
        match self.0.kind {
            Kind::Connect(failure) => Some(failure),
            _ => None,
        }
    }

    /// Whether the producer is closed.
    pub fn is_closed(&self) -> bool {
        self.0.kind == Kind::Closed
    }

    /// Whether the producer cannot go on: no later record of it will succeed.
    ///
    /// Source: `rd_kafka_fatal_error`, `rd_kafka_error_is_fatal`; idempotent and transactional
    /// producers raise them. Also of a record that librdkafka has
    /// [purged](RDKafkaErrorCode::PurgeQueue) because of one, which is then the
    /// [source](Error::source).
    pub fn is_fatal(&self) -> bool {
        self.0.kind == Kind::Fatal
    }

    /// Whether another producer with the same `transactional.id` has taken over, or the transaction
    /// timed out: after `transaction.timeout.ms` its coordinator aborts it, and raises the
    /// producer's epoch, as it does for a new producer. The error does not tell which of the two it
    /// was.
    ///
    /// The codes [`Fenced`](RDKafkaErrorCode::Fenced),
    /// [`ProducerFenced`](RDKafkaErrorCode::ProducerFenced) and
    /// [`InvalidProducerEpoch`](RDKafkaErrorCode::InvalidProducerEpoch). Of a transactional call it
    /// is always fatal. Also of a record that librdkafka has purged because of that.
    ///
    /// Source: `rd_kafka_txn_normalize_err` in rdkafka_txnmgr.c.
    pub fn is_fenced(&self) -> bool {
        let is_source = |source: &BoxError| {
            let fatal = source.downcast_ref::<KafkaError>();
            fatal.is_some_and(Self::is_fenced)
        };
        self.0.code.is_some_and(is_fencing)
            || (self.is_fatal() && self.0.source.as_ref().is_some_and(is_source))
    }

    /// Whether the transaction has failed: it must be aborted, and may then be done again from its
    /// beginning, with all its records and offsets.
    ///
    /// Source: `rd_kafka_error_txn_requires_abort`; only transactional calls say so.
    pub fn requires_abort(&self) -> bool {
        self.0.kind == Kind::Call(Class::RequiresAbort)
    }

    /// Whether the same again may succeed; never after a fatal error.
    ///
    /// Of a record: whether sending it again may, by the
    /// [table of codes](RDKafkaErrorCode#which-codes-are-retriable). Of a transactional call:
    /// whether the same call may be made again, by librdkafka's own flag
    /// (`rd_kafka_error_is_retriable`), whatever the code. Of a
    /// [connection](Self::connect_failure): whether the failure may go away by itself.
    pub fn is_retriable(&self) -> bool {
        match self.0.kind {
            Kind::Fatal => false,
            Kind::Call(class) => class == Class::Retriable,
            Kind::Connect(failure) => !failure.is_lasting(),
            _ => self.0.code.is_some_and(RDKafkaErrorCode::is_retriable),
        }
    }
}

/// Whether a code says that the message was purged.
pub(crate) fn is_purge(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight
    )
}

/// Whether a code says that another producer has taken over, or the transaction timed out.
pub(crate) fn is_fencing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
    )
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_fatal() {
            f.write_str("fatal: ")?;
        }
        f.write_str(&self.0.text)?;
        match self.0.code {
            Some(code) => write!(f, " ({})", code.name()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaError")
            .field("kind", &self.0.kind)
            .field("code", &self.0.code)
            .field("text", &self.0.text)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for KafkaError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calls_own_judgement_stands_above_the_code() {
        use Class::{Fatal, Other, RequiresAbort, Retriable};
        // One that is retriable by the table, and one that is not.
        for code in [RDKafkaErrorCode::OperationTimedOut, RDKafkaErrorCode::State] {
            for class in [Fatal, RequiresAbort, Retriable, Other] {
                let error = KafkaError::of_call(class, code, "the reason");
                assert_eq!(error.is_fatal(), class == Fatal);
                assert_eq!(error.requires_abort(), class == RequiresAbort);
                assert_eq!(error.is_retriable(), class == Retriable);
                assert_eq!(error.code(), Some(code));
                assert!(error.to_string().contains("the reason"), "{error}");
            }
        }
    }

    #[test]
    fn three_codes_are_of_a_fence() {
        use RDKafkaErrorCode as Code;
        for code in [
            Code::Fenced,
            Code::ProducerFenced,
            Code::InvalidProducerEpoch,
        ] {
            assert!(KafkaError::from_code(code).is_fenced());
        }
        for code in [Code::FencedLeaderEpoch, Code::FencedInstanceId, Code::State] {
            assert!(!KafkaError::from_code(code).is_fenced());
        }
        assert!(!KafkaError::closed().is_fenced());
    }
}
