//! The error of a call that does not wait.

use std::fmt;

use super::error_predicates::error_predicates;
use super::record::ProducerRecord;
use crate::error::KafkaError;

/// The error of a call that refused a record at once. It returns the record as the caller passed
/// it.
///
/// ```
/// # use tokio_rdkafka::{BaseProducer, ClientConfig, EnqueueError, ProducerRecord};
/// fn produce(producer: &BaseProducer) -> Result<(), Box<dyn std::error::Error>> {
///     let payload = String::from("local");
///     // The error borrows what the record borrows, until `into_owned` copies it.
///     producer
///         .send(ProducerRecord::to("t").payload(&payload))
///         .map_err(EnqueueError::into_owned)?;
///     Ok(())
/// }
/// ```
///
/// `?` alone converts it into a [`KafkaError`] or a [`SendError`](crate::SendError).
pub struct EnqueueError<'a, D = ()>(Box<(KafkaError, ProducerRecord<'a, D>)>);

impl<'a, D> EnqueueError<'a, D> {
    pub(crate) fn new(error: KafkaError, mut record: ProducerRecord<'a, D>) -> Self {
        record.fields.settle(&error);
        Self(Box::new((error, record)))
    }

    /// Returns why the record was refused.
    pub fn error(&self) -> &KafkaError {
        &self.0.0
    }

    /// Returns the record.
    pub fn record(&self) -> &ProducerRecord<'a, D> {
        &self.0.1
    }

    /// Returns the record, to send it again.
    pub fn into_record(self) -> ProducerRecord<'a, D> {
        self.0.1
    }

    /// Returns the record and why it was refused.
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

/// Errors for the tests of users (feature `mock`).
#[cfg(feature = "mock")]
impl<'a, D> EnqueueError<'a, D> {
    /// Returns the error of a record that was refused.
    ///
    /// ```
    /// use tokio_rdkafka::{EnqueueError, KafkaError, ProducerRecord, RDKafkaErrorCode};
    ///
    /// let full = KafkaError::mock(RDKafkaErrorCode::QueueFull);
    /// let error = EnqueueError::mock(full, ProducerRecord::to("orders").payload("7"));
    /// assert!(error.is_queue_full());
    /// ```
    pub fn mock(error: KafkaError, record: ProducerRecord<'a, D>) -> Self {
        Self::new(error, record)
    }
}

error_predicates! { ('a, D) EnqueueError<'a, D> }

/// Drops the record.
impl<D> From<EnqueueError<'_, D>> for KafkaError {
    fn from(refused: EnqueueError<'_, D>) -> Self {
        refused.0.0
    }
}

impl<D> fmt::Display for EnqueueError<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.record().get_topic();
        write!(f, "record to {topic:?} was refused: {}", self.error())
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
