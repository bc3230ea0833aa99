//! The errors that give a record back.

use std::error::Error;
use std::fmt;

use super::record::ProducerRecord;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::values::Persistence;

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

    /// A message whose completer was dropped without a result: nothing is known of it.
    #[cold]
    pub(super) fn abandoned() -> Self {
        let text = "the client dropped the message without a delivery report";
        let error = KafkaError::with_text(RDKafkaErrorCode::Fail, text);
        Self::undelivered(
            error,
            Persistence::PossiblyPersisted,
            ProducerRecord::to(String::new()),
        )
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
