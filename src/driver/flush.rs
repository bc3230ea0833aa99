//! Flushes and purges: their trackers, and the threads that call librdkafka.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::coop::unconstrained;

use super::blocking::{BlockingCall, UnderWay};
use super::close::PURGE_AGAIN;
use super::report::FlushError;
use super::shared::Shared;
use super::stand_in::served;
use super::trackers::{Tally, TrackerKey, Trackers};
use crate::client::ProducerContext;
use crate::error::KafkaError;
use crate::sync::{lock, log};
use crate::values::PurgeConfig;

/// One slice of a blocking flush, after which the thread notices that nobody waits any more.
const FLUSH_SLICE: Duration = Duration::from_millis(200);

impl<C: ProducerContext> Shared<C> {
    /// Starts a thread that flushes for as long as anybody waits for a flush.
    pub(super) fn ensure_flush(self: &Arc<Self>) -> io::Result<()> {
        let begun = {
            let trackers = lock(&self.trackers);
            if !self.wants_flush(&trackers) {
                return Ok(());
            }
            self.calls.begin(BlockingCall::Flush)
        };
        // One is under way, or nothing is in flight any more.
        let Ok(call) = begun else {
            return Ok(());
        };
        let shared = Arc::clone(self);
        call.spawn(move |call| shared.flush_slices(call))
    }

    fn wants_flush(&self, trackers: &Trackers) -> bool {
        let is_last = trackers.is_closing() || self.core.has_fatal_error();
        trackers.has_flushes() || (is_last && self.core.in_flight() > 0)
    }

    /// While a flush, a close or a fatal error wants a flush, sees to it that one is under way. If
    /// the system has no thread for it, keeps the deadline of the close without one, and returns
    /// true: to be called again soon.
    ///
    /// After a fatal error librdkafka purges its queue once. What was in flight then comes back
    /// into the queue if its answer says that it should be tried again, and would stay there until
    /// `message.timeout.ms`.
    pub(super) fn keep_flushing(self: &Arc<Self>) -> bool {
        if self.ensure_flush().is_ok() {
            return false;
        }
        let deadline = lock(&self.trackers).close_deadline();
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let everything = PurgeConfig::default().queue().inflight();
            self.core.purge(everything.non_blocking());
        }
        true
    }

    fn flush_slices(&self, mut call: UnderWay) {
        loop {
            let deadline = {
                let trackers = lock(&self.trackers);
                if !self.wants_flush(&trackers) {
                    call.leave();
                    return;
                }
                trackers.close_deadline()
            };
            let Some(client) = self.core.client() else {
                continue;
            };
            let mut slice = FLUSH_SLICE;
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    client.purge(PurgeConfig::default().queue().inflight());
                    slice = PURGE_AGAIN;
                } else {
                    slice = left.min(FLUSH_SLICE);
                }
            }
            if self.core.has_fatal_error() {
                client.purge(PurgeConfig::default().queue());
                slice = slice.min(PURGE_AGAIN);
            }
            client.flush(slice);
            drop(client);
            // It returns at once if librdkafka has nothing left while our own accounting, on
            // another thread, is not done yet.
            std::thread::yield_now();
        }
    }

    /// Starts a thread that calls the purges that were asked for. A purge waits for librdkafka's
    /// threads. If the system has no thread left, the purge is called without that wait.
    fn ensure_purge(self: &Arc<Self>) {
        let Ok(call) = self.calls.begin(BlockingCall::Purge) else {
            return;
        };
        let shared = Arc::clone(self);
        if let Err(error) = call.spawn(move |call| shared.call_purges(call)) {
            let (client, error) = (self.core.client_name(), error.to_string());
            log(|| tracing::warn!(client, error, "no thread for a purge: it may miss messages"));
            while self.call_purge(PurgeConfig::non_blocking) {}
        }
    }

    fn call_purges(&self, mut call: UnderWay) {
        loop {
            while self.call_purge(PurgeConfig::blocking) {}
            let trackers = lock(&self.trackers);
            if !trackers.has_asked() {
                call.leave();
                return;
            }
        }
    }

    /// Calls all purges that were asked for as one. Returns false if there are none.
    fn call_purge(&self, adapt: impl FnOnce(PurgeConfig) -> PurgeConfig) -> bool {
        let Some((config, ids)) = lock(&self.trackers).take_asked() else {
            return false;
        };
        self.core.purge(adapt(config));
        let queued = self.core.queued_events();
        {
            let mut trackers = lock(&self.trackers);
            let number = self.purges_called.load(Ordering::SeqCst) + 1;
            // Known to the trackers first: whoever sees the number must find it there.
            trackers.purge_called(ids, number, queued);
            self.purges_called.store(number, Ordering::SeqCst);
        }
        self.wake();
        true
    }
}

/// A flush or purge that somebody waits for. Dropping it stops only the tracking.
#[derive(Debug)]
pub(crate) struct Tracker<'s, C: ProducerContext> {
    shared: &'s Arc<Shared<C>>,
    key: TrackerKey,
    done: oneshot::Receiver<Tally>,
}

impl<'s, C: ProducerContext> Tracker<'s, C> {
    /// Begins to flush what is in flight now.
    ///
    /// # Errors
    ///
    /// If the system has no thread for it, or nobody serves the queue any more.
    pub(crate) fn flush(shared: &'s Arc<Shared<C>>) -> Result<Self, FlushError> {
        let served = shared.core.check_served();
        served.map_err(|why| FlushError::new(why, shared.core.in_flight()))?;
        let (key, done) = {
            let mut trackers = lock(&shared.trackers);
            let settled = shared.core.settled();
            trackers.track_flush(shared.core.issued(), settled)
        };
        let tracker = Self { shared, key, done };
        match shared.ensure_flush() {
            Ok(()) => Ok(tracker),
            Err(error) => Err(tracker.give_up(KafkaError::no_thread(error))),
        }
    }

    /// Begins to purge.
    pub(crate) fn purge(shared: &'s Arc<Shared<C>>, config: PurgeConfig) -> Self {
        let (key, done) = lock(&shared.trackers).track_purge(config);
        shared.ensure_purge();
        Self { shared, key, done }
    }

    /// Resolves with how the messages were completed.
    pub(crate) async fn done(&mut self) -> Tally {
        // The sender is kept until it has sent: nothing but `self` cancels the tracker.
        let done = unconstrained(&mut self.done);
        served(self.shared, done).await.unwrap_or_default()
    }

    /// Stops waiting.
    pub(crate) fn give_up(mut self, why: KafkaError) -> FlushError {
        let remaining = self.cancel().unwrap_or(0);
        FlushError::new(why, usize::try_from(remaining).unwrap_or(usize::MAX))
    }

    fn cancel(&mut self) -> Option<u64> {
        // The sender is dropped under the lock, where it must not call a waker.
        self.done.close();
        lock(&self.shared.trackers).cancel(self.key)
    }
}

impl<C: ProducerContext> Drop for Tracker<'_, C> {
    fn drop(&mut self) {
        self.cancel();
    }
}
