//! Taking a consumer of the crate `rdkafka` back to its committed offsets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::consumer_call::{consumer_error, on_thread};
use crate::error::KafkaError;
use crate::values::TopicPartitionOffset;

/// Takes a consumer back to the committed offsets of its partitions.
///
/// Call it after a transaction was aborted, and before the consumer returns the next message:
/// what was consumed for that transaction is then consumed again. A partition without a committed
/// offset starts at its beginning, as with `auto.offset.reset=earliest`. A partition of which the
/// consumer has returned no message stays where it is. With `isolation.level=read_committed` it
/// waits for a transaction that is being committed.
///
/// [`consume_transform_produce`](crate::consume_transform_produce) does this by itself.
///
/// The calls of the consumer block, so they run on a thread of their own. Nothing else may seek or
/// poll the consumer meanwhile. Available with the feature `rdkafka`.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
/// use rdkafka::consumer::StreamConsumer;
/// use tokio_rdkafka::{BoxError, TransactionalProducer, rewind};
///
/// # async fn read_again(
/// #     consumer: Arc<StreamConsumer>,
/// #     producer: &mut TransactionalProducer,
/// # ) -> Result<(), BoxError> {
/// producer.begin().await?.abort().await?;
/// rewind(Arc::clone(&consumer), Duration::from_secs(30)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The error of the consumer's call that failed, with its code. The consumer may be at other
/// offsets then: call it again.
///
/// # Cancel safety
///
/// The calls begin when the future is first polled. They are completed, even if it is dropped.
pub async fn rewind<C, K>(consumer: Arc<K>, timeout: Duration) -> Result<(), KafkaError>
where
    C: ConsumerContext,
    K: Consumer<C> + Send + Sync + 'static,
{
    rewind_to(&consumer, Vec::new(), timeout).await
}

/// Rewinds a consumer. A partition without a committed offset goes to its offset of `firsts`.
pub(super) async fn rewind_to<C, K>(
    consumer: &Arc<K>,
    firsts: Vec<TopicPartitionOffset>,
    timeout: Duration,
) -> Result<(), KafkaError>
where
    C: ConsumerContext,
    K: Consumer<C> + Send + Sync + 'static,
{
    let rewound = on_thread("rewind", consumer, move |consumer| {
        seek_to_committed(consumer, &firsts, timeout)
    });
    rewound
        .await?
        .map_err(|error| consumer_error("rewind", &error))
}

fn seek_to_committed<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    firsts: &[TopicPartitionOffset],
    timeout: Duration,
) -> KafkaResult<()> {
    let started = Instant::now();
    // Without an offset: nothing of the partition was returned.
    let positions = consumer.position()?;
    let mut consumed = TopicPartitionList::new();
    for partition in positions.elements() {
        if partition.offset() != Offset::Invalid {
            consumed.add_partition(partition.topic(), partition.partition());
        }
    }
    if consumed.count() == 0 {
        return Ok(());
    }
    let offsets = consumer.committed_offsets(consumed, timeout)?;
    for mut partition in offsets.elements() {
        // If the request failed, the offset is not valid.
        partition.error()?;
        if partition.offset() == Offset::Invalid {
            let first = firsts.iter().find(|first| {
                (first.topic(), first.partition()) == (partition.topic(), partition.partition())
            });
            let offset = first.map_or(Offset::Beginning, |first| Offset::Offset(first.offset()));
            partition.set_offset(offset)?;
        }
    }
    let left = timeout.saturating_sub(started.elapsed());
    let sought = consumer.seek_partitions(offsets, left)?;
    sought
        .elements()
        .iter()
        .try_for_each(|partition| partition.error())
}
