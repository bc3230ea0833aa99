//! What is known of a producer's transactions: how far the last one has come, and which call is under way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::{Class, KafkaError};
use crate::error_code::RDKafkaErrorCode;
use crate::ffi::catch_panic;
use crate::scope::Scope;
use crate::sync::lock;
use crate::transaction::TransactionOutcome;

/// How far the transaction that began last has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none, or it has ended.
    Ended,
    /// Records may enter, or it waits to be aborted.
    Open,
    /// A commit was begun: only the same call again tells how it ends.
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
    /// Tells those who wait that a call has ended, or is overdue.
    ended: Notify,
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
    /// How many have begun.
    calls: u64,
    /// The call does not keep its limit of time: nobody waits for it.
    is_overdue: bool,
    /// Nobody is left who could end the transaction.
    is_abandoned: bool,
    is_initialized: bool,
    /// The producer is at its end: no call begins any more.
    is_over: bool,
    scope: Option<Arc<Scope>>,
    /// The call whose end somebody has heard of, or that it is overdue.
    heard: u64,
    /// Why offsets of the transaction were not sent, and in which call, where nobody has heard of it.
    unheard: Vec<(u64, KafkaError)>,
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
                is_over: false,
                scope: None,
                heard: 0,
                unheard: Vec::new(),
            }),
            ended: Notify::new(),
            timeout,
        }
    }

    /// How far the transaction has come, once no call is under way.
    ///
    /// # Errors
    ///
    /// Retriable where a call is overdue; after a moment, so that those who try again and again leave
    /// the thread to others meanwhile.
    pub(crate) async fn settled_phase(&self) -> Result<Phase, KafkaError> {
        let mut was_overdue = false;
        loop {
            let ended = self.ended.notified();
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
    pub(super) async fn overdue(&self) {
        loop {
            let overdue = self.ended.notified();
            if lock(&self.state).is_overdue {
                return;
            }
            overdue.await;
        }
    }

    /// Nobody waits for that call any longer, if it is still under way.
    pub(super) fn give_up_waiting(&self, call: u64) {
        {
            let mut state = lock(&self.state);
            if state.calling.is_none() || state.calls != call {
                return;
            }
            state.is_overdue = true;
        }
        self.tell();
    }

    /// Wakes those who wait for a call.
    pub(super) fn tell(&self) {
        // See `wake`: one that panics must not take the rest with it.
        let _ = catch_panic(|| self.ended.notify_waiters());
    }

    /// The number of the call that is under way.
    pub(super) fn call(&self) -> u64 {
        lock(&self.state).calls
    }

    pub(crate) fn outcome(&self) -> Option<TransactionOutcome> {
        lock(&self.state).outcome
    }

    /// What the transaction's records are in.
    pub(crate) fn scope(&self) -> Option<Arc<Scope>> {
        lock(&self.state).scope.clone()
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

    /// Lets no call begin any more, where none is under way.
    pub(crate) fn stop_calls(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_over |= state.calling.is_none();
        state.is_over
    }

    /// A transaction has begun.
    pub(crate) fn enter(&self) -> Arc<Scope> {
        let scope = Arc::new(Scope::new());
        lock(&self.state).scope = Some(Arc::clone(&scope));
        scope
    }

    /// Begins a step, once no other is under way. The number of the call.
    pub(super) async fn begin(&self, step: Step) -> Result<u64, KafkaError> {
        loop {
            {
                let mut state = lock(&self.state);
                if state.is_over {
                    return Err(KafkaError::closed());
                }
                if state.calling.is_none() {
                    state.begin(step);
                    return Ok(state.calls);
                }
            }
            self.settled_phase().await?;
        }
    }

    /// Somebody knows how that call has ended, or that it is overdue.
    pub(super) fn heard(&self, call: u64) {
        let mut state = lock(&self.state);
        state.heard = state.heard.max(call);
        state.unheard.retain(|(unheard, _)| *unheard != call);
    }

    /// Why offsets are not in the transaction, where whoever sent them does not know.
    pub(crate) fn unheard(&self) -> Option<KafkaError> {
        let state = lock(&self.state);
        state.unheard.first().map(|(_, error)| error.clone())
    }

    /// Nobody is left who could end the transaction. Whether it must be aborted now; that has begun then.
    pub(super) fn abandon(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_abandoned = true;
        let must_abort = state.must_abort();
        if must_abort {
            state.begin(Step::Abort);
        }
        must_abort
    }

    /// A step has ended. Whether the transaction must be aborted now, because nobody is left to do
    /// it; that has begun then.
    pub(super) fn end(&self, step: Step, result: &Result<(), KafkaError>) -> bool {
        let must_abort = {
            let mut state = lock(&self.state);
            state.end(step, result);
            // One that failed is made again by the next begin.
            let must_abort = step != Step::Abort && state.must_abort();
            if must_abort {
                state.begin(Step::Abort);
            }
            must_abort
        };
        if !must_abort {
            self.tell();
        }
        must_abort
    }
}

impl State {
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
                if self.heard != self.calls {
                    self.unheard.push((self.calls, error.clone()));
                }
            }
            // Without a code it is ours, of a call that was not made.
            (_, Err(error)) if error.code().is_none() => (self.phase, self.outcome) = self.before,
            (Step::Begin, Ok(())) => {
                self.phase = Phase::Open;
                self.outcome = None;
                self.is_abandoned = false;
                self.unheard.clear();
            }
            (Step::Commit, Ok(())) => self.close(TransactionOutcome::Committed),
            (Step::Abort, Ok(())) => self.close(TransactionOutcome::Aborted),
            // It is to be resumed.
            (Step::Commit | Step::Abort, Err(error)) if error.is_retriable() => {}
            // Nothing can be done any more; what the brokers make of it is theirs.
            (Step::Commit | Step::Abort, Err(error)) if error.is_fatal() => {
                self.close(TransactionOutcome::Unknown);
            }
            (Step::Commit | Step::Abort, Err(_)) => {
                self.phase = Phase::Open;
                self.outcome = None;
            }
        }
    }

    fn close(&mut self, outcome: TransactionOutcome) {
        self.phase = Phase::Ended;
        self.outcome = Some(outcome);
    }

    fn must_abort(&self) -> bool {
        let is_free = self.calling.is_none() && !self.is_over;
        self.is_abandoned && is_free && self.phase == Phase::Open
    }
}

impl Step {
    pub(super) fn name(self) -> &'static str {
        match self {
            Step::Init => "init_transactions",
            Step::Begin => "begin_transaction",
            Step::SendOffsets => "send_offsets_to_transaction",
            Step::Commit => "commit_transaction",
            Step::Abort => "abort_transaction",
        }
    }
}

/// A call that is given up before it has begun. Where it was to send offsets, the transaction must not
/// be committed without them.
pub(super) struct GivenUp<'t>(pub(super) &'t Transactions, pub(super) Step);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if self.1 == Step::SendOffsets {
            let text = "send_offsets_to_transaction: given up before it began";
            let error = KafkaError::with_text(RDKafkaErrorCode::State, text);
            lock(&self.0.state).unheard.push((0, error));
        }
    }
}

/// A call takes longer than it may.
pub(super) fn still_under_way(code: RDKafkaErrorCode) -> KafkaError {
    let text = "send_offsets_to_transaction: not done in time, and still under way";
    KafkaError::of_call(Class::Retriable, code, text)
}
