//! Whether the consumer of the loop is where its group continues.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::KafkaError as ConsumerError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::consumed_batch::ConsumedBatch;
use super::consumer_call::{committed, consumer_error, on_thread};
use crate::error::KafkaError;
use crate::values::{ConsumerGroupMetadata, TopicPartitionOffset};

/// Anything of a partition may come.
const ANY: i64 = i64::MIN;

/// Finds a consumer that has gone elsewhere by itself, so that records would count twice or not at
/// all.
///
/// librdkafka may begin at `auto.offset.reset`, although there is a committed offset: if the group
/// rebalances while a transaction with an offset of the partition is being committed, librdkafka
/// forgets to ask again (rdkafka_assignment.c, `UNSTABLE_OFFSET_COMMIT`). It goes there as well if
/// it finds that the log was truncated.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// The membership in which the partitions were checked.
    member: Option<ConsumerGroupMetadata>,
    /// By topic and partition, the offset before which nothing may come.
    lowest: HashMap<String, HashMap<i32, i64>>,
}

impl Positions {
    /// Returns false if the consumer has to be taken back to its committed offsets. Where it is
    /// after that is right: the log has a gap there, or is shorter than it was.
    ///
    /// The first records of each partition in a membership are compared with the committed offset.
    /// It asks only for those: an offset may have to wait for the end of a transaction.
    pub(super) async fn check<C, K>(
        &mut self,
        consumer: &Arc<K>,
        batch: &ConsumedBatch<'_>,
        timeout: Duration,
    ) -> Result<bool, KafkaError>
    where
        C: ConsumerContext,
        K: Consumer<C> + Send + Sync + 'static,
    {
        let member = batch.consumed.group();
        if self.member.as_ref() != member {
            self.member = member.cloned();
            self.lowest.clear();
        }
        // Who assigns partitions by hand says where they begin.
        if member.is_none_or(|member| member.member_id().is_empty()) {
            return Ok(true);
        }
        let mut went_back = false;
        let mut unknown = Vec::new();
        for message in batch {
            let (topic, partition, offset) =
                (message.topic(), message.partition(), message.offset());
            match self.lowest_of(topic, partition) {
                Some(lowest) if offset >= *lowest => {}
                Some(lowest) => {
                    went_back = true;
                    *lowest = ANY;
                }
                None => {
                    self.set(topic, partition, ANY);
                    unknown.push(TopicPartitionOffset::new(topic, partition, offset));
                }
            }
        }
        if went_back || unknown.is_empty() {
            return Ok(!went_back);
        }
        let checked = on_thread("consumer", consumer, move |consumer| {
            begin_at_committed(consumer, &unknown, timeout)
        });
        checked
            .await?
            .map_err(|error| consumer_error("consumer", &error))
    }

    /// Notes that a batch was committed. No partition may go back behind it.
    pub(super) fn committed(&mut self, batch: &ConsumedBatch<'_>) {
        for next in batch.consumed.offsets() {
            self.set(next.topic(), next.partition(), next.offset());
        }
    }

    fn lowest_of(&mut self, topic: &str, partition: i32) -> Option<&mut i64> {
        self.lowest.get_mut(topic)?.get_mut(&partition)
    }

    fn set(&mut self, topic: &str, partition: i32, offset: i64) {
        match self.lowest.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, offset);
            }
            None => {
                let partitions = HashMap::from([(partition, offset)]);
                self.lowest.insert(topic.to_owned(), partitions);
            }
        }
    }
}

/// Returns false if one of these is not the committed offset of its partition.
fn begin_at_committed<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    firsts: &[TopicPartitionOffset],
    timeout: Duration,
) -> Result<bool, ConsumerError> {
    let mut asked = TopicPartitionList::new();
    for first in firsts {
        asked.add_partition(first.topic(), first.partition());
    }
    let offsets = committed(consumer, asked, timeout)?;
    Ok(firsts.iter().all(|first| {
        let offset = offsets.find_partition(first.topic(), first.partition());
        match offset.map(|it| it.offset()) {
            Some(Offset::Offset(offset)) => offset == first.offset(),
            // There is none: auto.offset.reset tells where it begins.
            _ => true,
        }
    }))
}
