//! Transactional calls, which block and serve the queue meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::gate::Closed;
use super::producer::BaseProducer;
use crate::client::{MIN_TRANSACTION_CALL_TIME, ProducerContext, delivery_before_abort};
use crate::error::{Class, KafkaError, RDKafkaErrorCode};
use crate::ffi::{CallError, Client, Group, Offsets};
use crate::values::{ConsumerGroupMetadata, TopicPartitionOffset};

/// One slice of the wait for a call. A polling thread can receive the interrupt instead of the
/// caller, which then notices the end of the call after this slice.
const SLICE: Duration = Duration::from_millis(100);

impl<C: ProducerContext> BaseProducer<C> {
    /// Initializes transactions. Call it once, before the first
    /// [`begin_transaction`](Self::begin_transaction).
    ///
    /// It fences earlier producers with the same `transactional.id`. It aborts a transaction that
    /// one of them left open, and waits for one that is being completed. It serves the queue
    /// meanwhile, as [`poll`](Self::poll) does. A `timeout` of [`Duration::MAX`] means twice
    /// `transaction.timeout.ms`.
    ///
    /// Source: `rd_kafka_init_transactions`.
    ///
    /// # Errors
    ///
    /// - [Retriable](KafkaError::is_retriable) if it has not completed after `timeout`. The code is
    ///   [`OperationTimedOut`](RDKafkaErrorCode::OperationTimedOut), or the code of the last failed
    ///   request for a producer id. It continues in the background. Call it again to resume it.
    /// - [Fatal](KafkaError::is_fatal), for instance if the broker does not accept
    ///   `transaction.timeout.ms`, or the client may not use the `transactional.id`.
    /// - [`State`](RDKafkaErrorCode::State) if transactions are already initialized.
    /// - [`NotConfigured`](RDKafkaErrorCode::NotConfigured) without `transactional.id`.
    pub fn init_transactions(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.call("init_transactions", |client| {
            client.init_transactions(timeout)
        })
    }

    /// Begins a transaction. All records that are sent from now on belong to it.
    ///
    /// It asks no broker and returns at once. The broker measures `transaction.timeout.ms` from the
    /// first record or offset on.
    ///
    /// Source: `rd_kafka_begin_transaction`.
    ///
    /// # Errors
    ///
    /// - [Fatal](KafkaError::is_fatal) if the producer has had a fatal error.
    /// - [`State`](RDKafkaErrorCode::State) before [`init_transactions`](Self::init_transactions),
    ///   and while a transaction is open.
    /// - [`NotConfigured`](RDKafkaErrorCode::NotConfigured) without `transactional.id`.
    /// - [`Conflict`](RDKafkaErrorCode::Conflict), which is retriable, while another transactional
    ///   call is under way, or if one has timed out and was not resumed.
    pub fn begin_transaction(&self) -> Result<(), KafkaError> {
        let client = self.core.client().ok_or_else(|| self.core.closed_error())?;
        client
            .begin_transaction()
            .map_err(|error| self.core.call_error("begin_transaction", error))?;
        self.core.record_transaction_begin();
        Ok(())
    }

    /// Adds offsets of a consumer group to the transaction, which commits them with its records.
    ///
    /// Use it to consume, transform and produce. The consumer itself must not commit
    /// (`enable.auto.commit=false`). Without offsets it does nothing. It serves the queue
    /// meanwhile, as [`poll`](Self::poll) does. librdkafka limits `timeout` to
    /// `transaction.timeout.ms`.
    ///
    /// Source: `rd_kafka_send_offsets_to_transaction`.
    ///
    /// # Errors
    ///
    /// - [Requires an abort](KafkaError::requires_abort) if the group has rebalanced without the
    ///   consumer ([`IllegalGeneration`](RDKafkaErrorCode::IllegalGeneration),
    ///   [`UnknownMemberId`](RDKafkaErrorCode::UnknownMemberId)), for instance. The same holds if
    ///   the group's coordinator has not answered within `timeout`.
    /// - [Retriable](KafkaError::is_retriable) if it has not succeeded. Call it again with the same
    ///   offsets and the same group. It starts anew: it cannot be resumed.
    /// - [Fatal](KafkaError::is_fatal), for instance if the producer has been
    ///   [fenced](KafkaError::is_fenced).
    /// - [`State`](RDKafkaErrorCode::State) outside of a transaction.
    /// - [`InvalidArgument`](RDKafkaErrorCode::InvalidArgument) for a negative partition or offset,
    ///   and for two offsets of one partition. The same holds for an empty topic or group, and for
    ///   a text that is too long or contains a NUL byte. Nothing was sent.
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

    /// Delivers the records that were sent and commits the transaction.
    ///
    /// When it returns `Ok`, the delivery callbacks of all its records have run. It serves the
    /// queue meanwhile, as [`poll`](Self::poll) does, so no other thread has to poll. Other threads
    /// cannot send from its begin on: their records are refused with
    /// [`State`](RDKafkaErrorCode::State).
    ///
    /// A `timeout` of less than 100 ms counts as 100 ms. [`Duration::MAX`] waits for as long as the
    /// records (`message.timeout.ms`) and the transaction's coordinator take.
    ///
    /// Source: `rd_kafka_commit_transaction`.
    ///
    /// # Errors
    ///
    /// - [Requires an abort](KafkaError::requires_abort), for instance if a record was not
    ///   delivered ([`Inconsistent`](RDKafkaErrorCode::Inconsistent)).
    /// - [Retriable](KafkaError::is_retriable) if it has not completed after `timeout`
    ///   ([`OperationTimedOut`](RDKafkaErrorCode::OperationTimedOut)). It continues in the
    ///   background. Call it again to resume it. Until then
    ///   [`abort_transaction`](Self::abort_transaction) fails with
    ///   [`Conflict`](RDKafkaErrorCode::Conflict), because the transaction may have been committed.
    /// - [Fatal](KafkaError::is_fatal), for instance if the producer has been
    ///   [fenced](KafkaError::is_fenced).
    /// - [`State`](RDKafkaErrorCode::State) outside of a transaction, and in a callback of this
    ///   producer: it would wait for itself.
    /// - [`PreviousInProgress`](RDKafkaErrorCode::PreviousInProgress) or
    ///   [`Conflict`](RDKafkaErrorCode::Conflict), which are retriable, while another transactional
    ///   call is under way.
    pub fn commit_transaction(&self, timeout: Duration) -> Result<(), KafkaError> {
        let name = "commit_transaction";
        let _closed = self.close_gate(name)?;
        self.call(name, |client| {
            client.commit_transaction(timeout.max(MIN_TRANSACTION_CALL_TIME))
        })
    }

    /// Aborts the transaction. Consumers with `isolation.level=read_committed` never see its
    /// records.
    ///
    /// When it returns `Ok`, the delivery callbacks of all its records have run, and a new
    /// transaction can begin. It serves the queue and refuses sends as
    /// [`commit_transaction`](Self::commit_transaction) does. It works in three steps:
    ///
    /// 1. It continues to deliver for up to 1 s. If nothing of the transaction has been delivered
    ///    yet, it continues for up to a quarter of `timeout`, at most 15 s.
    /// 2. It purges records that have not been sent, which fail with
    ///    [`PurgeQueue`](RDKafkaErrorCode::PurgeQueue).
    /// 3. It waits for the records that have been sent, and aborts.
    ///
    /// Without the first step, an abort soon after the previous transaction could fail with a fatal
    /// error ([librdkafka#4849](https://github.com/confluentinc/librdkafka/issues/4849)). It still
    /// can, if the coordinator needs longer than that to complete the previous transaction. A
    /// partition without a leader can cause that.
    ///
    /// Source: `rd_kafka_abort_transaction`.
    ///
    /// # Errors
    ///
    /// The errors of [`commit_transaction`](Self::commit_transaction). After a timeout, call it
    /// again to resume it. An error that [requires an abort](KafkaError::requires_abort) means that
    /// the abort must be called again.
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

    /// Keeps records out until the returned guard is dropped.
    fn close_gate(&self, name: &str) -> Result<Option<Closed<'_>>, KafkaError> {
        self.check_not_in_callback(name)?;
        match &self.gate {
            Some(gate) => gate
                .close()
                .map(Some)
                .ok_or_else(|| is_already_completing(name)),
            // librdkafka returns the error that transactional.id is missing.
            None => Ok(None),
        }
    }

    /// Makes a blocking call on a new thread, and serves the queue on this one until it returns. In
    /// a callback it makes the call and serves nothing.
    ///
    /// Short calls that are resumed between polls would need no thread. But each would last for its
    /// whole timeout. And a resumed commit or abort can mistake the result of one step for that of
    /// another (`rd_kafka_txn_op_req0`, "already set result").
    fn call(
        &self,
        name: &str,
        call: impl FnOnce(&Client) -> Result<(), CallError> + Send,
    ) -> Result<(), KafkaError> {
        let client = self.core.client().ok_or_else(|| self.core.closed_error())?;
        if self.callback_threads.contains_current() {
            // No event is served in a callback.
            return call(&client).map_err(|error| self.core.call_error(name, error));
        }
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
fn is_already_completing(name: &str) -> KafkaError {
    KafkaError::of_call(
        Class::Retriable,
        RDKafkaErrorCode::PreviousInProgress,
        format!("{name}: another call is committing or aborting the transaction"),
    )
}
