//! Partitioners that users implement.

use std::fmt;

use crate::ffi::PartitionerArgs;

/// Chooses the partition of each record that has none.
///
/// A producer uses the partitioner that its context returns from
/// [`ProducerContext::partitioner`](crate::ProducerContext::partitioner). A closure is a
/// partitioner, too.
///
/// # When it runs
///
/// The partitioner runs once for each record without a partition, whether the record has a key or
/// not. It needs the number of partitions of the topic:
///
/// - If that is known, it runs on the caller's thread, in the call that enqueues the record.
/// - Otherwise it runs on a thread of librdkafka, when the topic's metadata arrives.
///
/// It may run on several threads at once.
///
/// # What it must not do
///
/// It runs while librdkafka holds locks. It must be quick, must not block, and must not call its
/// producer, which could deadlock. The same holds for the panic hook and the `tracing` subscriber,
/// if the partitioner can panic.
///
/// # Failures
///
/// A record fails with [`UnknownPartition`](crate::RDKafkaErrorCode::UnknownPartition) if the
/// partitioner returns a partition that the topic does not have, or panics. Either the call that
/// enqueues the record fails, or its delivery. The panic is caught, logged and counted
/// ([`callback_panics`](crate::Producer::callback_panics)).
///
/// Source: `rd_kafka_topic_conf_set_partitioner_cb`.
///
/// # Example
///
/// ```
/// use tokio_rdkafka::{
///     ClientContext, DeliveryResult, PartitionRequest, Partitioner, ProducerContext,
/// };
///
/// /// Sends records without a key to the first available partition after partition 0.
/// struct Routing;
///
/// impl Partitioner for Routing {
///     fn partition(&self, record: &PartitionRequest<'_>) -> i32 {
///         let count = record.partition_count();
///         match record.key() {
///             Some(key) => i32::from(key.first().copied().unwrap_or(0)) % count,
///             None => (1..count).find(|&other| record.is_available(other)).unwrap_or(0),
///         }
///     }
/// }
///
/// impl ClientContext for Routing {}
///
/// impl ProducerContext for Routing {
///     type DeliveryOpaque = ();
///
///     fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
///
///     fn partitioner(&self) -> Option<&dyn Partitioner> {
///         Some(self)
///     }
/// }
/// ```
pub trait Partitioner: Send + Sync {
    /// Returns the partition for a record: at least 0 and less than
    /// [`partition_count`](PartitionRequest::partition_count).
    ///
    /// Any other number, for instance −1, makes the record fail.
    fn partition(&self, record: &PartitionRequest<'_>) -> i32;
}

impl<F: Fn(&PartitionRequest<'_>) -> i32 + Send + Sync> Partitioner for F {
    fn partition(&self, record: &PartitionRequest<'_>) -> i32 {
        self(record)
    }
}

/// A record without a partition, and what is known about its topic.
pub struct PartitionRequest<'a>(&'a PartitionerArgs<'a>);

impl<'a> PartitionRequest<'a> {
    pub(super) fn new(args: &'a PartitionerArgs<'a>) -> Self {
        Self(args)
    }

    /// Returns the name of the record's topic.
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    /// Returns the record's key, or `None` if it has none.
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key
    }

    /// Returns the length of the record's payload in bytes, or 0 if it has none.
    pub fn payload_len(&self) -> usize {
        self.0.payload_len
    }

    /// Returns the number of partitions of the topic, at least 1.
    ///
    /// The number may differ from one record to the next.
    pub fn partition_count(&self) -> i32 {
        self.0.partition_count
    }

    /// Returns true if the partition has a leader now.
    ///
    /// A record for a partition without a leader waits for one, up to `message.timeout.ms`.
    ///
    /// Source: `rd_kafka_topic_partition_available`.
    pub fn is_available(&self, partition: i32) -> bool {
        self.0.is_available(partition)
    }
}

impl fmt::Debug for PartitionRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionRequest")
            .field("topic", &self.topic())
            .field("key", &self.key())
            .field("payload_len", &self.payload_len())
            .field("partition_count", &self.partition_count())
            .finish()
    }
}
