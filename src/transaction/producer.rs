//! The asynchronous producer with transactions.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::calls::{abandon, log_failed_abort, record_failed};
use super::past::Past;
use crate::client::{ClientConfig, DefaultProducerContext, ProducerContext};
use crate::driver::{CloseReport, Phase, Step};
use crate::error::{KafkaError, RDKafkaErrorCode, is_purge};
use crate::ffi::{Client, Group, Offsets};
use crate::producer::{Blueprint, Producer};
use crate::sync::lock;
use crate::values::{
    ClusterInfo, ConsumerGroupMetadata, Health, PartitionInfo, RDKafkaLogLevel, TopicInfo,
    TopicPartitionOffset, TransactionOutcome,
};

/// An asynchronous producer whose records belong to transactions.
///
/// Its configuration must have a `transactional.id`. It has one transaction at a time. So it cannot
/// be cloned, and only a [`Transaction`](crate::Transaction) can send records.
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
/// librdkafka's transactional calls block. They run on a [thread](Producer#threads), one at a time,
/// while deliveries are served. A call that has begun is completed: dropping its future does not
/// undo it, and the next call waits for it.
///
/// # Exactly once
///
/// Consume with `isolation.level=read_committed` and `enable.auto.commit=false`. Produce in a
/// transaction, [send the offsets](crate::Transaction::send_offsets) in it, and commit it.
///
/// A producer that is initialized later with the same `transactional.id` fences this one. Its
/// records and calls then fail with an error for which [`is_fenced`](KafkaError::is_fenced) is
/// true.
///
/// # Renewal
///
/// [`begin`](Self::begin) raises the epoch of the producer if something of an earlier transaction
/// could disturb the next one:
///
/// - A broker refused a record. It leaves a gap in the sequence numbers, for which brokers would
///   refuse a record of the next transaction.
/// - A request, for instance a commit, timed out or lost its connection. A late copy of it could
///   count for the next transaction (KIP-890, which librdkafka does not implement). Brokers refuse
///   it once the epoch is higher.
///
/// This takes one request to the coordinator, up to `transaction.timeout.ms`. The request has the
/// producer's own epoch. So it fails, and the producer is fenced, if another one has taken over.
///
/// After a [fatal error](KafkaError::is_fatal) other than fencing, librdkafka's client can do
/// nothing more. Then a new client with the same configuration and context replaces it. It is
/// initialized as soon as a commit or an abort returns the fatal error, or else in the next
/// `begin`. As if the process had been started again, it fences a producer that has taken over
/// before. Handles and futures of the old client resolve with its error.
///
/// A fenced producer is never renewed. One line at `info` tells of each renewal and its reason, and
/// [`renewals`](Self::renewals) counts them.
///
/// With the feature `dynamic-linking`, a new client replaces the old one in all these cases: the
/// shared library does not export the function that raises the epoch. Broken connections go
/// unnoticed with `log.connection.close=false`, and requests that time out with
/// `socket.max.fails=0`.
pub struct TransactionalProducer<C: ProducerContext = DefaultProducerContext> {
    pub(super) producer: Producer<C>,
    /// The client that replaces this one at the next `begin`, after a fatal error.
    pub(super) successor: Mutex<Option<Producer<C>>>,
    pub(super) config: ClientConfig,
    pub(super) blueprint: Blueprint<C>,
    /// The clients that were replaced.
    pub(super) past: Past<C>,
    /// Called for each client.
    #[cfg(feature = "metrics")]
    on_client: Mutex<Option<OnClient<C>>>,
}

/// What is called for each client.
#[cfg(feature = "metrics")]
type OnClient<C> = Arc<dyn Fn(&Producer<C>) + Send + Sync>;

impl<C: ProducerContext> TransactionalProducer<C> {
    pub(super) fn new(
        producer: Producer<C>,
        config: ClientConfig,
        blueprint: Blueprint<C>,
    ) -> Self {
        Self {
            producer,
            successor: Mutex::default(),
            config,
            blueprint,
            past: Past::new(),
            #[cfg(feature = "metrics")]
            on_client: Mutex::default(),
        }
    }

    /// Calls `setup` for this client, and for each one that replaces it.
    #[cfg(feature = "metrics")]
    pub(crate) fn on_each_client(&self, setup: impl Fn(&Producer<C>) + Send + Sync + 'static) {
        let setup: OnClient<C> = Arc::new(setup);
        *lock(&self.on_client) = Some(Arc::clone(&setup));
        setup(&self.producer);
    }

    /// The client has replaced another one.
    pub(super) fn set_up_client(&self) {
        #[cfg(feature = "metrics")]
        {
            let setup = lock(&self.on_client).clone();
            setup.into_iter().for_each(|setup| setup(&self.producer));
        }
    }

    #[cfg(feature = "statistics")]
    pub(crate) fn producer(&self) -> &Producer<C> {
        &self.producer
    }

    /// Initializes transactions. Call it once, before the first [`begin`](Self::begin).
    ///
    /// It fences earlier producers with the same `transactional.id`. It aborts a transaction that
    /// one of them left open, and waits for one that is being completed.
    ///
    /// Source: `rd_kafka_init_transactions`.
    ///
    /// # Errors
    ///
    /// - [Retriable](KafkaError::is_retriable) if it has not completed after `timeout`. Call it
    ///   again to resume it.
    /// - [Fatal](KafkaError::is_fatal), for instance if the client may not use the
    ///   `transactional.id`.
    /// - [`State`](RDKafkaErrorCode::State) if transactions are already initialized.
    ///
    /// # Cancel safety
    ///
    /// The call begins when the future is first polled. After that it continues for up to
    /// `timeout`, even if the future is dropped. Once the producer is closed, it ends within 1 s.
    pub async fn init(&mut self, timeout: Duration) -> Result<(), KafkaError> {
        let call = Client::init_transactions;
        self.producer
            .shared()
            .transact(Step::Init, timeout, call)
            .await
    }

    /// Waits until no call is under way and returns the outcome of the last transaction.
    ///
    /// Returns `None` if no transaction has begun, or if the last one is still open.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait and has no other effect.
    pub async fn outcome(&self) -> Option<TransactionOutcome> {
        let transactions = &self.producer.shared().transactions;
        // If a call is overdue, the transaction is still open, and the outcome is `None`.
        let _ = transactions.settled_phase().await;
        transactions.outcome()
    }

    /// Aborts an open transaction, then closes as [`Producer::close`] does.
    ///
    /// The abort takes up to `transaction.timeout.ms`. If a commit is under way, the call first
    /// waits for it, for up to the time limit of that commit.
    ///
    /// It does not wait for a [`send_offsets`](crate::Transaction::send_offsets) that exceeded its
    /// time limit and is still under way. The client is destroyed once librdkafka completes it. The
    /// brokers abort the transaction after `transaction.timeout.ms`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped during the abort, the producer stays open. After that, it is the
    /// same as [`Producer::close`].
    pub async fn close(&mut self) -> CloseReport {
        // During an init there is no transaction to settle.
        if self.producer.shared().transactions.calling() != Some(Step::Init) {
            log_failed_abort(self.client_name(), self.settle().await);
        }
        let successor = lock(&self.successor).take();
        let report = self.producer.close().await;
        if let Some(successor) = successor {
            // It has sent nothing.
            successor.close().await;
        }
        report
    }

    /// Waits until at least one broker is connected, authenticated and answering requests.
    ///
    /// It works as [`Producer::ready`] does. Call it before [`init`](Self::init), which may report
    /// a wrong password only as a timeout. It does not check transactions.
    ///
    /// # Errors
    ///
    /// Same as [`Producer::ready`].
    ///
    /// # Cancel safety
    ///
    /// Same as [`Producer::ready`].
    pub async fn ready(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.producer.ready(timeout).await
    }

    /// Returns a receiver of the producer's [`Health`], as [`Producer::health`] does.
    ///
    /// It goes on if a [renewal](Self#renewal) replaces the client: a cured
    /// [fatal](Health::Fatal) error is followed by [`Up`](Health::Up).
    pub fn health(&self) -> watch::Receiver<Health> {
        self.producer.health()
    }

    /// Replaces `sasl.username` and `sasl.password`, as [`Producer::set_sasl_credentials`] does.
    ///
    /// It may be called during a transaction.
    ///
    /// # Errors
    ///
    /// Same as [`Producer::set_sasl_credentials`].
    pub fn set_sasl_credentials(&self, username: &str, password: &str) -> Result<(), KafkaError> {
        self.producer.set_sasl_credentials(username, password)
    }

    /// Sets the lowest level of librdkafka's logs, as [`Producer::set_log_level`] does.
    pub fn set_log_level(&self, level: RDKafkaLogLevel) {
        self.producer.set_log_level(level);
    }

    /// Returns `transaction.timeout.ms`: how long a transaction may take before the brokers abort
    /// it.
    pub fn transaction_timeout(&self) -> Duration {
        self.producer.shared().transactions.timeout
    }

    /// Returns the number of messages that were enqueued and not completed yet.
    ///
    /// It falls shortly before a message's future resolves.
    pub fn in_flight_count(&self) -> usize {
        self.producer.in_flight_count()
    }

    /// Returns the context that the producer was created with.
    pub fn context(&self) -> &Arc<C> {
        self.producer.context()
    }

    /// Returns the fatal error, if there was one. The next [`begin`](Self::begin) cures it by a
    /// [renewal](Self#renewal), unless the producer is fenced.
    ///
    /// It is [fenced](KafkaError::is_fenced) if another producer with the same `transactional.id`
    /// has taken over, or if the transaction timed out.
    pub fn fatal_error(&self) -> Option<KafkaError> {
        self.producer.fatal_error()
    }

    /// Returns the id and the brokers of the cluster, as [`Producer::cluster`] does.
    ///
    /// # Errors
    ///
    /// Same as [`Producer::cluster`].
    ///
    /// # Cancel safety
    ///
    /// Same as [`Producer::cluster`].
    pub async fn cluster(&self, timeout: Duration) -> Result<ClusterInfo, KafkaError> {
        self.producer.cluster(timeout).await
    }

    /// Returns the partitions of a topic, as [`Producer::partitions_for`] does.
    ///
    /// # Errors
    ///
    /// Same as [`Producer::partitions_for`].
    ///
    /// # Cancel safety
    ///
    /// Same as [`Producer::partitions_for`].
    pub async fn partitions_for(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<Vec<PartitionInfo>, KafkaError> {
        self.producer.partitions_for(topic, timeout).await
    }

    /// Returns all topics, as [`Producer::topics`] does.
    ///
    /// # Errors
    ///
    /// Same as [`Producer::topics`].
    ///
    /// # Cancel safety
    ///
    /// Same as [`Producer::topics`].
    pub async fn topics(&self, timeout: Duration) -> Result<Vec<TopicInfo>, KafkaError> {
        self.producer.topics(timeout).await
    }

    /// Resumes the commit of the last transaction if one has begun, otherwise aborts it if it is
    /// open.
    pub(super) async fn settle(&self) -> Result<(), KafkaError> {
        let shared = self.producer.shared();
        let timeout = shared.transactions.timeout;
        if shared.transactions.settled_phase().await? == Phase::Committing {
            let commit = Client::commit_transaction;
            match shared.transact(Step::Commit, timeout, commit).await {
                // The commit has failed, and an abort follows.
                Err(error) if error.requires_abort() => {}
                result => return result,
            }
        }
        if shared.transactions.settled_phase().await? == Phase::Completed {
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
                "send_offsets_to_transaction: the commit has begun; commit again to resume it",
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
        shared.core.check_served()?;
        // A send of offsets may be under way whose future was dropped.
        shared.transactions.settled_phase().await?;
        // librdkafka does not know of records that were refused, so they fail the commit here. It
        // does know why it purged records, and how a commit continues that has begun.
        match self.failure() {
            Some(_) if shared.transactions.is_committing() => {}
            Some(fatal) if fatal.is_fatal() => {
                let failed = Err(fatal);
                self.claim(&failed, timeout).await;
                return failed;
            }
            Some(cause) if !cause.code().is_some_and(is_purge) => return Err(record_failed(cause)),
            _ => {}
        }
        let commit = Client::commit_transaction;
        let committed = shared.transact(Step::Commit, timeout, commit).await;
        self.claim(&committed, timeout).await;
        committed.map_err(|error| match self.failure() {
            Some(cause) if !error.is_retriable() => error.caused_by(cause),
            _ => error,
        })
    }

    pub(crate) async fn abort(&self) -> Result<(), KafkaError> {
        let transactions = &self.producer.shared().transactions;
        self.close_epoch();
        let aborted = self.settle().await;
        self.claim(&aborted, transactions.timeout).await;
        aborted?;
        match transactions.outcome() {
            Some(TransactionOutcome::Committed) => Err(KafkaError::with_text(
                RDKafkaErrorCode::State,
                "abort_transaction: a commit had begun before, and has committed the transaction",
            )),
            _ => Ok(()),
        }
    }

    /// Aborts the transaction after its handle was dropped.
    pub(crate) fn abandon(&self) {
        self.close_epoch();
        abandon(self.producer.shared());
    }

    fn close_epoch(&self) {
        if let Some(epoch) = self.producer.shared().transactions.epoch() {
            epoch.close();
        }
    }

    pub(super) fn failure(&self) -> Option<KafkaError> {
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
