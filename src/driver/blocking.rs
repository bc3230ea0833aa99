//! The threads for librdkafka's blocking calls, and the list of the calls that are under way.
//!
//! They are std threads, at most one for each kind of call. Tokio's blocking pool is not used: the
//! user's own work may fill it. Dropping a runtime also waits for its calls, without a limit.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::sync::{lock, log};

/// The kinds of blocking calls. A producer has at most one thread for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockingCall {
    /// `rd_kafka_flush`, for all flushes.
    Flush,
    /// `rd_kafka_purge`, for all purges.
    Purge,
    /// `rd_kafka_metadata`, which finds a broker that is up, for all callers of `ready`.
    Probe,
    /// `rd_kafka_metadata`, which finds a broker for admin requests.
    FindBroker,
    /// `rd_kafka_metadata`, which lists all topics.
    AllTopics,
    /// A transactional call.
    Transaction,
    /// The time limit of a transactional call that does not keep it by itself.
    TransactionWatch,
    /// The watch over capacity that is held and not used.
    CapacityWatch,
}

/// The blocking calls of a producer that are under way. While one is, the client is not destroyed.
pub(crate) struct BlockingCalls {
    state: Mutex<State>,
    /// Called when a call has completed: the producer may terminate then.
    on_completed: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug, Default)]
struct State {
    under_way: Vec<BlockingCall>,
    /// If true, no call begins any more.
    is_stopped: bool,
}

/// Keeps a call on the list of those under way until it is dropped.
#[must_use]
pub(crate) struct UnderWay {
    calls: Arc<BlockingCalls>,
    call: BlockingCall,
    is_listed: bool,
}

/// Why a call has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotBegun {
    /// A call of the same kind is under way.
    UnderWay,
    /// No call begins any more.
    Stopped,
}

impl BlockingCalls {
    pub(crate) fn new(on_completed: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            on_completed: Box::new(on_completed),
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

    /// Returns true if no call is under way. From then on none begins.
    pub(crate) fn stop_if_idle(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_stopped |= state.under_way.is_empty();
        state.is_stopped
    }

    /// Returns true if calls are under way, and all of them are of the given kinds.
    pub(crate) fn are_only(&self, kinds: &[BlockingCall]) -> bool {
        let state = lock(&self.state);
        !state.under_way.is_empty() && state.under_way.iter().all(|call| kinds.contains(call))
    }
}

impl UnderWay {
    /// Takes the call off the list, without calling `on_completed` yet.
    ///
    /// Call it under the lock of what the call works on, once nothing is left to do. A caller that
    /// adds work later then begins another call.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.is_listed) {
            lock(&self.calls.state)
                .under_way
                .retain(|call| *call != self.call);
        }
    }

    /// Runs `body` on a thread of its own.
    ///
    /// # Errors
    ///
    /// The system has no thread left. `body` was dropped then, and the call is off the list.
    pub(crate) fn spawn(self, body: impl FnOnce(Self) + Send + 'static) -> io::Result<()> {
        spawn(move || body(self))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.leave();
        (self.calls.on_completed)();
    }
}

/// Runs `body` on a thread of its own, or on this one if the system has no thread left.
///
/// It destroys a producer, which must happen in any case. It is on no list of calls.
pub(crate) fn run(client: Option<&str>, body: impl FnOnce() + Send + 'static) {
    // A thread that is not created drops its closure, so the body must stay within reach.
    let ours = Arc::new(Mutex::new(Some(body)));
    let theirs = Arc::clone(&ours);
    if let Err(error) = spawn(move || take_and_run(&theirs)) {
        let error = error.to_string();
        log(|| {
            tracing::error!(
                client,
                error,
                "no thread for a blocking call: it blocks this one"
            )
        });
        take_and_run(&ours);
    }
}

fn take_and_run(slot: &Mutex<Option<impl FnOnce()>>) {
    let body = lock(slot).take();
    if let Some(body) = body {
        body();
    }
}

/// Runs `body` on a thread of its own. It is on no list of calls.
///
/// # Errors
///
/// The system has no thread left. `body` was dropped then.
pub(super) fn spawn(body: impl FnOnce() + Send + 'static) -> io::Result<()> {
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
    fn no_call_begins_after_a_stop() {
        let completed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&completed);
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
        assert_eq!(completed.load(Ordering::SeqCst), 2);
        assert!(!calls.are_only(&[BlockingCall::Flush]));
        assert!(calls.stop_if_idle());
        let begun = calls.begin(BlockingCall::Purge);
        assert_eq!(begun.err(), Some(NotBegun::Stopped));
    }

    #[test]
    fn a_kind_has_one_call_until_it_leaves() {
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
    fn a_call_whose_body_panics_leaves_the_list() {
        let calls = BlockingCalls::new(|| {});
        let call = calls.begin(BlockingCall::Flush).unwrap();
        call.spawn(|_call| panic!("as it may")).unwrap();
        while !calls.stop_if_idle() {
            thread::yield_now();
        }
    }
}
