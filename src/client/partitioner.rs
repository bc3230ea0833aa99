//! Partitioners of the user's own.

use std::fmt;

use crate::ffi::Choice;

/// Chooses the partitions of records; see
/// [`ProducerContext::partitioner`](crate::ProducerContext::partitioner).
///
/// It is asked for every record that has no partition of its own, with a key or without one, once the
/// partitions of its topic are known: within the call that enqueues the record, on the caller's
/// thread, or for a record that was enqueued before, when they become known, on one of librdkafka's.
/// So it may run on several threads at once.
///
/// It runs under librdkafka's locks: it must be quick, must not block, and must not call the producer
/// that it is of, which could wait for itself without an end. Nor must the panic hook or the subscriber
/// of `tracing` that a panic in it reaches.
///
/// A panic in it is caught, logged and counted
/// ([`callback_panics`](crate::Producer::callback_panics)). It fails the record, as does a partition
/// that the topic does not have, with
/// [`UnknownPartition`](crate::RDKafkaErrorCode::UnknownPartition): the call that enqueues it, or the
/// delivery.
///
/// Source: `rd_kafka_topic_conf_set_partitioner_cb`.
///
/// ```
/// use tokio_rdkafka::{
///     ClientContext, DeliveryResult, PartitionRequest, Partitioner, ProducerContext,
/// };
///
/// /// Records without a key stay out of partition 0.
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
    /// The partition for that record, below [`partition_count`](PartitionRequest::partition_count);
    /// any other number, say −1, fails the record.
    fn partition(&self, record: &PartitionRequest<'_>) -> i32;
}

impl<F: Fn(&PartitionRequest<'_>) -> i32 + Send + Sync> Partitioner for F {
    fn partition(&self, record: &PartitionRequest<'_>) -> i32 {
        self(record)
    }
}

/// A record whose partition is to be chosen, and what is known of its topic.
pub struct PartitionRequest<'a>(&'a Choice<'a>);

impl<'a> PartitionRequest<'a> {
    pub(super) fn new(choice: &'a Choice<'a>) -> Self {
        Self(choice)
    }

    /// The record's topic.
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    /// The record's key.
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key
    }

    /// How many bytes the record's payload has; 0 also where there is none.
    pub fn payload_len(&self) -> usize {
        self.0.payload_len
    }

    /// How many partitions the topic has now, at least one. It may be another number for the next
    /// record.
    pub fn partition_count(&self) -> i32 {
        self.0.partition_count
    }

    /// Whether the partition has a leader at the moment. A record for one that has none waits for it,
    /// for up to `message.timeout.ms`.
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
