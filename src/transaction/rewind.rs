//! Taking a consumer of the crate `rdkafka` back to its committed offsets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::consumer_call::{LONGEST, committed, consumer_error, on_thread};
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
    rewind_to(&consumer, None, timeout).await
}

/// Rewinds a consumer. With `firsts` it rewinds only their partitions: the others have nothing that
/// is not committed, and may have lost their committed offsets since. One of them without a
/// committed offset goes to its offset of `firsts`.
pub(super) async fn rewind_to<C, K>(
    consumer: &Arc<K>,
    firsts: Option<Vec<TopicPartitionOffset>>,
    timeout: Duration,
) -> Result<(), KafkaError>
where
    C: ConsumerContext,
    K: Consumer<C> + Send + Sync + 'static,
{
    let rewound = on_thread("rewind", consumer, move |consumer| {
        seek_to_committed(consumer, firsts.as_deref(), timeout)
    });
    rewound
        .await?
        .map_err(|error| consumer_error("rewind", &error))
}

fn seek_to_committed<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    firsts: Option<&[TopicPartitionOffset]>,
    timeout: Duration,
) -> KafkaResult<()> {
    let started = Instant::now();
    let first_of = |topic: &str, partition: i32| {
        let mut firsts = firsts.unwrap_or_default().iter();
        firsts.find(|first| (first.topic(), first.partition()) == (topic, partition))
    };
    // Without an offset: nothing of the partition was returned.
    let positions = consumer.position()?;
    let mut consumed = TopicPartitionList::new();
    for partition in positions.elements() {
        let (topic, number) = (partition.topic(), partition.partition());
        let is_included = firsts.is_none() || first_of(topic, number).is_some();
        if is_included && partition.offset() != Offset::Invalid {
            consumed.add_partition(topic, number);
        }
    }
    if consumed.count() == 0 {
        return Ok(());
    }
    let offsets = committed(consumer, consumed, timeout)?;
    for mut partition in offsets.elements() {
        if partition.offset() == Offset::Invalid {
            let first = first_of(partition.topic(), partition.partition());
            let offset = first.map_or(Offset::Beginning, |first| Offset::Offset(first.offset()));
            partition.set_offset(offset)?;
        }
    }
    let left = timeout.saturating_sub(started.elapsed());
    let sought = consumer.seek_partitions(offsets, left.min(LONGEST))?;
    sought
        .elements()
        .iter()
        .try_for_each(|partition| partition.error())
}
