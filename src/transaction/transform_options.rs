//! How the loop takes records, tries again, and stops.

use std::fmt;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::retries::RetryPolicy;
use crate::error::KafkaError;

/// How [`consume_transform_produce`](crate::consume_transform_produce) takes records, tries again, and
/// stops.
///
/// ```
/// use std::time::Duration;
/// use tokio_rdkafka::{KafkaError, RetryPolicy, TransformOptions};
/// use tokio_util::sync::CancellationToken;
///
/// let stop = CancellationToken::new();
/// let options: TransformOptions<KafkaError> = TransformOptions::new()
///     .max_records(1000)
///     .max_wait(Duration::from_millis(50))
///     .retries(RetryPolicy::new(10))
///     .cancellation_token(stop.clone());
/// ```
#[must_use]
pub struct TransformOptions<E = KafkaError> {
    pub(super) max_records: usize,
    pub(super) max_wait: Duration,
    pub(super) rewind_timeout: Duration,
    pub(super) retries: RetryPolicy,
    pub(super) stop: CancellationToken,
    pub(super) retry_if: Option<RetryIf<E>>,
}

/// Whether a batch is tried again after that error.
pub(super) type RetryIf<E> = Box<dyn Fn(&E) -> bool + Send + Sync>;

impl<E> TransformOptions<E> {
    /// Returns the defaults, which each method names.
    pub fn new() -> Self {
        Self {
            max_records: 500,
            max_wait: Duration::from_millis(100),
            rewind_timeout: Duration::from_secs(30),
            retries: RetryPolicy::new(60),
            stop: CancellationToken::new(),
            retry_if: None,
        }
    }

    /// Sets how many records a batch has at most. The default is 500, as `max.poll.records` of
    /// Java's consumer. 0 counts as 1.
    ///
    /// A batch keeps its records in the consumer's memory. The consumer goes on to fetch up to
    /// `queued.max.messages.kbytes` for each partition.
    pub fn max_records(mut self, records: usize) -> Self {
        self.max_records = records.max(1);
        self
    }

    /// Sets how long a batch waits for more records after its first one. The default is 100 ms.
    ///
    /// With zero a batch has the records that are there already.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// Sets how long the consumer may take to go back to its committed offsets. The default is
    /// 30 s. After that it is tried again, as an aborted transaction is.
    pub fn rewind_timeout(mut self, timeout: Duration) -> Self {
        self.rewind_timeout = timeout;
        self
    }

    /// Sets how many failures in a row are followed by another try, and the pauses between them.
    ///
    /// The default is `RetryPolicy::new(60)`: pauses of a minute altogether, and what the tries
    /// themselves take. Each commit starts the count anew.
    pub fn retries(mut self, policy: RetryPolicy) -> Self {
        self.retries = policy;
        self
    }

    /// Sets the token that stops the loop. See [`consume_transform_produce`](
    /// crate::consume_transform_produce#stop).
    pub fn cancellation_token(mut self, token: CancellationToken) -> Self {
        self.stop = token;
        self
    }

    /// Says which errors of the function, and of the commit, are followed by another try of the
    /// batch, besides those that [are in any case](
    /// crate::consume_transform_produce#errors-and-retries).
    ///
    /// The default is none: such an error ends the loop.
    pub fn retry_if(mut self, retry: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.retry_if = Some(Box::new(retry));
        self
    }
}

impl<E> Default for TransformOptions<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for TransformOptions<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransformOptions")
            .field("max_records", &self.max_records)
            .field("max_wait", &self.max_wait)
            .field("rewind_timeout", &self.rewind_timeout)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}
