//! Offsets of a consumer of the crate `rdkafka`, as part of a transaction.

use rdkafka::Message;
use rdkafka::consumer::{Consumer, ConsumerContext};

use super::transaction::Transaction;
use crate::client::ProducerContext;
use crate::error::{Class, KafkaError, RDKafkaErrorCode};
use crate::ffi;
use crate::ffi::Group;
use crate::values::{ConsumerGroupMetadata, TopicPartitionOffset};

/// Collects the offsets that a transaction has consumed, for [`Transaction::send_consumed`].
///
/// Create a new one for each transaction. The group's metadata is fetched when the first message is
/// added. If the group has rebalanced without this consumer since then, the group's coordinator
/// refuses the offsets, and the transaction must be aborted. So no message is consumed twice or
/// skipped, even if another consumer has owned the partitions in the meantime.
///
/// ```no_run
/// use rdkafka::Message;
/// use rdkafka::consumer::StreamConsumer;
/// use tokio_rdkafka::{BoxError, ConsumedOffsets, ProducerRecord, TransactionalProducer};
///
/// /// With `enable.auto.commit=false` and `isolation.level=read_committed`.
/// async fn copy(
///     consumer: &StreamConsumer,
///     producer: &mut TransactionalProducer,
/// ) -> Result<(), BoxError> {
///     let transaction = producer.begin().await?;
///     let mut consumed = ConsumedOffsets::new();
///     for _ in 0..100 {
///         let message = consumer.recv().await?;
///         consumed.add(consumer, &message)?;
///         let record = ProducerRecord::to("copy").payload(message.payload());
///         transaction.enqueue_detached(record).await?;
///     }
///     transaction.send_consumed(&consumed).await?;
///     transaction.commit().await.map_err(|failed| failed.into_parts().1)?;
///     Ok(())
/// }
/// ```
///
/// After an abort or the drop of the transaction, [`rewind`](crate::rewind) the consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumedOffsets {
    group: Option<ConsumerGroupMetadata>,
    offsets: Vec<TopicPartitionOffset>,
}

impl ConsumedOffsets {
    /// Creates one without any offsets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates one with the group of its consumer.
    pub(super) fn of_group(group: ConsumerGroupMetadata) -> Self {
        Self {
            group: Some(group),
            offsets: Vec::new(),
        }
    }

    /// Adds a message that the consumer has returned. The group continues after it.
    ///
    /// Call it before the consumer is polled again. For the first message it blocks until the main
    /// thread of the consumer's librdkafka answers. It asks no broker.
    ///
    /// # Errors
    ///
    /// - [Requires an abort](KafkaError::requires_abort) if a message of the same partition with
    ///   this or a later offset was added before. The consumer went back, for instance because it
    ///   lost the partition and got it again.
    /// - [`UnknownGroup`](RDKafkaErrorCode::UnknownGroup) if the consumer has no group.
    pub fn add<C: ConsumerContext>(
        &mut self,
        consumer: &impl Consumer<C>,
        message: &impl Message,
    ) -> Result<(), KafkaError> {
        if self.group.is_none() {
            self.group = Some(ConsumerGroupMetadata::from_consumer(consumer)?);
        }
        self.add_message(message)
    }

    /// Adds a message of a consumer whose group is known.
    pub(super) fn add_message(&mut self, message: &impl Message) -> Result<(), KafkaError> {
        let next = TopicPartitionOffset::after(message);
        let mut all = self.offsets.iter_mut();
        match all.find(|known| known.is_of_partition(&next)) {
            None => self.offsets.push(next),
            Some(known) if known.offset() < next.offset() => *known = next,
            Some(known) => {
                let text = format!(
                    "offset {} of {:?} [{}] was added after offset {}: the consumer went back; \
                     abort the transaction",
                    message.offset(),
                    message.topic(),
                    message.partition(),
                    known.offset() - 1,
                );
                let code = RDKafkaErrorCode::AssignmentLost;
                return Err(KafkaError::of_call(Class::RequiresAbort, code, text));
            }
        }
        Ok(())
    }

    /// Returns true if no message has been added.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Returns the next offset of each partition of which messages were added.
    pub fn offsets(&self) -> &[TopicPartitionOffset] {
        &self.offsets
    }

    /// Returns the consumer's group membership at the time when the first message was added.
    pub fn group(&self) -> Option<&ConsumerGroupMetadata> {
        self.group.as_ref()
    }
}

impl<C: ProducerContext> Transaction<'_, C> {
    /// Adds the consumed offsets to the transaction, as [`send_offsets`](Self::send_offsets) does.
    ///
    /// It does nothing if `consumed` is empty. Available with the feature `rdkafka`.
    ///
    /// # Errors
    ///
    /// Same as [`send_offsets`](Self::send_offsets).
    ///
    /// # Cancel safety
    ///
    /// Same as [`send_offsets`](Self::send_offsets).
    pub async fn send_consumed(&self, consumed: &ConsumedOffsets) -> Result<(), KafkaError> {
        match &consumed.group {
            Some(group) if !consumed.is_empty() => {
                self.send_offsets(&consumed.offsets, group).await
            }
            _ => Ok(()),
        }
    }
}

impl ConsumerGroupMetadata {
    /// Returns the current membership of a consumer in its group. Each rebalance changes it.
    ///
    /// A consumer that has not joined yet, or whose partitions are assigned by hand, is
    /// [no member](Self::new). Nothing then prevents it from committing offsets of a partition that
    /// another consumer has taken over.
    ///
    /// It blocks until the main thread of the consumer's librdkafka answers. It asks no broker.
    ///
    /// Available with the feature `rdkafka`. [`ConsumedOffsets`] calls it at the right time.
    ///
    /// # Errors
    ///
    /// [`UnknownGroup`](RDKafkaErrorCode::UnknownGroup) if the consumer has no `group.id`, or is
    /// closed.
    pub fn from_consumer<C: ConsumerContext>(
        consumer: &impl Consumer<C>,
    ) -> Result<Self, KafkaError> {
        let group = Group::of_consumer(consumer.client()).ok_or_else(|| {
            let code = RDKafkaErrorCode::UnknownGroup;
            KafkaError::with_text(code, "the consumer has no group.id, or is closed")
        })?;
        Ok(group.to_metadata())
    }
}

impl TopicPartitionOffset {
    /// Returns the position after a message: its offset plus one.
    ///
    /// Available with the feature `rdkafka`.
    ///
    /// ```
    /// use rdkafka::Timestamp;
    /// use rdkafka::message::OwnedMessage;
    /// use tokio_rdkafka::TopicPartitionOffset;
    ///
    /// let topic = "orders".to_owned();
    /// let message = OwnedMessage::new(None, None, topic, Timestamp::NotAvailable, 3, 41, None);
    /// assert_eq!(
    ///     TopicPartitionOffset::after(&message),
    ///     TopicPartitionOffset::new("orders", 3, 42),
    /// );
    /// ```
    pub fn after(message: &impl Message) -> Self {
        let next = message.offset().saturating_add(1);
        Self::new(message.topic(), message.partition(), next)
    }

    /// Returns the position of a consumer in each of its partitions: after the last returned
    /// message.
    ///
    /// Partitions of which the consumer has returned no message are left out. So are partitions
    /// that the consumer has lost in a rebalance: their next owner would consume their messages
    /// again. Prefer [`ConsumedOffsets`], or abort the transaction after a rebalance.
    ///
    /// Available with the feature `rdkafka`.
    ///
    /// # Errors
    ///
    /// - [Requires an abort](KafkaError::requires_abort) if the consumer has lost its partitions
    ///   because the group rebalanced without it.
    /// - The error of [`Consumer::position`].
    pub fn positions<C: ConsumerContext>(
        consumer: &impl Consumer<C>,
    ) -> Result<Vec<Self>, KafkaError> {
        if consumer.assignment_lost() {
            let text = "the consumer has lost its partitions; abort the transaction";
            let code = RDKafkaErrorCode::AssignmentLost;
            return Err(KafkaError::of_call(Class::RequiresAbort, code, text));
        }
        let positions = consumer.position().map_err(|error| {
            let code = error.rdkafka_error_code();
            let code = code.map_or(RDKafkaErrorCode::State, |code| (code as i32).into());
            KafkaError::with_text(code, error.to_string())
        })?;
        Ok(ffi::offsets_of_list(&positions))
    }

    fn is_of_partition(&self, other: &Self) -> bool {
        (self.partition(), self.topic()) == (other.partition(), other.topic())
    }
}
