//! The error type: a code, a text and a source.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::connect_failure::ConnectFailure;
use super::error_code::RDKafkaErrorCode;

/// A boxed error of any type.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// An error of a client, a call or a record.
///
/// It has a text and, if librdkafka or a broker reported it, a [code](Self::code). The predicates,
/// for instance [`is_retriable`](Self::is_retriable), say what a caller can do.
///
/// `Display` does not repeat the text of the [source](Error::source), so print both:
///
/// ```
/// # use tokio_rdkafka::SendError;
/// /// As `anyhow` does with `{:#}`.
/// fn with_sources(error: &dyn std::error::Error) -> String {
///     let mut text = error.to_string();
///     let mut source = error.source();
///     while let Some(error) = source {
///         text = format!("{text}: {error}");
///         source = error.source();
///     }
///     text
/// }
/// # fn print(error: &SendError) {
/// // record to "orders" failed (not persisted, after 5.012 s in the queue): Local: Message timed
/// // out (_MSG_TIMED_OUT):
/// // kafka:9092/bootstrap: Failed to resolve 'kafka:9092': Name or service not … (_RESOLVE)
/// eprintln!("{}", with_sources(error));
/// # }
/// ```
///
/// A clone shares the error. Neither `Display` nor `Debug` shows a configuration value that may be
/// secret.
#[derive(Clone)]
pub struct KafkaError(Arc<Inner>);

struct Inner {
    kind: Kind,
    code: Option<RDKafkaErrorCode>,
    text: String,
    source: Option<BoxError>,
}

/// Why a call of a producer gets no answer although the brokers may have answered.
const RUNTIME_IS_BLOCKED: &str = "all threads of the producer's tokio runtime are blocked, so its task could not run; await the \
     call instead of blocking a thread of the runtime, or use a blocking_ method of the producer";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Only the code says more.
    Code,
    /// A fatal error of the producer, or a later error because of it.
    Fatal,
    /// The producer is closed.
    Closed,
    /// The sink has stopped.
    Stopped,
    /// The queue had no capacity within a time limit.
    NoCapacity,
    /// A call of librdkafka failed.
    Call(Class),
    /// A connection to a broker failed.
    Connect(ConnectFailure),
    /// The tokio runtime or the operating system lacks something.
    Runtime,
    /// The configuration is invalid: the property, if it is known.
    Config(Option<String>),
    /// The record is invalid: the field.
    Record(&'static str),
    /// A broker has refused the batch of the record and of others.
    BatchRefused,
}

/// The class that librdkafka gives the error of a call, by the error's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The producer can do nothing more.
    Fatal,
    /// The transaction must be aborted.
    RequiresAbort,
    /// The same call may succeed later.
    Retriable,
    /// None of these.
    Other,
}

/// Why a producer is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WhyClosed {
    /// `close` was called, or the last handle was dropped.
    Closed,
    /// The runtime has ended, and with it the driver's task.
    RuntimeEnded,
    /// This process is a forked child of the producer's.
    Forked,
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

    /// The error of a record that no broker has acknowledged in time, while none was known to fail.
    #[cold]
    pub(crate) fn timed_out_in_queue() -> Self {
        let code = RDKafkaErrorCode::MessageTimedOut;
        let text = format!(
            "{}, and no broker is known to fail: its topic may not exist, its partition may have no \
             leader or too few replicas in sync, or the brokers are slow",
            code.description()
        );
        Self::with_text(code, text)
    }

    pub(crate) fn fatal(code: impl Into<RDKafkaErrorCode>, text: impl Into<String>) -> Self {
        Self::new(Kind::Fatal, Some(code.into()), text)
    }

    /// The error of a call, in the class that librdkafka gives it.
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

    /// Sets the source, if there is one.
    pub(crate) fn caused_by(self, cause: impl Into<Option<KafkaError>>) -> Self {
        let Some(cause) = cause.into() else {
            return self;
        };
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

    /// The error of a message that was purged because of a fatal error.
    pub(crate) fn after_fatal(self, fatal: KafkaError) -> Self {
        let text = format!("{}, after a fatal error", self.0.text);
        Self::new(Kind::Fatal, self.0.code, text).caused_by(fatal)
    }

    /// The error of a producer that is closed. Only its client knows why.
    #[cold]
    pub(crate) fn closed(why: WhyClosed) -> Self {
        let text = match why {
            WhyClosed::Closed => "the producer is closed",
            WhyClosed::RuntimeEnded => {
                "the producer is closed: its tokio runtime has ended, and with it the driver task; \
                 create a producer for each runtime"
            }
            WhyClosed::Forked => {
                "the producer is closed: this process was forked and has none of its threads; \
                 create a producer in the child"
            }
        };
        Self::new(Kind::Closed, None, text)
    }

    /// The error of a sink that accepts no more records, because an earlier one failed.
    pub(crate) fn stopped(cause: &KafkaError) -> Self {
        Self(Arc::new(Inner {
            kind: Kind::Stopped,
            code: None,
            text: "the sink has stopped, because an earlier record failed".to_owned(),
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
            format!("the queue had no capacity within {waited:?}"),
        )
    }

    #[cold]
    pub(crate) fn never_fits(payload: usize, limit: usize) -> Self {
        Self::new(
            Kind::Record("payload"),
            Some(RDKafkaErrorCode::MessageSizeTooLarge),
            format!(
                "invalid record: payload has {payload} bytes and can never fit into the queue: \
                 queue.buffering.max.kbytes allows {limit} bytes"
            ),
        )
    }

    /// The error of a record over the client's own limit. `size` is what librdkafka compares.
    #[cold]
    pub(crate) fn over_message_max_bytes(size: usize, limit: usize) -> Self {
        Self::new(
            Kind::Record("payload"),
            Some(RDKafkaErrorCode::MessageSizeTooLarge),
            format!(
                "invalid record: key, payload, headers and framing take up to {size} bytes, but \
                 message.max.bytes of this producer allows {limit}"
            ),
        )
    }

    /// The error of a record whose partition the topic does not have, as far as the producer knows.
    /// `partitions` is what a broker has told, if one was asked.
    #[cold]
    pub(crate) fn unknown_partition(
        topic: &str,
        partition: i32,
        partitions: Option<usize>,
    ) -> Self {
        let text = match partitions {
            Some(1) => format!(
                "partition {partition} of topic {topic:?} does not exist: the topic has 1 \
                 partition, number 0"
            ),
            Some(partitions) => format!(
                "partition {partition} of topic {topic:?} does not exist: the topic has \
                 {partitions} partitions, from 0 on"
            ),
            None => format!(
                "partition {partition} of topic {topic:?} is not known to the producer, which asks \
                 the brokers for it now"
            ),
        };
        Self::with_text(RDKafkaErrorCode::UnknownPartition, text)
    }

    /// The error of a record whose batch was refused by a broker. librdkafka tells how many records
    /// were in it.
    #[cold]
    pub(crate) fn of_verdict(code: RDKafkaErrorCode, batch: usize) -> Self {
        if !code.is_batch_verdict() || batch == 0 {
            return Self::from_code(code);
        }
        // Source: Kafka's `UnifiedLog`, which answers each of the two with a code of its own.
        let limit = match code {
            RDKafkaErrorCode::MessageSizeTooLarge => {
                Some("max.message.bytes of the topic (message.max.bytes of the broker)")
            }
            RDKafkaErrorCode::MessageBatchTooLarge => {
                Some("segment.bytes of the topic (log.segment.bytes of the broker)")
            }
            _ => None,
        };
        let description = code.description();
        let (kind, text) = match (batch, limit) {
            (1, None) => (
                Kind::Code,
                format!("{description}; the record was alone in its batch"),
            ),
            (1, Some(limit)) => (
                Kind::Code,
                format!(
                    "{description}; the record was alone in its batch, and is larger than {limit}"
                ),
            ),
            (_, None) => (
                Kind::BatchRefused,
                format!(
                    "{description}; the broker refused the batch of {batch} records, of which this \
                     one may be valid: send it again alone"
                ),
            ),
            (_, Some(limit)) => (
                Kind::BatchRefused,
                format!(
                    "{description}; the broker refused the batch of {batch} records, which is \
                     larger than {limit}: lower batch.size, or send the record again alone"
                ),
            ),
        };
        Self::new(kind, Some(code), text)
    }

    pub(crate) fn runtime(text: &str) -> Self {
        Self::new(Kind::Runtime, None, text)
    }

    /// `property` is `None` if only librdkafka's text names it.
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

    /// The error of a topic's name that Kafka does not allow, as a broker would name it.
    #[cold]
    pub(crate) fn topic_name(problem: &str) -> Self {
        Self::new(
            Kind::Record("topic"),
            Some(RDKafkaErrorCode::InvalidTopic),
            format!("invalid record: topic {problem}"),
        )
    }

    pub(crate) fn timed_out(waited: Duration) -> Self {
        let text = format!("timed out after {waited:?}");
        Self::new(Kind::Code, Some(RDKafkaErrorCode::OperationTimedOut), text)
    }

    /// Says that the call got no answer because nobody ran the driver.
    pub(crate) fn because_runtime_is_blocked(self) -> Self {
        let Inner {
            kind, code, text, ..
        } = &*self.0;
        Self(Arc::new(Inner {
            kind: kind.clone(),
            code: *code,
            text: format!("{text}: {RUNTIME_IS_BLOCKED}"),
            // The failure of a broker, which the error had as its source, is not the reason.
            source: None,
        }))
    }

    /// The error of a connection to a broker that failed.
    pub(crate) fn connect(
        failure: ConnectFailure,
        code: impl Into<RDKafkaErrorCode>,
        text: impl Into<String>,
    ) -> Self {
        Self::new(Kind::Connect(failure), Some(code.into()), text)
    }

    /// No broker was up within the time limit. `reason` is the failure of one of them, if known.
    pub(crate) fn not_ready(waited: Duration, reason: Option<KafkaError>) -> Self {
        let code = RDKafkaErrorCode::OperationTimedOut;
        let text = format!("no broker was up within {waited:?}");
        let Some(reason) = reason else {
            return Self::with_text(code, text);
        };
        let error = match reason.connect_failure() {
            Some(failure) => Self::connect(failure, code, text),
            None => Self::with_text(code, text),
        };
        error.caused_by(reason)
    }

    /// A bootstrap server has answered, but none of these addresses, which the cluster advertises.
    /// `cause` is the failure of one of them, if known.
    pub(crate) fn advertised<'a>(
        addresses: impl Iterator<Item = &'a str>,
        cause: Option<KafkaError>,
    ) -> Self {
        const MOST_NAMED: usize = 3;
        let mut named: Vec<_> = addresses.take(MOST_NAMED + 1).collect();
        if named.len() > MOST_NAMED {
            named[MOST_NAMED] = "…";
        }
        let text = format!(
            "a bootstrap server has answered, but no broker at the addresses that the cluster \
             advertises: {}; see advertised.listeners of the brokers",
            named.join(", ")
        );
        let transport = RDKafkaErrorCode::BrokerTransportFailure;
        let Some(cause) = cause else {
            return Self::with_text(transport, text);
        };
        let code = cause.code().unwrap_or(transport);
        let error = match cause.connect_failure() {
            Some(failure) => Self::connect(failure, code, text),
            None => Self::with_text(code, text),
        };
        error.caused_by(cause)
    }

    pub(crate) fn no_answer() -> Self {
        Self::with_text(
            RDKafkaErrorCode::OperationTimedOut,
            "no broker answered within the time limit",
        )
    }

    pub(crate) fn no_thread(source: std::io::Error) -> Self {
        Self(Arc::new(Inner {
            kind: Kind::Runtime,
            code: None,
            text: "the system could not start a thread for the call".to_owned(),
            source: Some(source.into()),
        }))
    }

    /// Returns the code of librdkafka or of the broker if there is one.
    pub fn code(&self) -> Option<RDKafkaErrorCode> {
        self.0.code
    }

    /// Returns the name of the invalid configuration property, or of the record's invalid field.
    ///
    /// The fields of a record are `topic`, `partition`, `timestamp`, `headers` and `payload`.
    /// `None` if the error is of another kind, or if only its text names the property.
    pub fn field(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::Config(property) => property.as_deref(),
            Kind::Record(field) => Some(field),
            _ => None,
        }
    }

    /// Returns true if the queue had no capacity for the record.
    ///
    /// The limits are `queue.buffering.max.messages` and `queue.buffering.max.kbytes`.
    pub fn is_queue_full(&self) -> bool {
        self.0.code == Some(RDKafkaErrorCode::QueueFull)
    }

    /// Returns true if a time limit has passed.
    ///
    /// It may be the caller's limit, for instance on the wait for capacity, `message.timeout.ms`,
    /// or the limit of a request.
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

    /// Returns why the connection to a broker failed, if that is what failed and the reason is
    /// known.
    ///
    /// It may be set in errors of [`Producer::ready`](crate::Producer::ready) and in those that
    /// [`ClientContext::error`](crate::ClientContext::error) receives. It may also be set in the
    /// [source](Error::source) of a record's error: see
    /// [`SendError::error`](crate::SendError::error).
    pub fn connect_failure(&self) -> Option<ConnectFailure> {
        match self.0.kind {
            Kind::Connect(failure) => Some(failure),
            _ => None,
        }
    }

    /// Returns true if the call was refused because the producer is closed.
    ///
    /// Records that a close purges have the code [`PurgeQueue`](RDKafkaErrorCode::PurgeQueue) or
    /// [`PurgeInflight`](RDKafkaErrorCode::PurgeInflight) instead.
    ///
    /// The producer was closed by its user, its runtime has ended, or this process is a forked
    /// child of the one that created it. The text says which.
    pub fn is_closed(&self) -> bool {
        self.0.kind == Kind::Closed
    }

    /// Returns true after a fatal error: no later record of the producer will succeed.
    ///
    /// Only idempotent and transactional producers have fatal errors. The error of a record that
    /// librdkafka [purged](RDKafkaErrorCode::PurgeQueue) because of one is fatal too. Its
    /// [source](Error::source) is then the fatal error itself.
    ///
    /// Sources: `rd_kafka_fatal_error`, `rd_kafka_error_is_fatal`.
    pub fn is_fatal(&self) -> bool {
        self.0.kind == Kind::Fatal
    }

    /// Returns true if another producer with the same `transactional.id` has taken over, or if the
    /// transaction has timed out.
    ///
    /// The error does not say which of the two it was. After `transaction.timeout.ms` the
    /// coordinator aborts a transaction and raises the producer's epoch, as it does for a new
    /// producer.
    ///
    /// The codes are [`Fenced`](RDKafkaErrorCode::Fenced),
    /// [`ProducerFenced`](RDKafkaErrorCode::ProducerFenced) and
    /// [`InvalidProducerEpoch`](RDKafkaErrorCode::InvalidProducerEpoch). In a transactional call
    /// they are always fatal. This also returns true for a record that librdkafka purged because of
    /// such an error.
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

    /// Returns true if the transaction has failed and must be aborted.
    ///
    /// After the abort the caller may repeat it from its beginning, with all its records and
    /// offsets. Only errors of transactional calls return true.
    ///
    /// Source: `rd_kafka_error_txn_requires_abort`.
    pub fn requires_abort(&self) -> bool {
        self.0.kind == Kind::Call(Class::RequiresAbort)
    }

    /// Returns true if a broker refused the whole batch of the record, so that this record may be
    /// innocent.
    ///
    /// librdkafka sends the records of a partition in batches, and a broker accepts or refuses a
    /// batch as a whole. One record without a key among those to a compacted topic, or one
    /// timestamp out of range, fails its neighbours too. So does a batch that is larger than
    /// `max.message.bytes` or `segment.bytes` of the topic, even if each of its records is smaller.
    ///
    /// What helps is to send the record again alone, and to wait for its delivery before the next.
    /// If the broker refuses it again, this returns false: the record itself is at fault. It also
    /// returns false for a record that was alone from the start.
    /// [`SendAll::resend_refused_batches`](crate::SendAll::resend_refused_batches) and
    /// [`Produce::resend_refused_batches`](crate::Produce::resend_refused_batches) do that. Nothing
    /// of a refused batch is in the log. In a transaction it has no use: a refused record requires
    /// the transaction's abort.
    ///
    /// The codes are [`InvalidRecord`](RDKafkaErrorCode::InvalidRecord),
    /// [`InvalidDifferentRecord`](RDKafkaErrorCode::InvalidDifferentRecord),
    /// [`InvalidTimestamp`](RDKafkaErrorCode::InvalidTimestamp),
    /// [`MessageSizeTooLarge`](RDKafkaErrorCode::MessageSizeTooLarge),
    /// [`MessageBatchTooLarge`](RDKafkaErrorCode::MessageBatchTooLarge),
    /// [`InvalidMessage`](RDKafkaErrorCode::InvalidMessage),
    /// [`InvalidMessageSize`](RDKafkaErrorCode::InvalidMessageSize) and
    /// [`UnsupportedForMessageFormat`](RDKafkaErrorCode::UnsupportedForMessageFormat). The code
    /// alone does not say it. If a broker names exactly one culprit, librdkafka still gives all
    /// records of the batch the same code. If it names several, the innocent have
    /// `InvalidDifferentRecord`.
    ///
    /// Sources: `rd_kafka_msgbatch_handle_Produce_result` (rdkafka_request.c), which reports the
    /// records of a batch in one event; `rd_kafka_event_message_count`.
    pub fn is_batch_refused(&self) -> bool {
        self.0.kind == Kind::BatchRefused
    }

    /// Returns true if retrying may succeed.
    ///
    /// False for a fatal error. Other errors may be retriable even after a fatal one: check
    /// [`Producer::fatal_error`](crate::Producer::fatal_error).
    ///
    /// - For a record: sending it again may succeed, by the
    ///   [table of codes](RDKafkaErrorCode#which-codes-are-retriable).
    /// - For a transactional call: calling it again may succeed, by librdkafka's flag
    ///   (`rd_kafka_error_is_retriable`), whatever the code.
    /// - For a [connection](Self::connect_failure): the failure may go away by itself.
    pub fn is_retriable(&self) -> bool {
        match self.0.kind {
            Kind::Fatal => false,
            Kind::Call(class) => class == Class::Retriable,
            Kind::Connect(failure) => !failure.is_lasting(),
            _ => self.0.code.is_some_and(RDKafkaErrorCode::is_retriable),
        }
    }
}

/// Returns true if the code means that the message was purged.
pub(crate) fn is_purge(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight
    )
}

/// Returns true if the code means that another producer has taken over, or that the transaction has
/// timed out.
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
    fn the_class_of_a_call_decides_instead_of_the_code() {
        use Class::{Fatal, Other, RequiresAbort, Retriable};
        // The first is retriable by the table of codes, the second is not.
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
    fn a_refused_size_names_the_limit_that_the_broker_has_applied() {
        use RDKafkaErrorCode as Code;
        for (code, limit) in [
            (Code::MessageSizeTooLarge, "max.message.bytes"),
            (Code::MessageBatchTooLarge, "segment.bytes"),
        ] {
            for records in [1, 3] {
                let error = KafkaError::of_verdict(code, records).to_string();
                let expected = format!("is larger than {limit} of the topic");
                assert!(error.contains(&expected), "{error}");
            }
        }
    }

    #[test]
    fn three_codes_mean_that_the_producer_is_fenced() {
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
        assert!(!KafkaError::closed(WhyClosed::Closed).is_fenced());
    }
}
