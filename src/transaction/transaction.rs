//! A transaction, and how its commit can fail.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::calls::log_failed_abort;
use super::producer::TransactionalProducer;
use crate::client::{DefaultProducerContext, ProducerContext};
use crate::driver::Step;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::Client;
use crate::producer::Producer;
use crate::values::{ConsumerGroupMetadata, TopicPartitionOffset};

/// A transaction that has begun, of [`TransactionalProducer::begin`].
///
/// It is used as a [`Producer`], whose records are part of it: all the ways to send, permits, sinks
/// and streams. What is left of them when it ends sends nothing any more
/// ([`State`](crate::RDKafkaErrorCode::State)), neither into it nor into the next one.
///
/// # Drop
///
/// Dropping it aborts it, on a thread of its own; the next [`begin`](TransactionalProducer::begin)
/// waits for that. Where a commit has begun, that is carried to its end first: see
/// [`commit`](Self::commit).
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'t, C: ProducerContext = DefaultProducerContext> {
    owner: &'t TransactionalProducer<C>,
    producer: Producer<C>,
}

impl<C: ProducerContext> TransactionalProducer<C> {
    /// Begins a transaction, once the one before it has ended: it waits for a call that is under way,
    /// and aborts what was dropped, for up to `transaction.timeout.ms`.
    ///
    /// # Errors
    ///
    /// - [Retriable](KafkaError::is_retriable) where the one before has not ended in time.
    /// - [Fatal](KafkaError::is_fatal), where there has been a fatal error.
    /// - [`State`](RDKafkaErrorCode::State) without [`init`](Self::init).
    /// - [Closed](KafkaError::is_closed).
    ///
    /// # Cancel safety
    ///
    /// What it has begun when the future is dropped is ended by the next one.
    pub async fn begin(&mut self) -> Result<Transaction<'_, C>, KafkaError> {
        let shared = self.producer.shared();
        // An init may be under way whose future was dropped.
        shared.transactions.settled_phase().await?;
        if !shared.transactions.is_initialized() {
            shared.check_open()?;
            // One that timed out goes on in the background, where librdkafka takes this for a call that is
            // to be tried again.
            let error = KafkaError::with_text(
                RDKafkaErrorCode::State,
                "begin_transaction: init is to be called before, and again where it has timed out",
            );
            return Err(shared.core.fatal_error().unwrap_or(error));
        }
        self.settle().await?;
        let timeout = shared.transactions.timeout;
        let begin = |client: &Client, _| client.begin_transaction();
        shared.transact(Step::Begin, timeout, begin).await?;
        shared.core.record_transaction_begin();
        let producer = self.producer.within(shared.transactions.open_epoch());
        Ok(Transaction::new(self, producer))
    }

    /// Runs a function in a transaction: commits it where that returns `Ok`, and aborts it where it
    /// returns `Err`, panics, or is dropped before the commit begins.
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
    /// The function's own; those of [`begin`](Self::begin) and [`commit`](Transaction::commit) as the
    /// [`KafkaError`] that they have. Where the commit failed, the transaction has been aborted, but
    /// after a [retriable](KafkaError::is_retriable) error, with which it is not known: see
    /// [`outcome`](Self::outcome).
    ///
    /// # Cancel safety
    ///
    /// Dropped before its commit begins, nothing is committed; after that, the commit is carried to
    /// its end. See [`outcome`](Self::outcome).
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
                        log_failed_abort(transaction.abort().await);
                    }
                    Err(error.into())
                }
            },
            Err(error) => {
                log_failed_abort(transaction.abort().await);
                Err(error)
            }
        }
    }
}

impl<'t, C: ProducerContext> Transaction<'t, C> {
    pub(crate) fn new(owner: &'t TransactionalProducer<C>, producer: Producer<C>) -> Self {
        Self { owner, producer }
    }

    /// Makes a consumer group's offsets part of the transaction: they are committed with it, or not
    /// at all. For what consumes, transforms and produces; the consumer itself must not commit
    /// (`enable.auto.commit=false`).
    ///
    /// Retriable errors are retried, for up to `transaction.timeout.ms`.
    ///
    /// # Errors
    ///
    /// - [Requires an abort](KafkaError::requires_abort), for instance where the group has gone on
    ///   without the consumer.
    /// - [Retriable](KafkaError::is_retriable): it was not done in time, and may be tried again with
    ///   the same offsets and the same group. While the group has no coordinator, librdkafka does not end
    ///   it (its issue 5456). Until it does, this, a commit, an abort and the next begin fail within
    ///   about a tenth of a second
    ///   ([`PreviousInProgress`](crate::RDKafkaErrorCode::PreviousInProgress), retriable).
    /// - [Fatal](KafkaError::is_fatal), for instance where the producer has been
    ///   [fenced](KafkaError::is_fenced).
    /// - [`InvalidArgument`](crate::RDKafkaErrorCode::InvalidArgument) for offsets or a group that
    ///   cannot be; nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Once it has begun (at once, unless another call is under way) the call is carried to its end, also
    /// when the future is dropped; a commit or an abort waits for that. Where nobody hears that it failed,
    /// or it was dropped before it began, the commit fails.
    pub async fn send_offsets(
        &self,
        offsets: &[TopicPartitionOffset],
        group: &ConsumerGroupMetadata,
    ) -> Result<(), KafkaError> {
        self.owner.send_offsets(offsets, group).await
    }

    /// Delivers what has been sent, and commits; for up to `transaction.timeout.ms`, after which the
    /// broker aborts the transaction by itself.
    ///
    /// # Errors
    ///
    /// [`CommitError`]: where a record of the transaction failed, also one that was refused, but for
    /// lack of room, it has that record's error as its source, and nothing was committed; its code is
    /// [`Inconsistent`](crate::RDKafkaErrorCode::Inconsistent), or librdkafka's of what records were
    /// purged for. Otherwise it is librdkafka's: see [`KafkaError::is_retriable`],
    /// [`KafkaError::requires_abort`], [`KafkaError::is_fatal`].
    ///
    /// The error has the transaction, and so borrows the producer: `?` does not make a [`BoxError`]
    /// or an `anyhow::Error` of it. `map_err(KafkaError::from)` gives the transaction up, as its
    /// [drop](Self#drop) does; [`into_parts`](CommitError::into_parts) keeps it.
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
    ///                 // It is under way, and is resumed.
    ///                 Err((Some(same), error)) if error.is_retriable() => transaction = same,
    ///                 // It is done again, with all its records.
    ///                 Err((Some(failed), error)) if error.requires_abort() && tries < 10 => {
    ///                     failed.abort().await?;
    ///                     tries += 1;
    ///                     break;
    ///                 }
    ///                 // Fatal, or tried often enough.
    ///                 Err((_, error)) => return Err(error),
    ///             }
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Once it has begun (at once, unless another call is under way) the commit is carried to its end,
    /// also when the future is dropped. The next [`begin`](TransactionalProducer::begin) waits for
    /// that, and [`outcome`](TransactionalProducer::outcome) tells it.
    pub async fn commit(self) -> Result<(), CommitError<'t, C>> {
        let timeout = self.owner.transaction_timeout();
        self.commit_timeout(timeout).await
    }

    /// As [`commit`](Self::commit), with another limit of time, of at least 100 ms.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    ///
    /// # Cancel safety
    ///
    /// As [`commit`](Self::commit).
    pub async fn commit_timeout(self, timeout: Duration) -> Result<(), CommitError<'t, C>> {
        match self.owner.commit(timeout).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_fatal() => Err(CommitError::new(None, error)),
            Err(error) => Err(CommitError::new(Some(self), error)),
        }
    }

    /// Aborts: goes on delivering for a second at the most, or for a quarter of the time, up to 15 s,
    /// while nothing of it has been delivered (see
    /// [`BaseProducer::abort_transaction`](crate::BaseProducer::abort_transaction)), gives up what has
    /// not been sent yet ([`PurgeQueue`](crate::RDKafkaErrorCode::PurgeQueue)), waits for what is on
    /// its way, for up to `transaction.timeout.ms`, and has consumers with `isolation.level=read_committed` never see
    /// its records.
    ///
    /// # Errors
    ///
    /// - [Fatal](KafkaError::is_fatal), for instance where the producer has been
    ///   [fenced](KafkaError::is_fenced).
    /// - [Retriable](KafkaError::is_retriable) where it is not done in time. The next
    ///   [`begin`](TransactionalProducer::begin) goes on with it.
    /// - [`State`](crate::RDKafkaErrorCode::State) where a commit that had timed out was carried to
    ///   its end instead, as it must be, and the transaction is committed.
    ///
    /// # Cancel safety
    ///
    /// Once it has been polled the abort is carried to its end, also when the future is dropped.
    pub async fn abort(self) -> Result<(), KafkaError> {
        self.owner.abort().await
    }
}

impl<C: ProducerContext> Deref for Transaction<'_, C> {
    type Target = Producer<C>;

    fn deref(&self) -> &Producer<C> {
        &self.producer
    }
}

impl<C: ProducerContext> Drop for Transaction<'_, C> {
    fn drop(&mut self) {
        // Nothing where it has ended.
        self.owner.abandon();
    }
}

/// A commit that did not succeed, with the transaction where something can still be done with it.
pub struct CommitError<'t, C: ProducerContext = DefaultProducerContext> {
    transaction: Option<Transaction<'t, C>>,
    error: KafkaError,
}

impl<'t, C: ProducerContext> CommitError<'t, C> {
    fn new(transaction: Option<Transaction<'t, C>>, error: KafkaError) -> Self {
        Self { transaction, error }
    }

    /// Why it failed.
    pub fn error(&self) -> &KafkaError {
        &self.error
    }

    /// Whether the commit may be made again: it is under way, and will be resumed.
    pub fn is_retriable(&self) -> bool {
        self.error.is_retriable()
    }

    /// Whether the transaction can only be aborted.
    pub fn requires_abort(&self) -> bool {
        self.error.requires_abort()
    }

    /// Whether the producer cannot go on.
    pub fn is_fatal(&self) -> bool {
        self.error.is_fatal()
    }

    /// Whether another producer with the same `transactional.id` has taken over, or the transaction
    /// timed out; see [`KafkaError::is_fenced`].
    pub fn is_fenced(&self) -> bool {
        self.error.is_fenced()
    }

    /// The transaction, to be committed again after a retriable error, or aborted; none after a fatal
    /// one.
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

impl<C: ProducerContext> Error for CommitError<'_, C> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// Gives the transaction up, which aborts it.
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
