//! Calls of a consumer of the crate `rdkafka` that block, and its errors.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ConsumerError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::oneshot;

use crate::error::{Class, KafkaError, RDKafkaErrorCode};
use crate::sync::catch_panic;

/// The longest time limit that the crate rdkafka passes on: it converts milliseconds to an `i32`.
pub(super) const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// Runs a call of a consumer on a thread of its own. It is completed, even if the future is
/// dropped.
///
/// # Errors
///
/// The system has no thread, or the consumer's context has panicked.
pub(super) async fn on_thread<K, T>(
    name: &str,
    consumer: &Arc<K>,
    call: impl FnOnce(&K) -> T + Send + 'static,
) -> Result<T, KafkaError>
where
    K: Send + Sync + 'static,
    T: Send + 'static,
{
    let (done, result) = oneshot::channel();
    let consumer = Arc::clone(consumer);
    thread::Builder::new()
        .name("rdkafka-block".to_owned())
        .spawn(move || {
            let result = call(&consumer);
            drop(consumer);
            // The future may have been dropped. Its waker is foreign code, which may panic.
            let _ = catch_panic(|| done.send(result));
        })
        .map_err(KafkaError::no_thread)?;
    result.await.map_err(|_| {
        let text = format!("{name}: a callback of the consumer's context panicked");
        KafkaError::with_text(RDKafkaErrorCode::State, text)
    })
}

/// Asks for the committed offsets of partitions. That of a partition without one is
/// `Offset::Invalid`. It blocks.
pub(super) fn committed<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    partitions: TopicPartitionList,
    timeout: Duration,
) -> KafkaResult<TopicPartitionList> {
    let committed = consumer.committed_offsets(partitions, timeout.min(LONGEST))?;
    for partition in committed.elements() {
        // If it could not be fetched, the offset is not valid either.
        partition.error()?;
    }
    Ok(committed)
}

/// Converts the error of a consumer's call.
pub(super) fn consumer_error(call: &str, error: &ConsumerError) -> KafkaError {
    let code = error.rdkafka_error_code();
    let code = code.map_or(RDKafkaErrorCode::State, |code| (code as i32).into());
    let text = match error {
        // The crate's text has the names of its variant and its code as well.
        ConsumerError::MessageConsumption(_) | ConsumerError::MessageConsumptionFatal(_) => {
            format!("{call}: {}", code.description())
        }
        error => format!("{call}: {error}"),
    };
    match error {
        ConsumerError::MessageConsumptionFatal(_) => KafkaError::of_call(Class::Fatal, code, text),
        _ => KafkaError::with_text(code, text),
    }
}

/// Returns true if it needs a person to cure the error. Others go away, or a rebalance follows.
pub(super) fn is_lasting(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.code(),
        Some(
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::InvalidGroupId
                | Code::InconsistentGroupProtocol
                | Code::FencedInstanceId
                | Code::UnsupportedVersion
                | Code::UnsupportedFeature
                // auto.offset.reset=error, and there is no committed offset, or it is out of range.
                | Code::AutoOffsetReset
                // A part of the log is not readable, and the consumer would go on behind it.
                | Code::BadMessage
                | Code::BadCompression
                | Code::InvalidMessage
                | Code::NotImplemented
                | Code::MessageSizeTooLarge
        )
    )
}
