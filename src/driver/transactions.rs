//! The state of a producer's transactions: the phase of the last one, and the call that is under
//! way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::blocking::{BlockingCall, BlockingCalls, NotBegun, UnderWay};
use super::transaction_epoch::TransactionEpoch;
use crate::error::{Class, KafkaError, RDKafkaErrorCode};
use crate::sync::{Notifier, lock};
use crate::values::TransactionOutcome;

/// The phase of the last transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No transaction has begun, or the last one has completed.
    Completed,
    /// Records may join it, or it must be aborted.
    Open,
    /// A commit was begun. Only another commit returns its outcome.
    Committing,
    /// An abort was begun.
    Aborting,
}

/// The transactional calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Init,
    Begin,
    SendOffsets,
    Commit,
    Abort,
}

/// The state of a producer's transactions.
#[derive(Debug)]
pub(crate) struct Transactions {
    state: Mutex<State>,
    /// Notifies the waiters that a call has completed, or is overdue.
    changed: Notifier,
    /// `transaction.timeout.ms`
    pub(crate) timeout: Duration,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    outcome: Option<TransactionOutcome>,
    /// The call that is under way.
    calling: Option<Step>,
    /// The phase and the outcome before that call.
    before: (Phase, Option<TransactionOutcome>),
    /// The number of calls that have begun.
    calls: u64,
    /// The call has exceeded its time limit. Nobody waits for it.
    is_overdue: bool,
    /// The transaction's handle was dropped.
    is_abandoned: bool,
    is_initialized: bool,
    /// The transaction is not the user's: it only renews the epoch, and has no outcome.
    is_renewal: bool,
    epoch: Option<Arc<TransactionEpoch>>,
    /// The last call whose result was reported to its caller.
    reported: u64,
    /// The errors of calls that did not send their offsets, by the number of the call, if they were
    /// not reported to the caller.
    unreported: Vec<(u64, KafkaError)>,
}

impl Transactions {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Completed,
                outcome: None,
                calling: None,
                before: (Phase::Completed, None),
                calls: 0,
                is_overdue: false,
                is_abandoned: false,
                is_initialized: false,
                is_renewal: false,
                epoch: None,
                reported: 0,
                unreported: Vec::new(),
            }),
            changed: Notifier::default(),
            timeout,
        }
    }

    /// Waits until no call is under way, and returns the phase of the transaction.
    ///
    /// # Errors
    ///
    /// Returns a retriable error if a call is overdue. It does so after a pause, so that a caller
    /// in a loop leaves the thread to others.
    pub(crate) async fn settled_phase(&self) -> Result<Phase, KafkaError> {
        let mut was_overdue = false;
        loop {
            let changed = self.changed.changed();
            {
                let state = lock(&self.state);
                if state.calling.is_none() {
                    return Ok(state.phase);
                }
                if was_overdue {
                    return Err(still_under_way(RDKafkaErrorCode::PreviousInProgress));
                }
                was_overdue = state.is_overdue;
            }
            changed.await;
        }
    }

    /// Resolves when the call is overdue.
    pub(crate) async fn overdue(&self) {
        loop {
            let changed = self.changed.changed();
            if lock(&self.state).is_overdue {
                return;
            }
            changed.await;
        }
    }

    /// Makes that call overdue, if it is still under way: nobody waits for it any longer.
    pub(crate) fn give_up_waiting(&self, call: u64) {
        {
            let mut state = lock(&self.state);
            if state.calling.is_none() || state.calls != call {
                return;
            }
            state.is_overdue = true;
        }
        self.notify();
    }

    /// Wakes those who wait for a call.
    pub(crate) fn notify(&self) {
        self.changed.notify();
    }

    /// Returns the number of the call that is under way.
    pub(crate) fn call(&self) -> u64 {
        lock(&self.state).calls
    }

    pub(crate) fn outcome(&self) -> Option<TransactionOutcome> {
        lock(&self.state).outcome
    }

    /// Returns the epoch of the transaction's records.
    pub(crate) fn epoch(&self) -> Option<Arc<TransactionEpoch>> {
        lock(&self.state).epoch.clone()
    }

    /// Returns the call that is under way.
    pub(crate) fn calling(&self) -> Option<Step> {
        lock(&self.state).calling
    }

    /// Returns true if a commit has begun and has not completed.
    pub(crate) fn is_committing(&self) -> bool {
        lock(&self.state).phase == Phase::Committing
    }

    /// Returns true if the call that is under way has exceeded its time limit.
    pub(crate) fn is_overdue(&self) -> bool {
        lock(&self.state).is_overdue
    }

    /// Returns true if `init` has succeeded.
    pub(crate) fn is_initialized(&self) -> bool {
        lock(&self.state).is_initialized
    }

    /// Says whether the next transaction only renews the epoch. No call may be under way.
    pub(crate) fn set_renewal(&self, is_renewal: bool) {
        lock(&self.state).is_renewal = is_renewal;
    }

    /// Opens the epoch of a transaction that has begun.
    pub(crate) fn open_epoch(&self) -> Arc<TransactionEpoch> {
        let epoch = Arc::new(TransactionEpoch::new());
        lock(&self.state).epoch = Some(Arc::clone(&epoch));
        epoch
    }

    /// Waits until no call is under way, and begins a step. Returns its call and the call's number.
    pub(crate) async fn begin(
        &self,
        step: Step,
        calls: &Arc<BlockingCalls>,
        closed: impl Fn() -> KafkaError,
    ) -> Result<(UnderWay, u64), KafkaError> {
        loop {
            {
                let mut state = lock(&self.state);
                match state.begin_call(step, calls) {
                    Ok(call) => return Ok((call, state.calls)),
                    Err(NotBegun::Stopped) => return Err(closed()),
                    Err(NotBegun::UnderWay) => {}
                }
            }
            self.settled_phase().await?;
        }
    }

    /// Forgets the error of a call whose result was reported to its caller.
    pub(crate) fn reported(&self, call: u64) {
        let mut state = lock(&self.state);
        state.reported = state.reported.max(call);
        state.unreported.retain(|(other, _)| *other != call);
    }

    /// Returns why offsets are not in the transaction, if that was not reported to the caller.
    pub(crate) fn unreported(&self) -> Option<KafkaError> {
        let state = lock(&self.state);
        state.unreported.first().map(|(_, error)| error.clone())
    }

    /// Marks the transaction as abandoned, because its handle was dropped. If it is open, begins an
    /// abort and returns its call.
    pub(crate) fn abandon(&self, calls: &Arc<BlockingCalls>) -> Option<UnderWay> {
        let mut state = lock(&self.state);
        state.is_abandoned = true;
        if state.must_abort() {
            state.begin_call(Step::Abort, calls).ok()
        } else {
            None
        }
    }

    /// Undoes a step that has begun and was not called. Its call has left the list.
    pub(crate) fn not_begun(&self, step: Step, error: &KafkaError) {
        lock(&self.state).end(step, &Err(error.clone()));
        self.notify();
    }

    /// Completes a step and its `call`. If the transaction must be aborted now, because its handle
    /// was dropped, begins the abort and returns its call.
    pub(crate) fn end(
        &self,
        step: Step,
        result: &Result<(), KafkaError>,
        mut call: UnderWay,
    ) -> Option<UnderWay> {
        {
            let mut state = lock(&self.state);
            state.end(step, result);
            // An abort that failed is called again by the next begin.
            if step != Step::Abort && state.must_abort() {
                state.begin(Step::Abort);
                return Some(call);
            }
            call.leave();
        }
        self.notify();
        None
    }
}

impl State {
    fn begin_call(&mut self, step: Step, calls: &Arc<BlockingCalls>) -> Result<UnderWay, NotBegun> {
        if self.calling.is_some() {
            return Err(NotBegun::UnderWay);
        }
        let call = calls.begin(BlockingCall::Transaction)?;
        self.begin(step);
        Ok(call)
    }

    fn begin(&mut self, step: Step) {
        self.calling = Some(step);
        self.before = (self.phase, self.outcome);
        self.calls += 1;
        match step {
            Step::Commit => {
                self.phase = Phase::Committing;
                self.outcome = Some(TransactionOutcome::Unknown);
            }
            Step::Abort => self.phase = Phase::Aborting,
            Step::Init | Step::Begin | Step::SendOffsets => {}
        }
    }

    fn end(&mut self, step: Step, result: &Result<(), KafkaError>) {
        self.calling = None;
        self.is_overdue = false;
        match (step, result) {
            (Step::Init, Ok(())) => self.is_initialized = true,
            (Step::Init | Step::Begin, Err(_)) | (Step::SendOffsets, Ok(())) => {}
            (Step::SendOffsets, Err(error)) => {
                if self.reported != self.calls {
                    self.keep_unreported(self.calls, error.clone());
                }
            }
            // An error without a code is this crate's: librdkafka was not called.
            (_, Err(error)) if error.code().is_none() => (self.phase, self.outcome) = self.before,
            (Step::Begin, Ok(())) => {
                self.reopen();
                self.is_abandoned = false;
                self.unreported.clear();
            }
            (Step::Commit, Ok(())) => self.close(TransactionOutcome::Committed),
            (Step::Abort, Ok(())) => self.close(TransactionOutcome::Aborted),
            // The next commit or abort resumes it.
            (Step::Commit | Step::Abort, Err(error)) if error.is_retriable() => {}
            (Step::Commit, Err(error)) if is_refused_commit(error) => {
                self.close(TransactionOutcome::Aborted);
            }
            // The brokers decide, because the producer can do nothing more.
            (Step::Commit | Step::Abort, Err(error)) if error.is_fatal() => {
                self.close(TransactionOutcome::Unknown);
            }
            (Step::Commit | Step::Abort, Err(_)) => self.reopen(),
        }
    }

    fn reopen(&mut self) {
        self.phase = Phase::Open;
        if !self.is_renewal {
            self.outcome = None;
        }
    }

    /// Keeps the first error, which fails the commit, and the last, which may still be reported.
    fn keep_unreported(&mut self, call: u64, error: KafkaError) {
        self.unreported.truncate(1);
        self.unreported.push((call, error));
    }

    fn close(&mut self, outcome: TransactionOutcome) {
        self.phase = Phase::Completed;
        if !self.is_renewal {
            self.outcome = Some(outcome);
        }
    }

    fn must_abort(&self) -> bool {
        self.is_abandoned && self.calling.is_none() && self.phase == Phase::Open
    }
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Init => "init_transactions",
            Step::Begin => "begin_transaction",
            Step::SendOffsets => "send_offsets_to_transaction",
            Step::Commit => "commit_transaction",
            Step::Abort => "abort_transaction",
        }
    }
}

/// Returns true if the coordinator has refused to commit. It accepts a commit that it has completed,
/// so it has completed none (`TransactionCoordinator.endTransaction` of Kafka).
fn is_refused_commit(error: &KafkaError) -> bool {
    error.is_fatal() && error.code() == Some(RDKafkaErrorCode::InvalidTransactionalState)
}

/// A call that is given up before it has begun. If it would have sent offsets, the transaction must
/// not be committed without them.
pub(crate) struct GivenUp<'t>(pub(crate) &'t Transactions, pub(crate) Step);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if self.1 == Step::SendOffsets {
            let text = "send_offsets_to_transaction: given up before it began";
            let error = KafkaError::with_text(RDKafkaErrorCode::State, text);
            lock(&self.0.state).keep_unreported(0, error);
        }
    }
}

/// Returns the error of a call that has exceeded its time limit.
pub(crate) fn still_under_way(code: RDKafkaErrorCode) -> KafkaError {
    let text = "send_offsets_to_transaction: not done in time, and still under way";
    KafkaError::of_call(Class::Retriable, code, text)
}
