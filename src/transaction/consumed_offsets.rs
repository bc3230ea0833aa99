//! What a consumer of the crate `rdkafka` has read, as a part of a transaction.

use rdkafka::Message;
use rdkafka::consumer::{Consumer, ConsumerContext};

use super::transaction::Transaction;
use crate::client::ProducerContext;
use crate::error::{Class, KafkaError, RDKafkaErrorCode};
use crate::ffi;
use crate::ffi::Group;
use crate::values::{ConsumerGroupMetadata, TopicPartitionOffset};

/// How far a transaction has consumed, and as which member of the consumer group: for
/// [`Transaction::send_consumed`]. Begin with a new one for each transaction.
///
/// The group's metadata is fetched with the first message. Where the group has gone on since then
/// without this consumer, its coordinator refuses the offsets, and the transaction has to be
/// aborted: what became of the partitions meanwhile, no message is consumed twice or left out.
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
/// After an abort, also that of a transaction that is dropped, the consumer has to be taken back to
/// where the transaction began: the example `exactly_once` shows how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumedOffsets {
    group: Option<ConsumerGroupMetadata>,
    offsets: Vec<TopicPartitionOffset>,
}

impl ConsumedOffsets {
    /// Nothing consumed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message that the consumer has handed out: the group goes on behind it. To be called
    /// before the consumer is polled again.
    ///
    /// With the first message, it has a word with the main thread of the consumer's librdkafka, but
    /// with no broker.
    ///
    /// # Errors
    ///
    /// - [Requires an abort](KafkaError::requires_abort) where the message is not behind those that
    ///   were added before, of the same partition: the consumer went back, for instance as it lost
    ///   the partition and got it again.
    /// - [`UnknownGroup`](RDKafkaErrorCode::UnknownGroup) where the consumer has no group.
    pub fn add<C: ConsumerContext>(
        &mut self,
        consumer: &impl Consumer<C>,
        message: &impl Message,
    ) -> Result<(), KafkaError> {
        if self.group.is_none() {
            self.group = Some(ConsumerGroupMetadata::from_consumer(consumer)?);
        }
        let next = TopicPartitionOffset::after(message);
        let mut all = self.offsets.iter_mut();
        match all.find(|known| known.is_of_partition(&next)) {
            None => self.offsets.push(next),
            Some(known) if known.offset() < next.offset() => *known = next,
            Some(known) => {
                let text = format!(
                    "offset {} of {:?} [{}] is not behind the {} that went before",
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

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The next offset of each partition that messages were added of.
    pub fn offsets(&self) -> &[TopicPartitionOffset] {
        &self.offsets
    }

    /// The member of the group that the consumer was when the first message was added.
    pub fn group(&self) -> Option<&ConsumerGroupMetadata> {
        self.group.as_ref()
    }
}

impl<C: ProducerContext> Transaction<'_, C> {
    /// [Makes](Self::send_offsets) what has been consumed a part of the transaction. Where nothing
    /// has been, it does nothing.
    ///
    /// Available with the feature `rdkafka`.
    ///
    /// # Errors
    ///
    /// As [`send_offsets`](Self::send_offsets).
    ///
    /// # Cancel safety
    ///
    /// As [`send_offsets`](Self::send_offsets).
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
    /// As which member of its group a consumer goes on at this time; what it is changes with each
    /// rebalance. A consumer that has not joined yet, or whose partitions are assigned by hand, is
    /// [no member](Self::new), and nothing keeps it from committing what another has taken over.
    ///
    /// It has a word with the main thread of the consumer's librdkafka, but with no broker.
    ///
    /// Available with the feature `rdkafka`. See [`ConsumedOffsets`], which fetches it when it should
    /// be.
    ///
    /// # Errors
    ///
    /// [`UnknownGroup`](RDKafkaErrorCode::UnknownGroup) where the consumer has no group: no
    /// `group.id`, or it is closed.
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
    /// That behind a message: its offset plus one.
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

    /// Where a consumer goes on in each partition that is assigned to it: behind the last message
    /// that it handed out. Partitions of which it has handed out none are left out.
    ///
    /// Of a partition that was taken from the consumer nothing is told: where there was a rebalance
    /// since the transaction began, messages of it would be consumed again by its next owner. Prefer
    /// [`ConsumedOffsets`], or abort after a rebalance.
    ///
    /// Available with the feature `rdkafka`.
    ///
    /// # Errors
    ///
    /// - [Requires an abort](KafkaError::requires_abort) where the consumer's partitions are lost:
    ///   the group has gone on without it.
    /// - What [`Consumer::position`] returns.
    pub fn positions<C: ConsumerContext>(
        consumer: &impl Consumer<C>,
    ) -> Result<Vec<Self>, KafkaError> {
        if consumer.assignment_lost() {
            let text = "the consumer has lost its partitions";
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
