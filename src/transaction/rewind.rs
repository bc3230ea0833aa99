//! Taking a consumer of the crate `rdkafka` back to its committed offsets.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ConsumerError, KafkaResult};
use rdkafka::topic_partition_list::Offset;
use tokio::sync::oneshot;

use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::sync::catch_panic;

/// Takes a consumer back to the committed offsets of its partitions.
///
/// Call it after a transaction was aborted, and before the consumer returns the next message:
/// what was consumed for that transaction is then consumed again. A partition without a committed
/// offset starts at its beginning, as with `auto.offset.reset=earliest`. With
/// `isolation.level=read_committed` it waits for a transaction that is being committed.
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
    let (done, rewound) = oneshot::channel();
    thread::Builder::new()
        .name("rdkafka-block".to_owned())
        .spawn(move || {
            let result = seek_to_committed(&*consumer, timeout);
            drop(consumer);
            // The future may have been dropped. Its waker is foreign code, which may panic.
            let _ = catch_panic(|| done.send(result));
        })
        .map_err(KafkaError::no_thread)?;
    match rewound.await {
        Ok(result) => result.map_err(|error| consumer_error(&error)),
        // The consumer's context has panicked.
        Err(_) => Err(KafkaError::with_text(
            RDKafkaErrorCode::State,
            "rewind: a callback of the consumer's context panicked",
        )),
    }
}

fn seek_to_committed<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    timeout: Duration,
) -> KafkaResult<()> {
    let started = Instant::now();
    let assigned = consumer.assignment()?;
    if assigned.count() == 0 {
        return Ok(());
    }
    let offsets = consumer.committed_offsets(assigned, timeout)?;
    for mut partition in offsets.elements() {
        // If the request failed, the offset is not valid.
        partition.error()?;
        if partition.offset() == Offset::Invalid {
            partition.set_offset(Offset::Beginning)?;
        }
    }
    let left = timeout.saturating_sub(started.elapsed());
    let sought = consumer.seek_partitions(offsets, left)?;
    sought
        .elements()
        .iter()
        .try_for_each(|partition| partition.error())
}

fn consumer_error(error: &ConsumerError) -> KafkaError {
    let code = error.rdkafka_error_code();
    let code = code.map_or(RDKafkaErrorCode::State, |code| (code as i32).into());
    KafkaError::with_text(code, format!("rewind: {error}"))
}
