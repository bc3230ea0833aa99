//! The transactional calls of an async producer: one at a time, each on a thread of its own, each
//! carried to its end whatever becomes of the future that asked for it.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::client::{MIN_TRANSACTION_CALL_TIME, ProducerContext, delivery_before_abort};
use crate::driver::{BlockingCall, GivenUp, Shared, Step, UnderWay, still_under_way};
use crate::error::{Class, KafkaError, RDKafkaErrorCode};
use crate::ffi::{CallError, Client};
use crate::sync::{catch_panic, log};

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
        let begun = self.transactions.begin(step, &self.calls).await;
        mem::forget(given_up);
        let (under_way, number) = begun?;
        let (done, result) = oneshot::channel();
        let told = move |result| {
            // The future may have been dropped; its waker may panic, see `wake`.
            let _ = catch_panic(|| done.send(result));
        };
        if let Err(error) = self.start(under_way, step, timeout, call, told) {
            self.transactions.reported(number);
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
        self.transactions.reported(number);
        ended
    }

    /// Calls what has begun, on a thread.
    fn start(
        self: &Arc<Self>,
        under_way: UnderWay,
        step: Step,
        timeout: Duration,
        call: impl FnMut(&Client, Duration) -> Result<(), CallError> + Send + 'static,
        done: impl FnOnce(Result<(), KafkaError>) + Send + 'static,
    ) -> Result<(), KafkaError> {
        let shared = Arc::clone(self);
        let spawned = under_way.spawn(move |under_way| {
            let started = Instant::now();
            let watch = (step == Step::SendOffsets).then(|| shared.watch(timeout + GRACE));
            let result = shared.call(step, timeout, call);
            drop(watch);
            let elapsed = started.elapsed();
            let abort = shared.transactions.end(step, &result, under_way);
            let aborted = abort.map(|abort| shared.abort_abandoned(abort));
            done(result.clone());
            // It may wait for the end of the call to come to its own.
            shared.wake();
            log(|| tracing::debug!(step = step.name(), ?elapsed, ?result));
            aborted.into_iter().for_each(log_failed_abort);
        });
        spawned.map_err(|error| {
            let error = KafkaError::no_thread(error);
            // As if it had not begun; an abort is called by the next begin.
            self.transactions.not_begun(step, &error);
            error
        })
    }

    /// Has a thread give up waiting for the call that is under way, unless what this returns is
    /// dropped before. librdkafka keeps no limit of time while it sends offsets and the group has no
    /// coordinator (its issue 5456). If there is no thread for it, the wait is as long as the call.
    fn watch(self: &Arc<Self>, timeout: Duration) -> mpsc::Sender<()> {
        let (watch, ended) = mpsc::channel();
        let Ok(watching) = self.calls.begin(BlockingCall::TransactionWatch) else {
            return watch;
        };
        let shared = Arc::clone(self);
        let call = self.transactions.call();
        let spawned = watching.spawn(move |watching| {
            if ended.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
                shared.transactions.give_up_waiting(call);
                // A close does not wait for it either.
                shared.wake();
                log(|| {
                    tracing::warn!("offsets could not be sent in time, and are still under way")
                });
                while ended.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
                    shared.transactions.notify();
                }
            }
            drop(watching);
        });
        if let Err(error) = spawned {
            log(|| tracing::warn!(%error, "no thread to watch a call with"));
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
            let error = match call(&client, left.max(MIN_TRANSACTION_CALL_TIME)) {
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
            client.flush(left.min(FLUSH_SLICE));
            // As it does between slices of a flush.
            thread::yield_now();
        }
        let left = timeout.saturating_sub(started.elapsed());
        client.abort_transaction(left.max(MIN_TRANSACTION_CALL_TIME))
    }

    /// Aborts a transaction whose handle was dropped. It has begun; blocks.
    fn abort_abandoned(&self, under_way: UnderWay) -> Result<(), KafkaError> {
        let timeout = self.transactions.timeout;
        let result = self.call(Step::Abort, timeout, |client, left| {
            self.deliver_and_abort(client, left)
        });
        let _none = self.transactions.end(Step::Abort, &result, under_way);
        result
    }
}

/// The transaction's handle was dropped: it is aborted if it is open, now or after the call that is
/// under way. Never blocks.
pub(super) fn abandon<C: ProducerContext>(shared: &Arc<Shared<C>>) {
    let Some(under_way) = shared.transactions.abandon(&shared.calls) else {
        return;
    };
    let aborting = Arc::clone(shared);
    let spawned = under_way.spawn(move |under_way| {
        let aborted = aborting.abort_abandoned(under_way);
        aborting.wake();
        log_failed_abort(aborted);
    });
    if let Err(error) = spawned {
        let error = KafkaError::no_thread(error);
        shared.transactions.not_begun(Step::Abort, &error);
        log(|| {
            tracing::warn!(
                %error,
                "a transaction that was dropped is aborted by the next begin"
            );
        });
    }
}

/// An abort that failed is called again by the next begin.
pub(super) fn log_failed_abort(result: Result<(), KafkaError>) {
    if let Err(error) = result {
        log(|| tracing::warn!(%error, "a transaction could not be aborted yet"));
    }
}

/// A record of the transaction failed, or its offsets: there is nothing to be committed.
pub(crate) fn record_failed(cause: KafkaError) -> KafkaError {
    let code = RDKafkaErrorCode::Inconsistent;
    let text = "commit_transaction: a record of the transaction, or its offsets, failed";
    KafkaError::of_call(Class::RequiresAbort, code, text).caused_by(cause)
}
