//! Transactions: the calls block, and serve the queue meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::gate::Closed;
use super::producer::BaseProducer;
use crate::client::{MIN_TRANSACTION_CALL_TIME, ProducerContext, delivery_before_abort};
use crate::error::{Class, KafkaError, RDKafkaErrorCode};
use crate::ffi::{CallError, Client, Group, Offsets};
use crate::values::{ConsumerGroupMetadata, TopicPartitionOffset};

/// How late the end of a call is noticed where another thread, which polls, got the interrupt.
const SLICE: Duration = Duration::from_millis(100);

impl<C: ProducerContext> BaseProducer<C> {
    /// Gets ready for transactions: to be called once, before the first
    /// [`begin_transaction`](Self::begin_transaction). It fences earlier producers with the same
    /// `transactional.id`, aborts the transaction that one of them may have left open, and waits for
    /// one that is being completed.
    ///
    /// Serves the queue meanwhile, as [`poll`](Self::poll) does.
    ///
    /// # Errors
    ///
    /// - [Retriable](KafkaError::is_retriable) where it is not done after `timeout`
    ///   ([`OperationTimedOut`](RDKafkaErrorCode::OperationTimedOut), or why there is no producer id
    ///   yet): it goes on in the background, and the same call again resumes it.
    ///   [`Duration::MAX`] stands for twice `transaction.timeout.ms`.
    /// - [Fatal](KafkaError::is_fatal), for instance where the broker does not take
    ///   `transaction.timeout.ms`, or the client may not use the `transactional.id`.
    /// - [`State`](RDKafkaErrorCode::State) where it has been done,
    ///   [`NotConfigured`](RDKafkaErrorCode::NotConfigured) without `transactional.id`.
    ///
    /// Source: `rd_kafka_init_transactions`.
    pub fn init_transactions(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.call("init_transactions", |client| {
            client.init_transactions(timeout)
        })
    }

    /// Begins a transaction: what is sent from now on is part of it. It asks no broker and returns
    /// at once; the broker's `transaction.timeout.ms` runs from the first record or offset on.
    ///
    /// # Errors
    ///
    /// - [Fatal](KafkaError::is_fatal), where there has been a fatal error.
    /// - [`State`](RDKafkaErrorCode::State) without
    ///   [`init_transactions`](Self::init_transactions), and in a transaction;
    ///   [`NotConfigured`](RDKafkaErrorCode::NotConfigured) without `transactional.id`.
    /// - [`Conflict`](RDKafkaErrorCode::Conflict), which is retriable, while another transactional
    ///   call is under way, or has timed out and was not resumed.
    ///
    /// Source: `rd_kafka_begin_transaction`.
    pub fn begin_transaction(&self) -> Result<(), KafkaError> {
        let client = self.core.client().ok_or_else(KafkaError::closed)?;
        client
            .begin_transaction()
            .map_err(|error| self.core.call_error("begin_transaction", error))?;
        self.core.record_transaction_begin();
        Ok(())
    }

    /// Makes a consumer group's offsets part of the transaction: they are committed with it, or not
    /// at all. For what consumes, transforms and produces; the consumer itself must not commit
    /// (`enable.auto.commit=false`).
    ///
    /// Without any offsets it does nothing. Serves the queue meanwhile, as [`poll`](Self::poll)
    /// does.
    ///
    /// # Errors
    ///
    /// - [Requires an abort](KafkaError::requires_abort), for instance where the group has gone on
    ///   without the consumer ([`IllegalGeneration`](RDKafkaErrorCode::IllegalGeneration),
    ///   [`UnknownMemberId`](RDKafkaErrorCode::UnknownMemberId)), or the group's coordinator has not
    ///   answered after `timeout`, of which librdkafka takes no more than `transaction.timeout.ms`.
    /// - [Retriable](KafkaError::is_retriable): it was not done, and may be tried again, with the
    ///   same offsets and the same group. It cannot be resumed.
    /// - [Fatal](KafkaError::is_fatal), for instance where the producer has been
    ///   [fenced](KafkaError::is_fenced).
    /// - [`State`](RDKafkaErrorCode::State) outside of a transaction.
    /// - [`InvalidArgument`](RDKafkaErrorCode::InvalidArgument) for a negative partition or offset,
    ///   two offsets for one partition, an empty topic or group, and texts that are too long or
    ///   contain a NUL byte; nothing was sent.
    ///
    /// Source: `rd_kafka_send_offsets_to_transaction`.
    pub fn send_offsets_to_transaction(
        &self,
        offsets: &[TopicPartitionOffset],
        group: &ConsumerGroupMetadata,
        timeout: Duration,
    ) -> Result<(), KafkaError> {
        let offsets = Offsets::new(offsets)?;
        let group = Group::new(group)?;
        self.call("send_offsets_to_transaction", |client| {
            client.send_offsets_to_transaction(&offsets, &group, timeout)
        })
    }

    /// Delivers what has been sent, and commits the transaction. When it returns `Ok`, the delivery
    /// callbacks of all its records have run.
    ///
    /// Serves the queue meanwhile, as [`poll`](Self::poll) does: no other thread has to poll. Sends
    /// of other threads are refused from its begin on
    /// ([`State`](RDKafkaErrorCode::State)).
    ///
    /// # Errors
    ///
    /// - [Requires an abort](KafkaError::requires_abort), for instance where a record was not
    ///   delivered ([`Inconsistent`](RDKafkaErrorCode::Inconsistent)).
    /// - [Retriable](KafkaError::is_retriable) where it is not done after `timeout`
    ///   ([`OperationTimedOut`](RDKafkaErrorCode::OperationTimedOut)), less than 100 ms counting as
    ///   that: it goes on in the background, and the same call again resumes it. Nothing else is
    ///   possible until then: [`abort_transaction`](Self::abort_transaction) fails with
    ///   [`Conflict`](RDKafkaErrorCode::Conflict), because the transaction may have been committed.
    ///   [`Duration::MAX`] waits for as long as the records (`message.timeout.ms`) and the
    ///   transaction's coordinator take.
    /// - [Fatal](KafkaError::is_fatal), for instance where the producer has been
    ///   [fenced](KafkaError::is_fenced).
    /// - [`State`](RDKafkaErrorCode::State) outside of a transaction, and in a delivery callback,
    ///   whose own record it would wait for.
    /// - [`PreviousInProgress`](RDKafkaErrorCode::PreviousInProgress) or
    ///   [`Conflict`](RDKafkaErrorCode::Conflict), which are retriable, while another transactional
    ///   call is under way.
    ///
    /// Source: `rd_kafka_commit_transaction`.
    pub fn commit_transaction(&self, timeout: Duration) -> Result<(), KafkaError> {
        let name = "commit_transaction";
        let _closed = self.close_gate(name)?;
        self.call(name, |client| {
            client.commit_transaction(timeout.max(MIN_TRANSACTION_CALL_TIME))
        })
    }

    /// Aborts the transaction: consumers with `isolation.level=read_committed` never see its records.
    /// When it returns `Ok`, the delivery callbacks of all its records have run, and a new
    /// transaction may begin.
    ///
    /// It serves the queue and refuses sends as [`commit_transaction`](Self::commit_transaction)
    /// does.
    ///
    /// For a second at the most it goes on delivering what was sent; while nothing of the transaction
    /// has been delivered, for 15 s or a quarter of `timeout`, whichever is less. It then gives up what
    /// has not been sent yet ([`PurgeQueue`](RDKafkaErrorCode::PurgeQueue)), and waits for what is on
    /// its way. Without the first, an abort soon after the end of the transaction before would be a
    /// fatal error ([librdkafka#4849](https://github.com/confluentinc/librdkafka/issues/4849)); it
    /// still is where the coordinator takes longer than that to be done with the one before, say
    /// because a partition of that has no leader.
    ///
    /// # Errors
    ///
    /// As [`commit_transaction`](Self::commit_transaction), but that none requires an abort, unless
    /// the abort itself is to be made again. After a time-out it, too, must be resumed.
    ///
    /// Source: `rd_kafka_abort_transaction`.
    pub fn abort_transaction(&self, timeout: Duration) -> Result<(), KafkaError> {
        let name = "abort_transaction";
        let _closed = self.close_gate(name)?;
        let started = Instant::now();
        if self.gate.is_some() {
            self.flush_for(|| {
                delivery_before_abort(timeout, self.core.has_delivered_since_begin())
            });
        }
        let left = match timeout {
            Duration::MAX => timeout,
            _ => timeout.saturating_sub(started.elapsed()),
        };
        self.call(name, |client| {
            client.abort_transaction(left.max(MIN_TRANSACTION_CALL_TIME))
        })
    }

    /// Lets no record enter while the transaction is being ended.
    fn close_gate(&self, name: &str) -> Result<Option<Closed<'_>>, KafkaError> {
        self.check_not_in_callback(name)?;
        match &self.gate {
            Some(gate) => gate.close().map(Some).ok_or_else(|| another_ends(name)),
            // librdkafka says what is missing.
            None => Ok(None),
        }
    }

    /// Makes a blocking call on a thread of its own, and serves the queue on this one until it has
    /// returned.
    ///
    /// Not the other way round, in short calls that are resumed in turn with the queue: each
    /// resumption of a commit or an abort may take the result of one step for that of another
    /// (`rd_kafka_txn_op_req0`, "already set result"), and each would be over only after its time.
    fn call(
        &self,
        name: &str,
        call: impl FnOnce(&Client) -> Result<(), CallError> + Send,
    ) -> Result<(), KafkaError> {
        let client = self.core.client().ok_or_else(KafkaError::closed)?;
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let caller = thread::Builder::new()
                .name("rdkafka-transaction".to_owned())
                .spawn_scoped(scope, || {
                    let result = call(&client);
                    is_done.store(true, Ordering::SeqCst);
                    self.queue.interrupt();
                    result
                })
                .map_err(KafkaError::no_thread)?;
            while !is_done.load(Ordering::SeqCst) {
                match self.queue.poll(SLICE) {
                    Some(event) => drop(self.serve(event)),
                    None => self.purge_after_fatal_error(),
                }
            }
            let result = caller.join().expect("no call panics");
            result.map_err(|error| self.core.call_error(name, error))
        })
    }
}

#[cold]
fn another_ends(name: &str) -> KafkaError {
    KafkaError::of_call(
        Class::Retriable,
        RDKafkaErrorCode::PreviousInProgress,
        format!("{name}: another call is committing or aborting the transaction"),
    )
}
