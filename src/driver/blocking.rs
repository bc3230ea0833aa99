//! The one place from which librdkafka's blocking calls are made: std threads, one at the most for
//! each kind of call, and the list of what is under way.
//!
//! Not tokio's blocking pool: it may be full of the user's own work, and dropping a runtime waits
//! for a started blocking call without an end.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::sync::{lock, log};

/// What blocks. A producer has one thread at the most for each of these, while such a call is under
/// way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockingCall {
    /// `rd_kafka_flush`, for all that wait for one.
    Flush,
    /// `rd_kafka_purge`, for all that wait for one.
    Purge,
    /// Asks for a broker (`rd_kafka_metadata`), for all that wait in `ready`.
    Probe,
    /// Looks for a broker to send admin requests to (`rd_kafka_metadata`).
    FindBroker,
    /// Asks for all topics (`rd_kafka_metadata`).
    AllTopics,
    /// A transactional call.
    Transaction,
    /// Watches over a transactional call that keeps no limit of time.
    TransactionWatch,
    /// Watches over capacity that is held and not used.
    CapacityWatch,
}

/// The blocking calls of a producer that are under way. While one is, the client is not destroyed.
pub(crate) struct BlockingCalls {
    state: Mutex<State>,
    /// Called when one has ended: it may have been what the end waits for.
    on_end: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug, Default)]
struct State {
    under_way: Vec<BlockingCall>,
    /// No call begins any more.
    is_stopped: bool,
}

/// A call that is under way, until this is dropped.
#[must_use]
pub(crate) struct UnderWay {
    calls: Arc<BlockingCalls>,
    call: BlockingCall,
    is_listed: bool,
}

/// Why a call has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotBegun {
    /// One of its kind is under way.
    UnderWay,
    /// No call begins any more.
    Stopped,
}

impl BlockingCalls {
    pub(crate) fn new(on_end: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            on_end: Box::new(on_end),
        })
    }

    /// Begins a call, unless one of its kind is under way.
    pub(crate) fn begin(self: &Arc<Self>, call: BlockingCall) -> Result<UnderWay, NotBegun> {
        let mut state = lock(&self.state);
        if state.is_stopped {
            return Err(NotBegun::Stopped);
        }
        if state.under_way.contains(&call) {
            return Err(NotBegun::UnderWay);
        }
        state.under_way.push(call);
        Ok(UnderWay {
            calls: Arc::clone(self),
            call,
            is_listed: true,
        })
    }

    /// Whether no call is under way; if so, none begins any more.
    pub(crate) fn stop_if_idle(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_stopped |= state.under_way.is_empty();
        state.is_stopped
    }

    /// Whether calls are under way, and all of them are of the kinds given.
    pub(crate) fn are_only(&self, kinds: &[BlockingCall]) -> bool {
        let state = lock(&self.state);
        !state.under_way.is_empty() && state.under_way.iter().all(|call| kinds.contains(call))
    }
}

impl UnderWay {
    /// Takes the call off the list, and tells nobody yet. To be called under the lock of what the
    /// call works on, once nothing is left: whoever adds something then begins another.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.is_listed) {
            lock(&self.calls.state)
                .under_way
                .retain(|call| *call != self.call);
        }
    }

    /// Makes the call on a thread of its own, which ends with `body`.
    ///
    /// # Errors
    ///
    /// The system's, if it has no thread left; then `body` was dropped, and the call has ended.
    pub(crate) fn spawn(self, body: impl FnOnce(Self) + Send + 'static) -> io::Result<()> {
        spawn(move || body(self))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.leave();
        (self.calls.on_end)();
    }
}

/// Runs `body`, which must run in any case, on a thread of its own; if the system has none left, on
/// this one. For the end of a producer, which no list has any more.
pub(crate) fn run(body: impl FnOnce() + Send + 'static) {
    // A thread that is not created drops its closure, so the body must stay within reach.
    let ours = Arc::new(Mutex::new(Some(body)));
    let theirs = Arc::clone(&ours);
    if let Err(error) = spawn(move || take_and_run(&theirs)) {
        log(|| tracing::error!(%error, "no thread for a blocking call: it blocks this one"));
        take_and_run(&ours);
    }
}

fn take_and_run(slot: &Mutex<Option<impl FnOnce()>>) {
    let body = lock(slot).take();
    if let Some(body) = body {
        body();
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name("rdkafka-block".to_owned())
        .spawn(body)
        .map(drop)
}

impl fmt::Debug for BlockingCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("BlockingCalls")
            .field("under_way", &state.under_way)
            .field("is_stopped", &state.is_stopped)
            .finish()
    }
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnderWay").field(&self.call).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn nothing_begins_once_nothing_is_under_way_at_the_end() {
        let ends = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ends);
        let calls = BlockingCalls::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let flush = calls.begin(BlockingCall::Flush).unwrap();
        assert!(!calls.stop_if_idle());
        assert!(calls.are_only(&[BlockingCall::Flush]));
        let transaction = calls.begin(BlockingCall::Transaction).unwrap();
        assert!(!calls.are_only(&[BlockingCall::Flush]));
        drop(flush);
        assert!(!calls.stop_if_idle());
        drop(transaction);
        assert_eq!(ends.load(Ordering::SeqCst), 2);
        assert!(!calls.are_only(&[BlockingCall::Flush]));
        assert!(calls.stop_if_idle());
        let begun = calls.begin(BlockingCall::Purge);
        assert_eq!(begun.err(), Some(NotBegun::Stopped));
    }

    #[test]
    fn there_is_one_of_a_kind_until_it_leaves() {
        let calls = BlockingCalls::new(|| {});
        let mut first = calls.begin(BlockingCall::Flush).unwrap();
        let begun = calls.begin(BlockingCall::Flush);
        assert_eq!(begun.err(), Some(NotBegun::UnderWay));
        first.leave();
        let second = calls.begin(BlockingCall::Flush).unwrap();
        drop(first);
        assert!(calls.are_only(&[BlockingCall::Flush]));
        drop(second);
        assert!(calls.stop_if_idle());
    }

    #[test]
    fn a_call_whose_body_panics_has_ended() {
        let calls = BlockingCalls::new(|| {});
        let call = calls.begin(BlockingCall::Flush).unwrap();
        call.spawn(|_call| panic!("as it may")).unwrap();
        while !calls.stop_if_idle() {
            thread::yield_now();
        }
    }
}
