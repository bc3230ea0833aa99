//! The transactional calls of an async producer: one at a time, each on a blocking thread. A call
//! that has begun is completed, even if the future that asked for it is dropped.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::coop::unconstrained;

use crate::client::{MIN_TRANSACTION_CALL_TIME, ProducerContext, delivery_before_abort};
use crate::driver::{
    BlockingCall, GivenUp, NotBegun, Shared, Step, UnderWay, served, still_under_way,
};
use crate::error::{Class, KafkaError, RDKafkaErrorCode};
use crate::ffi::{CallError, Client};
use crate::sync::{catch_panic, log};

/// The longest slice of the flush before an abort. After each one the time left is computed anew.
const FLUSH_SLICE: Duration = Duration::from_millis(200);

/// The pause before a call is repeated after a retriable error.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The longest slice of an init, which is resumed afterwards. After each one it checks whether the
/// producer has been closed.
const INIT_SLICE: Duration = Duration::from_secs(1);

/// How long the offsets may take before librdkafka is helped to find the group's coordinator.
const COORDINATOR_WAIT: Duration = Duration::from_secs(3);

/// How long other calls wait at most for a call that is overdue.
const OVERDUE_WAIT: Duration = Duration::from_millis(100);

/// How long after its time limit the wait for a call that does not keep it is given up.
const GRACE: Duration = Duration::from_secs(1);

impl<C: ProducerContext> Shared<C> {
    /// Waits until no other call is under way, then runs a blocking call on a thread. It repeats
    /// the call while its errors are retriable and there is time. A call that has begun is
    /// completed, even if the future is dropped.
    ///
    /// # Errors
    ///
    /// Returns librdkafka's error, or an error if the system cannot start a thread.
    pub(crate) async fn transact(
        self: &Arc<Self>,
        step: Step,
        timeout: Duration,
        call: impl FnMut(&Client, Duration) -> Result<(), CallError> + Send + 'static,
    ) -> Result<(), KafkaError> {
        let given_up = GivenUp(&self.transactions, step);
        self.core.check_served()?;
        let closed = || self.core.closed_error();
        let begun = self.transactions.begin(step, &self.calls, closed).await;
        mem::forget(given_up);
        let (under_way, number) = begun?;
        let (done, result) = oneshot::channel();
        let report = move |result| {
            // The future may have been dropped. Its waker is foreign code, which may panic.
            let _ = catch_panic(|| done.send(result));
        };
        if let Err(error) = self.spawn_call(under_way, step, timeout, call, report) {
            self.transactions.reported(number);
            return Err(error);
        }
        let mut result = pin!(unconstrained(result));
        let mut overdue = pin!(self.transactions.overdue());
        let completed = served(
            self,
            poll_fn(|context| match result.as_mut().poll(context) {
                // The thread always sends a result.
                Poll::Ready(result) => {
                    Poll::Ready(result.unwrap_or_else(|_| Err(self.core.closed_error())))
                }
                Poll::Pending => {
                    let overdue = overdue.as_mut().poll(context);
                    overdue.map(|()| Err(still_under_way(RDKafkaErrorCode::OperationTimedOut)))
                }
            }),
        )
        .await;
        self.transactions.reported(number);
        completed
    }

    /// Runs the call of a step that has begun on a thread, and passes its result to `report`.
    fn spawn_call(
        self: &Arc<Self>,
        under_way: UnderWay,
        step: Step,
        timeout: Duration,
        call: impl FnMut(&Client, Duration) -> Result<(), CallError> + Send + 'static,
        report: impl FnOnce(Result<(), KafkaError>) + Send + 'static,
    ) -> Result<(), KafkaError> {
        let shared = Arc::clone(self);
        let spawned = under_way.spawn(move |under_way| {
            let started = Instant::now();
            let watch = match step {
                Step::SendOffsets => shared.watch_call(timeout + GRACE).map(Some),
                _ => Ok(None),
            };
            let result = watch.and_then(|_watch| shared.call(step, timeout, call));
            let elapsed = started.elapsed();
            shared.doubt_call(step, &result);
            let abort = shared.transactions.end(step, &result, under_way);
            let aborted = abort.map(|abort| shared.abort_abandoned(abort));
            report(result.clone());
            // The producer may terminate once the call has completed.
            shared.wake();
            let client = shared.core.client_name();
            log(|| tracing::debug!(client, step = step.name(), ?elapsed, ?result));
            aborted
                .into_iter()
                .for_each(|aborted| log_failed_abort(client, aborted));
        });
        spawned.map_err(|error| {
            let error = KafkaError::no_thread(error);
            // The step is undone as if it had not begun. The next begin calls an abort.
            self.transactions.not_begun(step, &error);
            error
        })
    }

    /// Watches a call that sends offsets, on a thread, until the returned sender is dropped. It
    /// declares the call overdue after `timeout`: librdkafka does not keep its time limit while the
    /// group has no coordinator (its issue 5456).
    ///
    /// Before that it has librdkafka connect to all brokers once. If the coordinator has left the
    /// cluster, librdkafka waits for a connection that it has given up itself, and asks for the next
    /// coordinator only when another connection opens or closes.
    ///
    /// # Errors
    ///
    /// Without a thread nobody would keep the limit.
    fn watch_call(self: &Arc<Self>, timeout: Duration) -> Result<mpsc::Sender<()>, KafkaError> {
        let (watch, completed) = mpsc::channel();
        let watching = loop {
            match self.calls.begin(BlockingCall::TransactionWatch) {
                Ok(watching) => break watching,
                // That of the call before is about to end.
                Err(NotBegun::UnderWay) => thread::yield_now(),
                Err(NotBegun::Stopped) => return Err(self.core.closed_error()),
            }
        };
        let shared = Arc::clone(self);
        let call = self.transactions.call();
        let spawned = watching.spawn(move |watching| {
            let started = Instant::now();
            let is_under_way =
                |longest| completed.recv_timeout(longest) == Err(RecvTimeoutError::Timeout);
            if is_under_way(COORDINATOR_WAIT.min(timeout)) {
                if let Some(client) = shared.core.client() {
                    client.connect_to_all_brokers();
                }
            }
            if is_under_way(timeout.saturating_sub(started.elapsed())) {
                shared.transactions.give_up_waiting(call);
                // A close does not wait for the call either.
                shared.wake();
                log(|| {
                    tracing::warn!(
                        client = shared.core.client_name(),
                        "send_offsets exceeded its time limit and is still under way"
                    );
                });
                while is_under_way(OVERDUE_WAIT) {
                    shared.transactions.notify();
                }
            }
            drop(watching);
        });
        spawned.map(|()| watch).map_err(KafkaError::no_thread)
    }

    /// Records a call after which a request may still be under way.
    fn doubt_call(&self, step: Step, result: &Result<(), KafkaError>) {
        match result {
            Err(error) if step != Step::Init && error.is_timed_out() => self.doubts.record(error),
            _ => {}
        }
    }

    fn call(
        &self,
        step: Step,
        timeout: Duration,
        mut call: impl FnMut(&Client, Duration) -> Result<(), CallError>,
    ) -> Result<(), KafkaError> {
        let started = Instant::now();
        loop {
            let client = self.core.client().ok_or_else(|| self.core.closed_error())?;
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
            let is_last = started.elapsed() + RETRY_PAUSE >= timeout || self.core.is_closed();
            if is_last || !error.is_retriable() {
                return Err(error);
            }
            thread::sleep(RETRY_PAUSE);
        }
    }

    /// Flushes for a limited time, then aborts: see [`delivery_before_abort`].
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
            // librdkafka may have nothing left while the driver has not accounted for it yet.
            thread::yield_now();
        }
        let left = timeout.saturating_sub(started.elapsed());
        client.abort_transaction(left.max(MIN_TRANSACTION_CALL_TIME))
    }

    /// Aborts a transaction whose handle was dropped. The step has begun. Blocks.
    fn abort_abandoned(&self, under_way: UnderWay) -> Result<(), KafkaError> {
        let timeout = self.transactions.timeout;
        let result = self.call(Step::Abort, timeout, |client, left| {
            self.deliver_and_abort(client, left)
        });
        let _none = self.transactions.end(Step::Abort, &result, under_way);
        result
    }
}

/// Aborts the transaction after its handle was dropped, if it is open: now, or after the call that
/// is under way. Never blocks.
pub(super) fn abandon<C: ProducerContext>(shared: &Arc<Shared<C>>) {
    let Some(under_way) = shared.transactions.abandon(&shared.calls) else {
        return;
    };
    let aborting = Arc::clone(shared);
    let spawned = under_way.spawn(move |under_way| {
        let aborted = aborting.abort_abandoned(under_way);
        aborting.wake();
        log_failed_abort(aborting.core.client_name(), aborted);
    });
    if let Err(error) = spawned {
        let error = KafkaError::no_thread(error);
        shared.transactions.not_begun(Step::Abort, &error);
        log(|| {
            tracing::warn!(
                client = shared.core.client_name(),
                error = error.to_string(),
                "no thread to abort a dropped transaction with; the next begin aborts it"
            );
        });
    }
}

/// Logs that an abort failed. The next begin calls it again.
pub(super) fn log_failed_abort(client: Option<&str>, result: Result<(), KafkaError>) {
    if let Err(error) = result {
        let error = error.to_string();
        log(|| tracing::warn!(client, error, "a transaction could not be aborted yet"));
    }
}

/// The error of a commit after a record or the offsets of its transaction failed.
pub(super) fn record_failed(cause: KafkaError) -> KafkaError {
    let code = RDKafkaErrorCode::Inconsistent;
    let text = "commit_transaction: a record or the offsets of the transaction failed; abort it";
    KafkaError::of_call(Class::RequiresAbort, code, text).caused_by(cause)
}
