//! The error of a call that waits, and of a delivery.

use std::error::Error as _;
use std::fmt;
use std::mem;
use std::time::Duration;

use super::enqueue_error::EnqueueError;
use super::error_predicates::error_predicates;
use super::record::ProducerRecord;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::values::Persistence;

/// The error of a record that was not delivered, or that may not have been.
///
/// It has the reason, the [`Persistence`] of the message, and the record as the caller passed it.
///
/// `D` is the type of the record's opaque. The error has the opaque only if the record was refused
/// before it was enqueued. After that the delivery callback gets it.
///
/// # Sending again
///
/// librdkafka retries by itself, as long as `message.timeout.ms` and `retries` allow. Raise those
/// first: with `enable.idempotence` its retries write nothing twice. A loop around
/// [`send`](crate::Producer::send) is for failures that last longer:
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
///     // False for an invalid record, and after the producer was closed or had a fatal error.
///     error.is_retriable() && error.persistence() == Persistence::NotPersisted
/// }
/// ```
///
/// If the message is [`PossiblyPersisted`](Persistence::PossiblyPersisted), the caller has to
/// choose:
///
/// - Not sending the record again may lose it.
/// - Sending it again may write it twice, also with `enable.idempotence`, because it is a new
///   record to librdkafka. Do so if consumers recognise duplicates, for instance by an id in the
///   key or in a header.
///
/// A record that is sent again comes after the records that were enqueued in the meantime.
pub struct SendError<D = ()>(Box<Inner<D>>);

struct Inner<D> {
    error: KafkaError,
    persistence: Persistence,
    delays: Delays,
    record: ProducerRecord<'static>,
    opaque: Option<D>,
    /// The report of a close counts the message.
    is_in_close_report: bool,
}

/// How long a record waited for what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delays {
    pub(crate) for_capacity: Duration,
    /// `None` if it was never enqueued.
    pub(crate) in_queue: Option<Duration>,
}

impl<D> SendError<D> {
    /// The error of a record that was never enqueued.
    #[cold]
    pub(crate) fn refused(error: KafkaError, mut record: ProducerRecord<'_, D>) -> Self {
        record.fields.settle(&error);
        Self::unsettled(error, record)
    }

    /// The error of a record that may be enqueued again before its caller gets it. What the
    /// context's hook has changed is not undone.
    #[cold]
    pub(crate) fn unsettled(error: KafkaError, record: ProducerRecord<'_, D>) -> Self {
        let ProducerRecord { fields, opaque } = record.into_owned();
        let record = ProducerRecord { fields, opaque: () };
        let persistence = Persistence::NotPersisted;
        Self(Box::new(Inner {
            error,
            persistence,
            delays: Delays::default(),
            record,
            opaque: Some(opaque),
            is_in_close_report: false,
        }))
    }

    /// Adds how long the record had waited for capacity, in tenths of a second.
    pub(crate) fn after_wait(mut self, waited: u16) -> Self {
        self.0.delays.for_capacity = Duration::from_millis(100) * u32::from(waited);
        self
    }

    /// Undoes what the context's hook has changed, and so makes it the caller's.
    pub(crate) fn settled(mut self) -> Self {
        let Inner { record, error, .. } = &mut *self.0;
        record.fields.settle(error);
        self
    }

    /// The error of a message whose delivery failed.
    pub(crate) fn undelivered(
        error: KafkaError,
        persistence: Persistence,
        delays: Delays,
        record: ProducerRecord<'static>,
    ) -> Self {
        Self(Box::new(Inner {
            error,
            persistence,
            delays,
            record,
            opaque: None,
            is_in_close_report: false,
        }))
    }

    /// The error of a message whose completer was dropped without a result.
    #[cold]
    pub(super) fn abandoned() -> Self {
        let text = "the message was dropped without a delivery report (a bug of tokio-rdkafka)";
        let error = KafkaError::with_text(RDKafkaErrorCode::Fail, text);
        Self::undelivered(
            error,
            Persistence::PossiblyPersisted,
            Delays::default(),
            ProducerRecord::to(String::new()),
        )
    }

    /// The report of a close counts the message as failed.
    pub(crate) fn set_in_close_report(&mut self) {
        self.0.is_in_close_report = true;
    }

    pub(crate) fn is_in_close_report(&self) -> bool {
        self.0.is_in_close_report
    }

    /// Takes the opaque out, which is the user's.
    pub(crate) fn without_opaque(self) -> (SendError, Option<D>) {
        let Inner {
            error,
            persistence,
            delays,
            record,
            opaque,
            is_in_close_report,
        } = *self.0;
        let error = SendError(Box::new(Inner {
            error,
            persistence,
            delays,
            record,
            opaque: None,
            is_in_close_report,
        }));
        (error, opaque)
    }

    /// Returns why the record was not delivered.
    ///
    /// If no broker has taken the message in time, its connection broke or it was purged, the
    /// [source](std::error::Error::source) is the last failure of a broker. The source of that is
    /// the first failure of the broker, if it was of another kind. It is a [`KafkaError`],
    /// whose [`connect_failure`](KafkaError::connect_failure) tells a refused connection from an
    /// unknown host or a rejected login. There is no source if no broker has failed since a message
    /// was last delivered. Then the topic may not exist, for example:
    /// [`partitions_for`](crate::Producer::partitions_for) tells.
    pub fn error(&self) -> &KafkaError {
        &self.0.error
    }

    /// Returns whether the message may be in the log nevertheless.
    ///
    /// It decides whether sending the record again may [write it twice](Self#sending-again).
    pub fn persistence(&self) -> Persistence {
        self.0.persistence
    }

    /// Returns the time from the enqueue until the producer's task learned of the failure.
    ///
    /// `None` if the record was refused before it was enqueued. As
    /// [`Delivery::latency`](crate::Delivery::latency), it includes `linger.ms`, retries, and the
    /// time that this process was paused. librdkafka does not tell how often it has tried.
    ///
    /// Source: `rd_kafka_message_latency`.
    pub fn latency(&self) -> Option<Duration> {
        self.0.delays.in_queue
    }

    /// Returns how long the record had waited for capacity, in steps of 100 ms, also if it found
    /// none.
    ///
    /// Known for the records of `send`, `enqueue` and their forms with a time limit. Zero for all
    /// others, and for those that did not wait.
    pub fn waited_for_capacity(&self) -> Duration {
        self.0.delays.for_capacity
    }

    /// Returns the record as the caller passed it, without its opaque.
    pub fn record(&self) -> &ProducerRecord<'static> {
        &self.0.record
    }

    /// Returns the record as the caller passed it, to send it again.
    pub fn into_record(self) -> ProducerRecord<'static> {
        self.0.record
    }

    /// Takes the record of an error that is about to be replaced.
    pub(crate) fn take_record(&mut self) -> ProducerRecord<'static> {
        mem::replace(&mut self.0.record, ProducerRecord::to(String::new()))
    }

    /// The error of the same record with another reason.
    pub(crate) fn with_error(mut self, error: KafkaError) -> Self {
        self.0.error = error;
        self
    }

    /// The error of a record that was sent again because of `first`. That is its source, unless it
    /// has another one or says the same.
    pub(crate) fn after(mut self, first: &KafkaError) -> Self {
        let error = &self.0.error;
        if error.code() != first.code() && error.source().is_none() {
            self.0.error = error.clone().caused_by(first.clone());
        }
        self
    }

    /// Returns the record, its opaque and the reason.
    ///
    /// The opaque is `None` if the delivery callback has received it.
    pub fn into_parts(self) -> (ProducerRecord<'static>, Option<D>, KafkaError) {
        let inner = *self.0;
        (inner.record, inner.opaque, inner.error)
    }
}

/// Errors for the tests of users (feature `mock`).
#[cfg(feature = "mock")]
impl<D> SendError<D> {
    /// Returns the error of a record that was not delivered, or may not have been.
    ///
    /// It has the record's opaque if `persistence` is `NotPersisted`, as if the record had been
    /// refused. Otherwise the delivery callback would have received the opaque, and it is dropped.
    ///
    /// ```
    /// use tokio_rdkafka::{KafkaError, Persistence, ProducerRecord, RDKafkaErrorCode, SendError};
    ///
    /// fn may_be_sent_again(error: &SendError) -> bool {
    ///     error.is_retriable() && error.persistence() == Persistence::NotPersisted
    /// }
    ///
    /// let record = || ProducerRecord::to("orders").payload("7");
    /// let late = || KafkaError::mock(RDKafkaErrorCode::MessageTimedOut);
    /// let error = SendError::mock(late(), Persistence::NotPersisted, record());
    /// assert!(may_be_sent_again(&error));
    /// let error = SendError::mock(late(), Persistence::PossiblyPersisted, record());
    /// assert!(!may_be_sent_again(&error));
    /// ```
    pub fn mock(
        error: KafkaError,
        persistence: Persistence,
        record: ProducerRecord<'_, D>,
    ) -> Self {
        let mut failed = Self::refused(error, record);
        failed.0.persistence = persistence;
        if persistence != Persistence::NotPersisted {
            failed.0.opaque = None;
        }
        failed
    }
}

error_predicates! { (D) SendError<D> }

/// Drops the record.
impl<D> From<SendError<D>> for KafkaError {
    fn from(failed: SendError<D>) -> Self {
        failed.0.error
    }
}

/// The persistence is [`NotPersisted`](Persistence::NotPersisted). Copies what the record borrows.
impl<D> From<EnqueueError<'_, D>> for SendError<D> {
    fn from(refused: EnqueueError<'_, D>) -> Self {
        let (record, error) = refused.into_parts();
        Self::refused(error, record)
    }
}

impl<D> fmt::Display for SendError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.0.record.get_topic();
        write!(f, "record to {topic:?} failed ({}", self.0.persistence)?;
        let Delays {
            for_capacity,
            in_queue,
        } = self.0.delays;
        if !for_capacity.is_zero() {
            write!(
                f,
                ", waited {:.1} s for capacity",
                for_capacity.as_secs_f64()
            )?;
        }
        if let Some(in_queue) = in_queue {
            write!(f, ", {:.3} s in the queue", in_queue.as_secs_f64())?;
        }
        write!(f, "): {}", self.0.error)
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
