//! Errors: [`KafkaError`], and the two that give a record back.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::connect_failure::ConnectFailure;
use crate::delivery::Persistence;
use crate::error_code::RDKafkaErrorCode;
use crate::record::ProducerRecord;

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
    NoRoom,
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

    pub(crate) fn no_room(waited: Duration) -> Self {
        Self::new(
            Kind::NoRoom,
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
        ) || self.0.kind == Kind::NoRoom
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

/// A record that was refused at once, with the record as it came.
///
/// ```
/// # use tokio_rdkafka::{BaseProducer, ClientConfig, EnqueueError, ProducerRecord};
/// fn produce(producer: &BaseProducer) -> Result<(), Box<dyn std::error::Error>> {
///     let payload = String::from("local");
///     // The error borrows what the record borrows; `into_owned` cuts that.
///     producer
///         .send(ProducerRecord::to("t").payload(&payload))
///         .map_err(EnqueueError::into_owned)?;
///     Ok(())
/// }
/// ```
pub struct EnqueueError<'a, D = ()>(Box<(KafkaError, ProducerRecord<'a, D>)>);

impl<'a, D> EnqueueError<'a, D> {
    pub(crate) fn new(error: KafkaError, record: ProducerRecord<'a, D>) -> Self {
        Self(Box::new((error, record)))
    }

    /// What went wrong.
    pub fn error(&self) -> &KafkaError {
        &self.0.0
    }

    /// The record as it came.
    pub fn record(&self) -> &ProducerRecord<'a, D> {
        &self.0.1
    }

    /// The record as it came, to send it again.
    pub fn into_record(self) -> ProducerRecord<'a, D> {
        self.0.1
    }

    /// The record and what went wrong.
    pub fn into_parts(self) -> (ProducerRecord<'a, D>, KafkaError) {
        let (error, record) = *self.0;
        (record, error)
    }

    /// Copies what the record borrows.
    pub fn into_owned(self) -> EnqueueError<'static, D> {
        let (error, record) = *self.0;
        EnqueueError::new(error, record.into_owned())
    }
}

impl<D> fmt::Debug for EnqueueError<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnqueueError")
            .field("error", self.error())
            .field("record", self.record())
            .finish()
    }
}

/// A record that was not delivered, or not known to be: why, what is known of its fate, and the
/// record as the caller gave it.
///
/// `D` is the producer's delivery opaque; it is here only where the record was refused before it
/// entered the queue, because its delivery callback has not run then.
///
/// # Sending again
///
/// librdkafka tries by itself for as long as `message.timeout.ms` and `retries` allow: raising
/// those comes first, and with `enable.idempotence` those tries write nothing twice. A loop around
/// [`send`](crate::Producer::send) is for what goes on longer than that:
///
/// ```
/// use std::time::Duration;
/// use tokio_rdkafka::{Delivery, Persistence, Producer, ProducerRecord, SendError};
///
/// /// Sends a record up to `tries` times.
/// async fn send_again(
///     producer: &Producer,
///     mut record: ProducerRecord<'static>,
///     tries: u32,
/// ) -> Result<Delivery, SendError> {
///     let mut pause = Duration::from_millis(100);
///     for _ in 1..tries {
///         match producer.send(record).await {
///             Err(error) if may_be_sent_again(&error) => record = error.into_record(),
///             result => return result,
///         }
///         tokio::time::sleep(pause).await;
///         pause = (pause * 2).min(Duration::from_secs(10));
///     }
///     producer.send(record).await
/// }
///
/// fn may_be_sent_again(error: &SendError) -> bool {
///     // Neither a record that is wrong nor a producer that is closed or has had a fatal error.
///     error.is_retriable() && error.persistence() == Persistence::NotPersisted
/// }
/// ```
///
/// Where it is [`PossiblyPersisted`](Persistence::PossiblyPersisted), the caller has to choose:
/// giving up may lose the record, and sending it again may write it twice, also with
/// `enable.idempotence`, because to librdkafka it is a new record. Send it again where its
/// consumers know a duplicate, say by an id in the key or a header. A record that is sent again
/// comes behind those that were enqueued meanwhile.
pub struct SendError<D = ()>(Box<SendErrorParts<D>>);

struct SendErrorParts<D> {
    error: KafkaError,
    persistence: Persistence,
    record: ProducerRecord<'static>,
    opaque: Option<D>,
}

impl<D> SendError<D> {
    /// A record that never entered the queue.
    #[cold]
    pub(crate) fn refused(error: KafkaError, record: ProducerRecord<'_, D>) -> Self {
        let ProducerRecord { fields, opaque } = record.into_owned();
        let record = ProducerRecord { fields, opaque: () };
        let persistence = Persistence::NotPersisted;
        Self(Box::new(SendErrorParts {
            error,
            persistence,
            record,
            opaque: Some(opaque),
        }))
    }

    /// A message whose delivery failed.
    pub(crate) fn undelivered(
        error: KafkaError,
        persistence: Persistence,
        record: ProducerRecord<'static>,
    ) -> Self {
        Self(Box::new(SendErrorParts {
            error,
            persistence,
            record,
            opaque: None,
        }))
    }

    /// What went wrong.
    pub fn error(&self) -> &KafkaError {
        &self.0.error
    }

    /// Whether the record may be in the log all the same: what decides between a lost record and
    /// a duplicate when it is sent again.
    pub fn persistence(&self) -> Persistence {
        self.0.persistence
    }

    /// The record as the caller gave it, without its opaque.
    pub fn record(&self) -> &ProducerRecord<'static> {
        &self.0.record
    }

    /// The record as the caller gave it, to send it again.
    pub fn into_record(self) -> ProducerRecord<'static> {
        self.0.record
    }

    /// The record, its opaque where the delivery callback has not had it, and what went wrong.
    pub fn into_parts(self) -> (ProducerRecord<'static>, Option<D>, KafkaError) {
        let parts = *self.0;
        (parts.record, parts.opaque, parts.error)
    }
}

/// Gives the record up.
impl<D> From<SendError<D>> for KafkaError {
    fn from(failed: SendError<D>) -> Self {
        failed.0.error
    }
}

/// Gives the record up.
impl<D> From<EnqueueError<'_, D>> for KafkaError {
    fn from(refused: EnqueueError<'_, D>) -> Self {
        refused.0.0
    }
}

/// A record that was refused at once did not persist.
impl<D> From<EnqueueError<'_, D>> for SendError<D> {
    fn from(refused: EnqueueError<'_, D>) -> Self {
        let (record, error) = refused.into_parts();
        Self::refused(error, record)
    }
}

impl<D> fmt::Debug for SendError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("error", &self.0.error)
            .field("persistence", &self.0.persistence)
            .field("record", &self.0.record)
            .finish_non_exhaustive()
    }
}

impl<D> fmt::Display for SendError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.0.record.get_topic();
        write!(
            f,
            "record to {topic:?} failed ({}): {}",
            self.0.persistence, self.0.error
        )
    }
}

impl<D> fmt::Display for EnqueueError<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record to {:?} was refused: {}",
            self.record().get_topic(),
            self.error()
        )
    }
}

/// The predicates of [`KafkaError`] on the errors that carry one.
macro_rules! predicates {
    ($(($($generics:tt)*) $error:ty;)*) => {
        $(
            impl<$($generics)*> $error {
                /// The code of librdkafka or of the broker, where there is one.
                pub fn code(&self) -> Option<RDKafkaErrorCode> {
                    self.error().code()
                }

                /// Whether there was no room in the queue.
                pub fn is_queue_full(&self) -> bool {
                    self.error().is_queue_full()
                }

                /// Whether time ran out; see [`KafkaError::is_timed_out`].
                pub fn is_timed_out(&self) -> bool {
                    self.error().is_timed_out()
                }

                /// Whether the producer is closed.
                pub fn is_closed(&self) -> bool {
                    self.error().is_closed()
                }

                /// Whether the producer cannot go on; see [`KafkaError::is_fatal`].
                pub fn is_fatal(&self) -> bool {
                    self.error().is_fatal()
                }

                /// Whether another producer has taken over, or the transaction timed out; see
                /// [`KafkaError::is_fenced`].
                pub fn is_fenced(&self) -> bool {
                    self.error().is_fenced()
                }

                /// Whether the transaction must be aborted; see [`KafkaError::requires_abort`].
                pub fn requires_abort(&self) -> bool {
                    self.error().requires_abort()
                }

                /// Whether the same record may succeed when it is sent again; see
                /// [`KafkaError::is_retriable`].
                pub fn is_retriable(&self) -> bool {
                    self.error().is_retriable()
                }
            }

            impl<$($generics)*> Error for $error {
                fn source(&self) -> Option<&(dyn Error + 'static)> {
                    Some(self.error())
                }
            }
        )*
    };
}

predicates! {
    ('a, D) EnqueueError<'a, D>;
    (D) SendError<D>;
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
