//! A transaction, and how its commit can fail.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::calls::log_failed_abort;
use super::producer::TransactionalProducer;
use crate::client::{DefaultProducerContext, ProducerContext};
use crate::driver::{FlushError, FlushReport, Step};
use crate::error::{KafkaError, RDKafkaErrorCode, is_purge};
use crate::ffi::Client;
use crate::producer::{Producer, SendOnly};
use crate::values::{ConsumerGroupMetadata, TopicPartitionOffset};

/// An open transaction, which [`TransactionalProducer::begin`] returns.
///
/// It dereferences to a [`Producer`] handle whose records belong to the transaction: use its sends,
/// permits, sinks and streams. By its type the handle can send, and nothing else: see [`SendOnly`].
/// A transaction ends by [`commit`](Self::commit), [`abort`](Self::abort) or its drop.
///
/// Handles, permits and sinks that outlive the transaction send nothing, neither into it nor into
/// the next one. Their records fail with [`State`](crate::RDKafkaErrorCode::State).
///
/// # Drop
///
/// Dropping the transaction aborts it on a [thread](Producer#threads). The next
/// [`begin`](TransactionalProducer::begin) waits for that. If a commit has begun, the commit is
/// completed instead: see [`commit`](Self::commit).
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'t, C: ProducerContext = DefaultProducerContext> {
    owner: &'t TransactionalProducer<C>,
    producer: Producer<C, SendOnly>,
}

impl<C: ProducerContext> TransactionalProducer<C> {
    /// Begins a transaction after the previous one has completed.
    ///
    /// It first waits for a call that is under way. If the previous transaction was dropped, it
    /// aborts it, for up to `transaction.timeout.ms`. If something of an earlier transaction could
    /// disturb this one, it then [renews](TransactionalProducer#renewal) the producer, for up to the
    /// same time.
    ///
    /// Source: `rd_kafka_begin_transaction`.
    ///
    /// # Errors
    ///
    /// - [Retriable](KafkaError::is_retriable) if the previous transaction or the renewal did not
    ///   complete in time. The next `begin` resumes it. The error of a renewal has its reason as
    ///   its [source](std::error::Error::source).
    /// - [Fatal](KafkaError::is_fatal) if the producer was [fenced](KafkaError::is_fenced), or if
    ///   no new client could be initialized after another fatal error.
    /// - [`State`](RDKafkaErrorCode::State) if [`init`](Self::init) has not succeeded before.
    /// - [Closed](KafkaError::is_closed) if the producer is closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the next `begin` aborts a transaction that this one began.
    pub async fn begin(&mut self) -> Result<Transaction<'_, C>, KafkaError> {
        self.check_initialized().await?;
        self.settle_and_renew().await?;
        let shared = self.producer.shared();
        let timeout = shared.transactions.timeout;
        let begin = |client: &Client, _| client.begin_transaction();
        shared.transactions.set_renewal(false);
        shared.doubts.begin();
        shared.transact(Step::Begin, timeout, begin).await?;
        shared.core.record_transaction_begin();
        let producer = self.producer.with_epoch(shared.transactions.open_epoch());
        Ok(Transaction::new(self, producer))
    }

    /// Waits for a call that is under way. Fails if transactions are not initialized.
    pub(super) async fn check_initialized(&self) -> Result<(), KafkaError> {
        let shared = self.producer.shared();
        // An init may be under way whose future was dropped.
        shared.transactions.settled_phase().await?;
        if !shared.transactions.is_initialized() {
            shared.check_open()?;
            // After an init that timed out, librdkafka would return a retriable error, although
            // only another init helps.
            let error = KafkaError::with_text(
                RDKafkaErrorCode::State,
                "begin_transaction: call init before, and again if it has timed out",
            );
            return Err(shared.core.fatal_error().unwrap_or(error));
        }
        Ok(())
    }

    /// Runs a function in a transaction.
    ///
    /// It commits the transaction if the function returns `Ok`. It aborts it if the function
    /// returns `Err` or panics, or if the future is dropped before the commit begins.
    ///
    /// ```no_run
    /// use tokio_rdkafka::{KafkaError, ProducerRecord, SendError, TransactionalProducer};
    ///
    /// # async fn run(mut producer: TransactionalProducer) -> Result<(), KafkaError> {
    /// let task = tokio::spawn(async move {
    ///     let offset = producer
    ///         .run(async |transaction| {
    ///             let delivery = transaction.send(ProducerRecord::to("t").payload("v")).await?;
    ///             Ok::<_, KafkaError>(delivery.offset())
    ///         })
    ///         .await?;
    ///     println!("committed: {offset:?}");
    ///     Ok::<_, KafkaError>(producer)
    /// });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the function's error, or the error of [`begin`](Self::begin) or
    /// [`commit`](Transaction::commit) as a [`KafkaError`].
    ///
    /// If the commit failed, `run` aborts the transaction. If that abort fails too, the next
    /// [`begin`](Self::begin) repeats it. After a [retriable](KafkaError::is_retriable) error of
    /// the commit, the next `begin` resumes it. Until then [`outcome`](Self::outcome) returns
    /// `Unknown`. After a fatal error the brokers decide.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the commit begins, nothing is committed. If it is dropped
    /// later, the commit is completed. Call [`outcome`](Self::outcome) to tell the two apart.
    pub async fn run<T, E>(
        &mut self,
        function: impl AsyncFnOnce(&Transaction<'_, C>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<KafkaError>,
    {
        let transaction = self.begin().await?;
        match function(&transaction).await {
            Ok(output) => match transaction.commit().await {
                Ok(()) => Ok(output),
                Err(failed) => {
                    let (transaction, error) = failed.into_parts();
                    if let (Some(transaction), false) = (transaction, error.is_retriable()) {
                        transaction.abort_or_log().await;
                    }
                    Err(error.into())
                }
            },
            Err(error) => {
                transaction.abort_or_log().await;
                Err(error)
            }
        }
    }
}

impl<'t, C: ProducerContext> Transaction<'t, C> {
    pub(crate) fn new(
        owner: &'t TransactionalProducer<C>,
        producer: Producer<C, SendOnly>,
    ) -> Self {
        Self { owner, producer }
    }

    /// Aborts, and logs a failure: the next begin aborts again.
    pub(super) async fn abort_or_log(self) {
        let client = self.owner.client_name();
        log_failed_abort(client, self.abort().await);
    }

    /// Aborts after the error of a call. Returns the error with what has caused it: a record that
    /// failed, if there is one, otherwise itself.
    pub(super) async fn abort_after(self, error: KafkaError) -> (KafkaError, KafkaError) {
        let owner = self.owner;
        self.abort_or_log().await;
        // Only now are all reports served. A call can fail because of a record before that. Records
        // that were purged are no cause.
        let failure = owner.failure();
        match failure.filter(|failure| !failure.code().is_some_and(is_purge)) {
            Some(cause) if error.source().is_none() => (error.caused_by(cause.clone()), cause),
            Some(cause) => (error, cause),
            None => (error.clone(), error),
        }
    }

    /// Returns why the transaction cannot be committed, if a record or offsets of it have failed.
    pub(super) fn failure(&self) -> Option<KafkaError> {
        self.owner.failure()
    }

    /// Returns a handle that sends into the transaction, for another task.
    ///
    /// It may outlive the transaction, and then sends nothing.
    pub fn handle(&self) -> Producer<C, SendOnly> {
        self.producer.clone()
    }

    /// Sends the queued records of the transaction at once, and waits for those that are in flight
    /// at the call. It works as [`Producer::flush`] does.
    ///
    /// A commit flushes by itself.
    ///
    /// # Errors
    ///
    /// Same as [`Producer::flush`].
    ///
    /// # Cancel safety
    ///
    /// Same as [`Producer::flush`].
    pub async fn flush(&self) -> Result<FlushReport, FlushError> {
        self.owner.producer.flush().await
    }

    /// Flushes as [`flush`](Self::flush) does, for up to `timeout`.
    ///
    /// # Errors
    ///
    /// Same as [`Producer::flush_timeout`].
    ///
    /// # Cancel safety
    ///
    /// Same as [`Producer::flush`].
    pub async fn flush_timeout(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.owner.producer.flush_timeout(timeout).await
    }

    /// Adds offsets of a consumer group to the transaction, which commits them with its records.
    ///
    /// Use it to consume, transform and produce. The consumer itself must not commit
    /// (`enable.auto.commit=false`). Retriable errors are retried for up to
    /// `transaction.timeout.ms`. If the group's coordinator has left the cluster, it may take half a
    /// minute until librdkafka asks for the next one (its issue 5511).
    ///
    /// Source: `rd_kafka_send_offsets_to_transaction`.
    ///
    /// # Errors
    ///
    /// - [Requires an abort](KafkaError::requires_abort), for instance if the group has rebalanced
    ///   without the consumer.
    /// - [Retriable](KafkaError::is_retriable) if it has not completed in time. Call it again with
    ///   the same offsets and the same group. While the group has no coordinator, librdkafka does
    ///   not complete the call (its issue 5456). Until it does, `send_offsets`, `commit`, `abort`
    ///   and the next `begin` fail after about 100 ms with
    ///   [`PreviousInProgress`](crate::RDKafkaErrorCode::PreviousInProgress), which is retriable.
    /// - [Fatal](KafkaError::is_fatal), for instance if the producer has been
    ///   [fenced](KafkaError::is_fenced).
    /// - [`InvalidArgument`](crate::RDKafkaErrorCode::InvalidArgument) if the offsets or the group
    ///   are not valid. Nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// The call begins when the future is first polled and no other call is under way. After that
    /// it is completed, even if the future is dropped, and a commit or an abort waits for it. If
    /// the future is dropped before the call begins, or if the call fails after the drop, the
    /// commit fails.
    pub async fn send_offsets(
        &self,
        offsets: &[TopicPartitionOffset],
        group: &ConsumerGroupMetadata,
    ) -> Result<(), KafkaError> {
        self.owner.send_offsets(offsets, group).await
    }

    /// Delivers the records that were sent and commits the transaction.
    ///
    /// It takes up to `transaction.timeout.ms`. The brokers abort the transaction after that time.
    ///
    /// Source: `rd_kafka_commit_transaction`.
    ///
    /// # Errors
    ///
    /// Returns a [`CommitError`]:
    ///
    /// - If a record of the transaction failed or was refused, nothing is committed. A record that
    ///   was refused because the queue was full does not count. The record's error is the source.
    ///   The code is [`Inconsistent`](crate::RDKafkaErrorCode::Inconsistent), or the one for which
    ///   librdkafka purged records.
    /// - Otherwise it is librdkafka's error, also if librdkafka knows of a record that failed before
    ///   the record's report is served. [`KafkaError::is_retriable`],
    ///   [`KafkaError::requires_abort`] and [`KafkaError::is_fatal`] say what to do.
    ///
    /// The error contains the transaction, and so borrows the producer. `?` cannot convert it into
    /// a [`BoxError`] or an `anyhow::Error`. Use `map_err(KafkaError::from)` to give the
    /// transaction up, which [drops](Self#drop) it, or [`into_parts`](CommitError::into_parts) to
    /// keep it.
    ///
    /// [`BoxError`]: crate::BoxError
    ///
    /// ```no_run
    /// use tokio_rdkafka::{CommitError, KafkaError, ProducerRecord, TransactionalProducer};
    ///
    /// async fn commit_rows(
    ///     producer: &mut TransactionalProducer,
    ///     rows: &[String],
    /// ) -> Result<(), KafkaError> {
    ///     let mut tries = 0;
    ///     loop {
    ///         let mut transaction = producer.begin().await?;
    ///         for row in rows {
    ///             let record = ProducerRecord::to("rows").payload(row);
    ///             transaction.enqueue_detached(record).await?;
    ///         }
    ///         loop {
    ///             match transaction.commit().await.map_err(CommitError::into_parts) {
    ///                 Ok(()) => return Ok(()),
    ///                 // The commit is still under way: resume it.
    ///                 Err((Some(same), error)) if error.is_retriable() => transaction = same,
    ///                 // Begin again, with all records.
    ///                 Err((Some(failed), error)) if error.requires_abort() && tries < 10 => {
    ///                     failed.abort().await?;
    ///                     tries += 1;
    ///                     break;
    ///                 }
    ///                 // A fatal error, or too many tries.
    ///                 Err((_, error)) => return Err(error),
    ///             }
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// The commit begins when the future is first polled and no other call is under way. After that
    /// it is completed, even if the future is dropped. The next
    /// [`begin`](TransactionalProducer::begin) waits for it, and
    /// [`outcome`](TransactionalProducer::outcome) returns its outcome.
    pub async fn commit(self) -> Result<(), CommitError<'t, C>> {
        let timeout = self.owner.transaction_timeout();
        self.commit_timeout(timeout).await
    }

    /// Commits as [`commit`](Self::commit) does, for up to `timeout`. Less than 100 ms counts as
    /// 100 ms.
    ///
    /// # Errors
    ///
    /// Same as [`commit`](Self::commit).
    ///
    /// # Cancel safety
    ///
    /// Same as [`commit`](Self::commit).
    pub async fn commit_timeout(self, timeout: Duration) -> Result<(), CommitError<'t, C>> {
        match self.owner.commit(timeout).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_fatal() => Err(CommitError::new(None, error)),
            Err(error) => Err(CommitError::new(Some(self), error)),
        }
    }

    /// Aborts the transaction. Consumers with `isolation.level=read_committed` never see its
    /// records.
    ///
    /// It takes up to `transaction.timeout.ms`:
    ///
    /// 1. It continues to deliver for up to 1 s. If nothing of the transaction has been delivered
    ///    yet, it continues for up to a quarter of `transaction.timeout.ms`, at most 15 s. The
    ///    reason is at [`BaseProducer::abort_transaction`](crate::BaseProducer::abort_transaction).
    /// 2. It purges records that have not been sent, which fail with
    ///    [`PurgeQueue`](crate::RDKafkaErrorCode::PurgeQueue).
    /// 3. It waits for the records that have been sent, and aborts.
    ///
    /// Source: `rd_kafka_abort_transaction`.
    ///
    /// # Errors
    ///
    /// - [Fatal](KafkaError::is_fatal), for instance if the producer has been
    ///   [fenced](KafkaError::is_fenced).
    /// - [Retriable](KafkaError::is_retriable) if it has not completed in time. The next
    ///   [`begin`](TransactionalProducer::begin) resumes it.
    /// - [`State`](crate::RDKafkaErrorCode::State) if a commit had timed out before. Only the
    ///   commit can be resumed then, and it has committed the transaction.
    ///
    /// # Cancel safety
    ///
    /// The abort begins when the future is first polled. Dropping the future does not stop it.
    pub async fn abort(self) -> Result<(), KafkaError> {
        self.owner.abort().await
    }
}

impl<C: ProducerContext> Deref for Transaction<'_, C> {
    type Target = Producer<C, SendOnly>;

    fn deref(&self) -> &Producer<C, SendOnly> {
        &self.producer
    }
}

impl<C: ProducerContext> Drop for Transaction<'_, C> {
    fn drop(&mut self) {
        // Does nothing if the transaction has completed.
        self.owner.abandon();
    }
}

/// The error of a commit, with the transaction if it can still be committed or aborted.
///
/// It borrows the producer. `?` converts it into a [`KafkaError`] and gives the transaction up. For
/// a [`BoxError`](crate::BoxError) or an `anyhow::Error`, which may borrow nothing, convert it
/// before:
///
/// ```no_run
/// use tokio_rdkafka::{BoxError, KafkaError, ProducerRecord, TransactionalProducer};
///
/// async fn write(producer: &mut TransactionalProducer) -> Result<(), BoxError> {
///     let transaction = producer.begin().await?;
///     transaction.send(ProducerRecord::to("t").payload("v")).await?;
///     transaction.commit().await.map_err(KafkaError::from)?;
///     Ok(())
/// }
/// ```
pub struct CommitError<'t, C: ProducerContext = DefaultProducerContext> {
    transaction: Option<Transaction<'t, C>>,
    error: KafkaError,
}

impl<'t, C: ProducerContext> CommitError<'t, C> {
    fn new(transaction: Option<Transaction<'t, C>>, error: KafkaError) -> Self {
        Self { transaction, error }
    }

    /// Returns why the commit failed.
    pub fn error(&self) -> &KafkaError {
        &self.error
    }

    /// Returns true if the commit has not completed yet. Commit again to resume it.
    pub fn is_retriable(&self) -> bool {
        self.error.is_retriable()
    }

    /// Returns true if the transaction can only be aborted.
    pub fn requires_abort(&self) -> bool {
        self.error.requires_abort()
    }

    /// Returns true after a fatal error: the producer cannot be used any more.
    pub fn is_fatal(&self) -> bool {
        self.error.is_fatal()
    }

    /// Returns true if another producer with the same `transactional.id` has taken over, or the
    /// transaction timed out; see [`KafkaError::is_fenced`].
    pub fn is_fenced(&self) -> bool {
        self.error.is_fenced()
    }

    /// Returns the transaction and the error. There is no transaction after a fatal error.
    ///
    /// Commit the transaction again after a retriable error, otherwise abort it.
    pub fn into_parts(self) -> (Option<Transaction<'t, C>>, KafkaError) {
        (self.transaction, self.error)
    }
}

impl<C: ProducerContext> fmt::Debug for CommitError<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitError")
            .field("error", &self.error)
            .field("has_transaction", &self.transaction.is_some())
            .finish()
    }
}

impl<C: ProducerContext> fmt::Display for CommitError<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the commit failed: {}", self.error)
    }
}

/// `Display` shows the error that [`error`](CommitError::error) returns, so the source is that
/// error's source.
impl<C: ProducerContext> Error for CommitError<'_, C> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Drops the transaction, which aborts it unless its commit has begun.
impl<C: ProducerContext> From<CommitError<'_, C>> for KafkaError {
    fn from(failed: CommitError<'_, C>) -> Self {
        failed.error
    }
}

impl<C: ProducerContext> fmt::Debug for Transaction<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("producer", &self.producer)
            .finish()
    }
}
