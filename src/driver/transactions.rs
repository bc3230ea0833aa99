//! The state of a producer's transactions: how far the last one has come, and which call is under way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::blocking::{BlockingCall, BlockingCalls, NotBegun, UnderWay};
use super::transaction_epoch::TransactionEpoch;
use crate::error::{Class, KafkaError, RDKafkaErrorCode};
use crate::sync::{Notifier, lock};
use crate::values::TransactionOutcome;

/// How far the transaction that began last has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none, or it has ended.
    Ended,
    /// Records may enter, or it waits to be aborted.
    Open,
    /// A commit was begun: only the same call tells its outcome.
    Committing,
    /// An abort was begun.
    Aborting,
}

/// The calls that are made within or around a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Init,
    Begin,
    SendOffsets,
    Commit,
    Abort,
}

/// What is known of a producer's transactions.
#[derive(Debug)]
pub(crate) struct Transactions {
    state: Mutex<State>,
    /// Notifies those who wait that a call has ended, or is overdue.
    ended: Notifier,
    /// `transaction.timeout.ms`
    pub(crate) timeout: Duration,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    outcome: Option<TransactionOutcome>,
    /// The call that is under way.
    calling: Option<Step>,
    /// The phase and the outcome before it.
    before: (Phase, Option<TransactionOutcome>),
    /// How many calls have begun.
    calls: u64,
    /// The call has exceeded its limit of time: nobody waits for it.
    is_overdue: bool,
    /// The transaction's handle was dropped.
    is_abandoned: bool,
    is_initialized: bool,
    epoch: Option<Arc<TransactionEpoch>>,
    /// The last call whose result was reported to its caller.
    reported: u64,
    /// Why offsets of the transaction were not sent, by call, if that was not reported to the caller.
    unreported: Vec<(u64, KafkaError)>,
}

impl Transactions {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Ended,
                outcome: None,
                calling: None,
                before: (Phase::Ended, None),
                calls: 0,
                is_overdue: false,
                is_abandoned: false,
                is_initialized: false,
                epoch: None,
                reported: 0,
                unreported: Vec::new(),
            }),
            ended: Notifier::default(),
            timeout,
        }
    }

    /// How far the transaction has come, once no call is under way.
    ///
    /// # Errors
    ///
    /// A retriable error if a call is overdue. It comes after a moment, so that a caller in a loop
    /// leaves the thread to others.
    pub(crate) async fn settled_phase(&self) -> Result<Phase, KafkaError> {
        let mut was_overdue = false;
        loop {
            let ended = self.ended.changed();
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
            ended.await;
        }
    }

    /// Resolves when the call is overdue.
    pub(crate) async fn overdue(&self) {
        loop {
            let overdue = self.ended.changed();
            if lock(&self.state).is_overdue {
                return;
            }
            overdue.await;
        }
    }

    /// Nobody waits for that call any longer, if it is still under way.
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
        self.ended.notify();
    }

    /// The number of the call that is under way.
    pub(crate) fn call(&self) -> u64 {
        lock(&self.state).calls
    }

    pub(crate) fn outcome(&self) -> Option<TransactionOutcome> {
        lock(&self.state).outcome
    }

    /// The epoch of the transaction's records.
    pub(crate) fn epoch(&self) -> Option<Arc<TransactionEpoch>> {
        lock(&self.state).epoch.clone()
    }

    /// The call that is under way.
    pub(crate) fn calling(&self) -> Option<Step> {
        lock(&self.state).calling
    }

    /// Whether a commit has begun that has not come to its end.
    pub(crate) fn is_committing(&self) -> bool {
        lock(&self.state).phase == Phase::Committing
    }

    /// Whether a call is under way that nobody waits for.
    pub(crate) fn is_overdue(&self) -> bool {
        lock(&self.state).is_overdue
    }

    /// Whether `init` has been done.
    pub(crate) fn is_initialized(&self) -> bool {
        lock(&self.state).is_initialized
    }

    /// A transaction has begun.
    pub(crate) fn open_epoch(&self) -> Arc<TransactionEpoch> {
        let epoch = Arc::new(TransactionEpoch::new());
        lock(&self.state).epoch = Some(Arc::clone(&epoch));
        epoch
    }

    /// Begins a step, once no other is under way: its call, and the number of that.
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

    /// The result of that call was reported to its caller.
    pub(crate) fn reported(&self, call: u64) {
        let mut state = lock(&self.state);
        state.reported = state.reported.max(call);
        state.unreported.retain(|(other, _)| *other != call);
    }

    /// Why offsets are not in the transaction, if that was not reported to the caller.
    pub(crate) fn unreported(&self) -> Option<KafkaError> {
        let state = lock(&self.state);
        state.unreported.first().map(|(_, error)| error.clone())
    }

    /// The transaction's handle was dropped. If it is open, an abort has begun: its call.
    pub(crate) fn abandon(&self, calls: &Arc<BlockingCalls>) -> Option<UnderWay> {
        let mut state = lock(&self.state);
        state.is_abandoned = true;
        if state.must_abort() {
            state.begin_call(Step::Abort, calls).ok()
        } else {
            None
        }
    }

    /// A step that had begun was not called, and its call has left the list.
    pub(crate) fn not_begun(&self, step: Step, error: &KafkaError) {
        lock(&self.state).end(step, &Err(error.clone()));
        self.notify();
    }

    /// A step has ended, and with it `call`. If the transaction must be aborted now, because its
    /// handle was dropped, that has begun: its call.
    pub(crate) fn end(
        &self,
        step: Step,
        result: &Result<(), KafkaError>,
        mut call: UnderWay,
    ) -> Option<UnderWay> {
        {
            let mut state = lock(&self.state);
            state.end(step, result);
            // One that failed is called again by the next begin.
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
            // An error without a code is ours: librdkafka was not called.
            (_, Err(error)) if error.code().is_none() => (self.phase, self.outcome) = self.before,
            (Step::Begin, Ok(())) => {
                self.phase = Phase::Open;
                self.outcome = None;
                self.is_abandoned = false;
                self.unreported.clear();
            }
            (Step::Commit, Ok(())) => self.close(TransactionOutcome::Committed),
            (Step::Abort, Ok(())) => self.close(TransactionOutcome::Aborted),
            // It is to be resumed.
            (Step::Commit | Step::Abort, Err(error)) if error.is_retriable() => {}
            // Nothing can be done any more; the brokers decide.
            (Step::Commit | Step::Abort, Err(error)) if error.is_fatal() => {
                self.close(TransactionOutcome::Unknown);
            }
            (Step::Commit | Step::Abort, Err(_)) => {
                self.phase = Phase::Open;
                self.outcome = None;
            }
        }
    }

    /// Keeps the first, which fails the commit, and the last, which may still be reported.
    fn keep_unreported(&mut self, call: u64, error: KafkaError) {
        self.unreported.truncate(1);
        self.unreported.push((call, error));
    }

    fn close(&mut self, outcome: TransactionOutcome) {
        self.phase = Phase::Ended;
        self.outcome = Some(outcome);
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

/// A call that is given up before it has begun. If it was to send offsets, the transaction must not be
/// committed without them.
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

/// The error of a call that has exceeded its limit of time.
pub(crate) fn still_under_way(code: RDKafkaErrorCode) -> KafkaError {
    let text = "send_offsets_to_transaction: not done in time, and still under way";
    KafkaError::of_call(Class::Retriable, code, text)
}
