//! What a producer tells its user beside the results of sends.

use std::sync::Arc;

use crate::delivery::DeliveryResult;
use crate::error::KafkaError;
use crate::log_level::RDKafkaLogLevel;
use crate::partitioner::Partitioner;

/// Logs, errors and statistics of a client.
///
/// The methods run on the producer's driver task (of a [`BaseProducer`](crate::BaseProducer): in
/// `poll`), and at teardown maybe on a thread outside the runtime: they should be quick and must
/// not block. A panic in one is caught, logged and counted, and stops nothing.
pub trait ClientContext: Send + Sync + 'static {
    /// A log line of librdkafka; `facility` says which part it is from. Values of the
    /// configuration that may be secret are struck out.
    ///
    /// The default makes a [`tracing`] event of it with the target `librdkafka`.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_to_tracing(level, facility, message);
    }

    /// An error of the client, not of one record: once for each that librdkafka raises. All but
    /// the fatal ones ([`KafkaError::is_fatal`]) are for information: librdkafka goes on by itself.
    ///
    /// The default makes a [`tracing`] event of it.
    fn error(&self, error: &KafkaError) {
        if error.is_fatal() {
            tracing::error!(target: "librdkafka", %error, "fatal error");
        } else {
            tracing::warn!(target: "librdkafka", %error, "client error");
        }
    }

    /// Statistics as JSON, every `statistics.interval.ms`; see librdkafka's STATISTICS.md.
    ///
    /// The default does nothing.
    fn stats(&self, json: &str) {
        let _ = json;
    }
}

fn log_to_tracing(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, ?level, "{message}");
        }
        RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, ?level, "{message}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, ?level, "{message}");
        }
        RDKafkaLogLevel::Debug => {
            tracing::debug!(target: "librdkafka", facility, ?level, "{message}");
        }
    }
}

/// A [`ClientContext`] that hears of every delivery.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tokio_rdkafka::{ClientContext, DeliveryResult, ProducerContext};
///
/// #[derive(Default)]
/// struct Counting {
///     failed: AtomicU64,
/// }
///
/// impl ClientContext for Counting {}
///
/// impl ProducerContext for Counting {
///     /// The row that the record was made from.
///     type DeliveryOpaque = u64;
///
///     fn delivery(&self, result: &DeliveryResult<'_>, row: u64) {
///         if let Err(error) = result {
///             self.failed.fetch_add(1, Ordering::Relaxed);
///             eprintln!("row {row}: {error}");
///         }
///     }
/// }
/// ```
pub trait ProducerContext: ClientContext {
    /// What a record carries for its delivery callback.
    type DeliveryOpaque: Send + Sync + 'static;

    /// What became of a message: called exactly once for each that was enqueued, before its future
    /// resolves. The rules of [`ClientContext`] hold.
    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque);

    /// What chooses the partitions of records that have none: looked at when the producer is made,
    /// and, if there is one then, for each record. By default there is none, which costs nothing, and
    /// librdkafka chooses as the property `partitioner` says.
    ///
    /// A producer with a partitioner has `sticky.partitioning.linger.ms` at 0: librdkafka would not ask
    /// for records without a key otherwise. Another value for it, or one for `partitioner`, is an error
    /// when the producer is made.
    fn partitioner(&self) -> Option<&dyn Partitioner> {
        None
    }
}

/// The context of producers that were given none: logs and errors go to [`tracing`], delivery
/// callbacks do nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefaultProducerContext;

impl ClientContext for DefaultProducerContext {}

impl ProducerContext for DefaultProducerContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// A context that several producers share.
impl<T: ClientContext> ClientContext for Arc<T> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        (**self).log(level, facility, message);
    }

    fn error(&self, error: &KafkaError) {
        (**self).error(error);
    }

    fn stats(&self, json: &str) {
        (**self).stats(json);
    }
}

impl<T: ProducerContext> ProducerContext for Arc<T> {
    type DeliveryOpaque = T::DeliveryOpaque;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        (**self).delivery(result, opaque);
    }

    fn partitioner(&self) -> Option<&dyn Partitioner> {
        (**self).partitioner()
    }
}
