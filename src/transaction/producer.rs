//! The asynchronous producer with transactions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::calls::{abandon, log_failed_abort, record_failed};
use crate::client::{DefaultProducerContext, ProducerContext};
use crate::driver::{CloseReport, Phase, Step};
use crate::error::{KafkaError, RDKafkaErrorCode, is_purge};
use crate::ffi::{Client, Group, Offsets};
use crate::producer::Producer;
use crate::values::{
    ClusterInfo, ConsumerGroupMetadata, PartitionInfo, TopicInfo, TopicPartitionOffset,
    TransactionOutcome,
};

/// A producer whose records are part of transactions: what a configuration with `transactional.id`
/// makes.
///
/// It has one transaction at a time, so it cannot be cloned, and records enter through a
/// [`Transaction`] alone.
///
/// ```no_run
/// use std::time::Duration;
/// use tokio_rdkafka::{ClientConfig, KafkaError, ProducerRecord, TransactionalProducer};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut producer: TransactionalProducer = ClientConfig::new()
///     .set("bootstrap.servers", "localhost:9092")
///     .set("transactional.id", "billing-3")
///     .create()?;
/// producer.init(Duration::from_secs(30)).await?;
///
/// let transaction = producer.begin().await?;
/// transaction.send(ProducerRecord::to("invoices").payload("1")).await?;
/// transaction.send(ProducerRecord::to("mails").payload("1")).await?;
/// transaction.commit().await.map_err(KafkaError::from)?;
/// producer.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Calls
///
/// librdkafka's transactional calls block. Each runs on a thread of its own for as long as it takes,
/// one at a time, and deliveries are served meanwhile. Once begun, a call is carried to its end: a
/// future that is dropped does not undo it, and the next call waits for it.
///
/// # Exactly once
///
/// Consume with `isolation.level=read_committed` and `enable.auto.commit=false`; produce in a
/// transaction, [send the offsets](Transaction::send_offsets) in it, and commit. Whoever starts with
/// the same `transactional.id` later fences this one: its records and calls fail with an error that
/// [`is_fenced`](KafkaError::is_fenced).
pub struct TransactionalProducer<C: ProducerContext = DefaultProducerContext> {
    pub(super) producer: Producer<C>,
}

impl<C: ProducerContext> TransactionalProducer<C> {
    pub(crate) fn new(producer: Producer<C>) -> Self {
        Self { producer }
    }

    /// Gets ready for transactions: to be called once, before the first [`begin`](Self::begin). It
    /// fences earlier producers with the same `transactional.id`, aborts the transaction that one of
    /// them may have left open, and waits for one that is being completed.
    ///
    /// # Errors
    ///
    /// - [Retriable](KafkaError::is_retriable) where it is not done after `timeout`: it may be called
    ///   again, which resumes it.
    /// - [Fatal](KafkaError::is_fatal), for instance where the client may not use the
    ///   `transactional.id`.
    /// - [`State`](RDKafkaErrorCode::State) where it has been done.
    ///
    /// # Cancel safety
    ///
    /// Once it has been polled it is carried on for up to `timeout`, also when the future is dropped,
    /// but for a second at the most once the producer is closed.
    pub async fn init(&mut self, timeout: Duration) -> Result<(), KafkaError> {
        let call = Client::init_transactions;
        self.producer
            .shared()
            .transact(Step::Init, timeout, call)
            .await
    }

    /// What became of the transaction that began last, once no call is under way; `None` where none
    /// has begun, or it is still open.
    pub async fn outcome(&self) -> Option<TransactionOutcome> {
        let transactions = &self.producer.shared().transactions;
        // A call that is overdue is of a transaction that is open.
        let _ = transactions.settled_phase().await;
        transactions.outcome()
    }

    /// Aborts what is left of a transaction, for up to `transaction.timeout.ms`, and
    /// [closes](Producer::close). A commit that is under way is waited for before, for as long as it
    /// was given.
    ///
    /// Where [`send_offsets`](Transaction::send_offsets) was not done in time and librdkafka still
    /// goes on with it, this does not wait for that: the client is destroyed when librdkafka has ended
    /// it. The brokers abort the transaction after `transaction.timeout.ms`.
    ///
    /// # Cancel safety
    ///
    /// As [`Producer::close`]; before that begins, dropping it leaves the producer open.
    pub async fn close(&mut self) -> CloseReport {
        // An init that was given up has no transaction to wait for.
        if self.producer.shared().transactions.calling() != Some(Step::Init) {
            log_failed_abort(self.settle().await);
        }
        self.producer.close().await
    }

    /// Waits until a broker is up, has let the client log in, and has answered a request, or returns
    /// the reason why not: see [`Producer::ready`]. It says nothing of transactions; what
    /// [`init`](Self::init) may only tell as a time-out, this tells at once.
    ///
    /// # Errors
    ///
    /// As [`Producer::ready`].
    ///
    /// # Cancel safety
    ///
    /// As [`Producer::ready`].
    ///
    /// # Panics
    ///
    /// On a runtime without its time driver.
    pub async fn ready(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.producer.ready(timeout).await
    }

    /// How long a transaction may take, after which brokers abort it: `transaction.timeout.ms`.
    pub fn transaction_timeout(&self) -> Duration {
        self.producer.shared().transactions.timeout
    }

    /// The number of messages that were enqueued and whose future has not resolved yet.
    pub fn in_flight_count(&self) -> usize {
        self.producer.in_flight_count()
    }

    /// The context that the producer was made with.
    pub fn context(&self) -> &Arc<C> {
        self.producer.context()
    }

    /// The error after which nothing can be sent any more, if there was one; for instance that it was
    /// [fenced](KafkaError::is_fenced): another producer with the same `transactional.id` has taken
    /// over, or the transaction timed out.
    pub fn fatal_error(&self) -> Option<KafkaError> {
        self.producer.fatal_error()
    }

    /// As [`Producer::cluster`].
    ///
    /// # Errors
    ///
    /// As [`Producer::cluster`].
    ///
    /// # Cancel safety
    ///
    /// As [`Producer::cluster`].
    pub async fn cluster(&self, timeout: Duration) -> Result<ClusterInfo, KafkaError> {
        self.producer.cluster(timeout).await
    }

    /// As [`Producer::partitions_for`].
    ///
    /// # Errors
    ///
    /// As [`Producer::partitions_for`].
    ///
    /// # Cancel safety
    ///
    /// As [`Producer::partitions_for`].
    pub async fn partitions_for(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<Vec<PartitionInfo>, KafkaError> {
        self.producer.partitions_for(topic, timeout).await
    }

    /// As [`Producer::topics`].
    ///
    /// # Errors
    ///
    /// As [`Producer::topics`].
    ///
    /// # Cancel safety
    ///
    /// As [`Producer::topics`].
    pub async fn topics(&self, timeout: Duration) -> Result<Vec<TopicInfo>, KafkaError> {
        self.producer.topics(timeout).await
    }

    /// Ends the transaction that began last, if it has not ended.
    pub(super) async fn settle(&self) -> Result<(), KafkaError> {
        let shared = self.producer.shared();
        let timeout = shared.transactions.timeout;
        if shared.transactions.settled_phase().await? == Phase::Committing {
            let commit = Client::commit_transaction;
            match shared.transact(Step::Commit, timeout, commit).await {
                // It turned out to be impossible.
                Err(error) if error.requires_abort() => {}
                result => return result,
            }
        }
        if shared.transactions.settled_phase().await? == Phase::Ended {
            return Ok(());
        }
        self.close_epoch();
        let aborting = Arc::clone(shared);
        shared
            .transact(Step::Abort, timeout, move |client, left| {
                aborting.deliver_and_abort(client, left)
            })
            .await
    }

    pub(crate) async fn send_offsets(
        &self,
        offsets: &[TopicPartitionOffset],
        group: &ConsumerGroupMetadata,
    ) -> Result<(), KafkaError> {
        let offsets = Offsets::new(offsets)?;
        let group = Group::new(group)?;
        let shared = self.producer.shared();
        if shared.transactions.is_committing() {
            return Err(KafkaError::with_text(
                RDKafkaErrorCode::State,
                "send_offsets_to_transaction: the commit has begun, and is to be resumed",
            ));
        }
        let timeout = shared.transactions.timeout;
        shared
            .transact(Step::SendOffsets, timeout, move |client, left| {
                client.send_offsets_to_transaction(&offsets, &group, left)
            })
            .await
    }

    pub(crate) async fn commit(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.close_epoch();
        let shared = self.producer.shared();
        // Offsets may be on their way whose future has been dropped.
        shared.transactions.settled_phase().await?;
        // Of a record that was refused librdkafka knows nothing, but why it has purged some. How a
        // commit ends that has begun, it alone can tell.
        match self.failure() {
            Some(_) if shared.transactions.is_committing() => {}
            Some(fatal) if fatal.is_fatal() => return Err(fatal),
            Some(cause) if !cause.code().is_some_and(is_purge) => return Err(record_failed(cause)),
            _ => {}
        }
        let commit = Client::commit_transaction;
        let committed = shared.transact(Step::Commit, timeout, commit).await;
        committed.map_err(|error| match self.failure() {
            Some(cause) if !error.is_retriable() => error.caused_by(cause),
            _ => error,
        })
    }

    pub(crate) async fn abort(&self) -> Result<(), KafkaError> {
        let transactions = &self.producer.shared().transactions;
        self.close_epoch();
        self.settle().await?;
        match transactions.outcome() {
            Some(TransactionOutcome::Committed) => Err(KafkaError::with_text(
                RDKafkaErrorCode::State,
                "abort_transaction: the commit had begun, and has committed the transaction",
            )),
            _ => Ok(()),
        }
    }

    /// Nobody is left who could end the transaction.
    pub(crate) fn abandon(&self) {
        self.close_epoch();
        abandon(self.producer.shared());
    }

    fn close_epoch(&self) {
        if let Some(epoch) = self.producer.shared().transactions.epoch() {
            epoch.close();
        }
    }

    fn failure(&self) -> Option<KafkaError> {
        let transactions = &self.producer.shared().transactions;
        let failure = transactions.epoch().and_then(|epoch| epoch.failure());
        failure.or_else(|| transactions.unreported())
    }
}

impl<C: ProducerContext> fmt::Debug for TransactionalProducer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionalProducer")
            .field("in_flight", &self.in_flight_count())
            .finish_non_exhaustive()
    }
}
