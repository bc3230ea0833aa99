//! The transactional calls of an async producer: one at a time, each on a thread of its own, each
//! carried to its end whatever becomes of the future that asked for it.

mod state;

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::context::ProducerContext;
use crate::driver::Shared;
use crate::error::{Class, KafkaError};
use crate::error_code::RDKafkaErrorCode;
use crate::ffi::{CallError, Client, catch_panic};
use crate::lane;

use state::{GivenUp, still_under_way};
pub(crate) use state::{Phase, Step, Transactions};

/// What commit and abort have at the least. They begin with a word with librdkafka's main thread;
/// where already that times out, librdkafka takes the answer, when it comes, for the one to the next
/// call (rdkafka_txnmgr.c, `rd_kafka_txn_op_req0`).
pub(crate) const LEAST_TIME: Duration = Duration::from_millis(100);

/// How long an abort goes on delivering first: where it purges a partition while a batch of that is
/// being made, the sequence numbers of the next transaction may not fit, which must then be aborted too
/// (`rd_kafka_toppar_purge_queues`).
const DELIVERY_BEFORE_ABORT: Duration = Duration::from_secs(1);

/// The same where nothing of the transaction has been delivered, as a part of its time, and at the most.
/// The coordinator may not have taken a partition of it yet, because it is not done with the transaction
/// before: it has to wait for leaders to take the markers of that, and they may be in an election. Then
/// the abort would come out of turn, which is a fatal error (librdkafka's issue 4849).
const TAKEN_BEFORE_ABORT: (u32, Duration) = (4, Duration::from_secs(15));

/// How long a flush before an abort is at the most: how late it notices that it need not go on.
const FLUSH_SLICE: Duration = Duration::from_millis(200);

/// How long to wait before a call is made again after a retriable error.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest that one call to initialize takes, after which it is resumed: how late it notices that
/// the producer is closed, where it was given much time and no coordinator is there.
const INIT_SLICE: Duration = Duration::from_secs(1);

/// How long others wait for a call that is overdue, at the most.
const MOMENT: Duration = Duration::from_millis(100);

/// How much later than at its limit of time a call that keeps none is given up waiting for.
const GRACE: Duration = Duration::from_secs(1);

impl<C: ProducerContext> Shared<C> {
    /// Makes a blocking call, once no other is under way, again and again while its errors are
    /// retriable and there is time. Once it has begun it is carried to its end.
    ///
    /// # Errors
    ///
    /// librdkafka's, or where the system has no thread for it.
    pub(crate) async fn transact(
        self: &Arc<Self>,
        step: Step,
        timeout: Duration,
        call: impl FnMut(&Client, Duration) -> Result<(), CallError> + Send + 'static,
    ) -> Result<(), KafkaError> {
        let given_up = GivenUp(&self.transactions, step);
        let begun = self.transactions.begin(step).await;
        mem::forget(given_up);
        let number = begun?;
        let (done, result) = oneshot::channel();
        let told = move |result| {
            // The future may have been dropped; its waker may panic, see `wake`.
            let _ = catch_panic(|| done.send(result));
        };
        if let Err(error) = self.start(step, timeout, call, told) {
            self.transactions.heard(number);
            return Err(error);
        }
        let mut result = pin!(result);
        let mut overdue = pin!(self.transactions.overdue());
        let ended = poll_fn(|context| match result.as_mut().poll(context) {
            // The thread always tells.
            Poll::Ready(result) => {
                Poll::Ready(result.unwrap_or_else(|_| Err(KafkaError::closed())))
            }
            Poll::Pending => {
                let overdue = overdue.as_mut().poll(context);
                overdue.map(|()| Err(still_under_way(RDKafkaErrorCode::OperationTimedOut)))
            }
        })
        .await;
        self.transactions.heard(number);
        ended
    }

    /// Makes a call that has begun.
    fn start(
        self: &Arc<Self>,
        step: Step,
        timeout: Duration,
        call: impl FnMut(&Client, Duration) -> Result<(), CallError> + Send + 'static,
        done: impl FnOnce(Result<(), KafkaError>) + Send + 'static,
    ) -> Result<(), KafkaError> {
        let shared = Arc::clone(self);
        let spawned = lane::spawn(move || {
            let started = Instant::now();
            let watch = (step == Step::SendOffsets).then(|| shared.watch(timeout + GRACE));
            let result = shared.call(step, timeout, call);
            drop(watch);
            let elapsed = started.elapsed();
            let must_abort = shared.transactions.end(step, &result);
            let aborted = must_abort.then(|| shared.abort_abandoned());
            done(result.clone());
            // It may wait for the end of the call to come to its own.
            shared.wake();
            // The subscriber's code: nothing is left to be done where it panics.
            tracing::debug!(step = step.name(), ?elapsed, ?result);
            aborted.into_iter().for_each(log_failed_abort);
        });
        spawned.map_err(|error| {
            let error = KafkaError::no_thread(error);
            // As if it had not begun; an abort is made by the next begin.
            let result = Err(error.clone());
            if self.transactions.end(step, &result) {
                self.transactions.end(Step::Abort, &result);
            }
            self.wake();
            error
        })
    }

    /// Has a thread give up waiting for the call that is under way, unless what this returns is
    /// dropped before. librdkafka keeps no limit of time while it sends offsets and the group has no
    /// coordinator (its issue 5456). Where there is no thread for it, the wait is as long as the call.
    fn watch(self: &Arc<Self>, timeout: Duration) -> mpsc::Sender<()> {
        let (watch, ended) = mpsc::channel();
        let shared = Arc::clone(self);
        let call = self.transactions.call();
        let spawned = lane::spawn(move || {
            if ended.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
                shared.transactions.give_up_waiting(call);
                // A close does not wait for it either.
                shared.wake();
                tracing::warn!("offsets could not be sent in time, and are still under way");
                while ended.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
                    shared.transactions.tell();
                }
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to watch a call with");
        }
        watch
    }

    fn call(
        &self,
        step: Step,
        timeout: Duration,
        mut call: impl FnMut(&Client, Duration) -> Result<(), CallError>,
    ) -> Result<(), KafkaError> {
        let started = Instant::now();
        loop {
            let client = self.core.client().ok_or_else(KafkaError::closed)?;
            let left = timeout.saturating_sub(started.elapsed());
            let left = if step == Step::Init {
                left.min(INIT_SLICE)
            } else {
                left
            };
            let error = match call(&client, left.max(LEAST_TIME)) {
                Ok(()) => return Ok(()),
                Err(error) => self.core.call_error(step.name(), error),
            };
            drop(client);
            let is_over = started.elapsed() + PAUSE >= timeout || self.core.is_closed();
            if is_over || !error.is_retriable() {
                return Err(error);
            }
            thread::sleep(PAUSE);
        }
    }

    /// An abort that delivers first, for a moment.
    pub(crate) fn deliver_and_abort(
        &self,
        client: &Client,
        timeout: Duration,
    ) -> Result<(), CallError> {
        let started = Instant::now();
        while self.core.in_flight() > 0 {
            let limit = delivery_before_abort(timeout, self.core.has_delivered_since_begin());
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            client.flush(left.min(FLUSH_SLICE).as_millis().max(1) as i32);
            // As it does between slices of a flush.
            thread::yield_now();
        }
        let left = timeout.saturating_sub(started.elapsed());
        client.abort_transaction(left.max(LEAST_TIME))
    }

    /// Aborts what nobody can abort any more. It has begun; blocks.
    fn abort_abandoned(&self) -> Result<(), KafkaError> {
        let timeout = self.transactions.timeout;
        let result = self.call(Step::Abort, timeout, |client, left| {
            self.deliver_and_abort(client, left)
        });
        self.transactions.end(Step::Abort, &result);
        result
    }

    /// Nobody is left who could end the transaction: it is aborted where it is open, now or after the
    /// call that is under way. Never blocks.
    pub(crate) fn abandon(self: &Arc<Self>) {
        if !self.transactions.abandon() {
            return;
        }
        let shared = Arc::clone(self);
        let spawned = lane::spawn(move || {
            let aborted = shared.abort_abandoned();
            shared.wake();
            log_failed_abort(aborted);
        });
        if let Err(error) = spawned {
            let result = Err(KafkaError::no_thread(error));
            self.transactions.end(Step::Abort, &result);
            self.wake();
            tracing::warn!(
                ?result,
                "a transaction that was dropped is aborted by the next begin"
            );
        }
    }
}

fn log_failed_abort(result: Result<(), KafkaError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "a transaction that was dropped could not be aborted yet");
    }
}

/// How long an abort that has so much time goes on delivering first.
pub(crate) fn delivery_before_abort(timeout: Duration, is_any_delivered: bool) -> Duration {
    let least = DELIVERY_BEFORE_ABORT.min(timeout);
    if is_any_delivered {
        return least;
    }
    let (part, most) = TAKEN_BEFORE_ABORT;
    least.max(most.min(timeout / part))
}

/// A record of the transaction failed, or its offsets: there is nothing to be committed.
pub(crate) fn record_failed(cause: KafkaError) -> KafkaError {
    let code = RDKafkaErrorCode::Inconsistent;
    let text = "commit_transaction: a record of the transaction, or its offsets, failed";
    KafkaError::of_call(Class::RequiresAbort, code, text).caused_by(cause)
}
