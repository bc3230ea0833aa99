//! Running a function in a transaction again after an abort.

use std::time::Duration;

use super::producer::TransactionalProducer;
use super::transaction::Transaction;
use crate::client::ProducerContext;
use crate::error::{KafkaError, is_purge};
use crate::values::TransactionOutcome;

/// How often, and after which pauses, [`TransactionalProducer::run_with_retries`] tries again.
///
/// ```
/// use std::time::Duration;
/// use tokio_rdkafka::RetryPolicy;
///
/// // 50 ms, 100 ms, 200 ms, 200 ms
/// let policy = RetryPolicy::new(4).backoff(Duration::from_millis(50), Duration::from_millis(200));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RetryPolicy {
    retries: u32,
    backoff: Duration,
    max_backoff: Duration,
}

impl RetryPolicy {
    /// Allows that many retries after the first try, with a pause of 100 ms before the first one.
    ///
    /// Each pause is twice as long as the one before, up to 1 s. These are librdkafka's
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub const fn new(retries: u32) -> Self {
        Self {
            retries,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
        }
    }

    /// Sets the pause before the first retry, and the longest one.
    pub const fn backoff(self, first: Duration, longest: Duration) -> Self {
        Self {
            backoff: first,
            max_backoff: longest,
            ..self
        }
    }

    /// Takes one retry. Returns the pause before it.
    pub(super) fn next(&mut self) -> Option<Duration> {
        self.retries = self.retries.checked_sub(1)?;
        let pause = self.backoff.min(self.max_backoff);
        self.backoff = self.backoff.saturating_mul(2);
        Some(pause)
    }
}

impl<C: ProducerContext> TransactionalProducer<C> {
    /// Runs a function in a transaction as [`run`](Self::run) does, and runs it again after an
    /// abort whose cause may go away.
    ///
    /// It runs the function again if the transaction was certainly not committed, and
    ///
    /// - a record of it failed for a [retriable](KafkaError::is_retriable) reason, whatever error
    ///   the function returns;
    /// - or its commit failed with an error that [requires an abort](KafkaError::requires_abort),
    ///   and no record failed for another reason;
    /// - or a fatal error occurred that a [renewal](Self#renewal) cures.
    ///
    /// A [retriable](KafkaError::is_retriable) error of `begin` or of the commit is a try, too. A
    /// commit is resumed, without running the function again. All other errors are returned at
    /// once. So the function's own error never leads to a retry if its records were delivered.
    ///
    /// The compiler does not find the future `Send`, as `tokio::spawn` needs it, if the function
    /// borrows what it captures, or changes it. Write `async move |transaction|`, and use an `Arc`,
    /// and an atomic or a mutex.
    ///
    /// What the function does outside of the transaction, it does at each try. A consumer must go
    /// back to its committed offsets first: a function that consumes has to do that when it begins.
    ///
    /// ```no_run
    /// use tokio_rdkafka::{KafkaError, ProducerRecord, RetryPolicy, TransactionalProducer};
    ///
    /// # async fn run(mut producer: TransactionalProducer) -> Result<(), KafkaError> {
    /// let rows = ["1", "2"];
    /// let tried = producer
    ///     .run_with_retries(RetryPolicy::new(5), async |transaction| {
    ///         for row in rows {
    ///             transaction.send(ProducerRecord::to("rows").payload(row)).await?;
    ///         }
    ///         Ok::<_, KafkaError>(())
    ///     })
    ///     .await;
    /// # tried
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run), of the last try. The pauses need a runtime with timers
    /// (`enable_time`): without them there is no retry, and the error is returned.
    ///
    /// # Cancel safety
    ///
    /// Same as [`run`](Self::run). In a pause no transaction is open.
    pub async fn run_with_retries<T, E>(
        &mut self,
        mut policy: RetryPolicy,
        mut function: impl AsyncFnMut(&Transaction<'_, C>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<KafkaError>,
    {
        let timers = self.producer.clone();
        loop {
            // The error, what has caused it, and whether a commit had begun.
            let (error, cause, has_committed) = match self.begin().await {
                Err(error) => (E::from(error.clone()), Some(error), false),
                Ok(mut transaction) => match function(&transaction).await {
                    Err(error) => {
                        let cause = transaction.failure();
                        transaction.abort_or_log().await;
                        (error, cause, false)
                    }
                    Ok(output) => loop {
                        let failed = match transaction.commit().await {
                            Ok(()) => return Ok(output),
                            Err(failed) => failed,
                        };
                        let (same, error) = failed.into_parts();
                        transaction = match same {
                            // The commit goes on.
                            Some(same) if error.is_retriable() => {
                                let Some(pause) = policy.next() else {
                                    return Err(error.into());
                                };
                                if timers.pause(pause).await.is_err() {
                                    return Err(error.into());
                                }
                                same
                            }
                            Some(same) => {
                                let (error, cause) = same.abort_after(error).await;
                                break (E::from(error), Some(cause), true);
                            }
                            None => break (E::from(error.clone()), Some(error), true),
                        };
                    },
                },
            };
            // No call is under way any more.
            let outcome = self.producer.shared().transactions.outcome();
            let is_over = !has_committed || outcome == Some(TransactionOutcome::Aborted);
            let may_retry = is_over && cause.is_some_and(|cause| self.may_go_away(&cause));
            let pause = if may_retry { policy.next() } else { None };
            let Some(pause) = pause else {
                return Err(error);
            };
            if timers.pause(pause).await.is_err() {
                return Err(error);
            }
        }
    }

    /// Returns true if another try may do without this error.
    pub(super) fn may_go_away(&self, error: &KafkaError) -> bool {
        self.is_cured(error)
            || error.is_retriable()
            || error.requires_abort()
            || error.code().is_some_and(is_purge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut policy = RetryPolicy::new(4);
        policy = policy.backoff(Duration::from_millis(50), Duration::from_millis(150));
        let pauses: Vec<_> = std::iter::from_fn(|| policy.next()).collect();
        assert_eq!(pauses, [50, 100, 150, 150].map(Duration::from_millis));
        assert_eq!(RetryPolicy::new(0).next(), None);
    }
}
