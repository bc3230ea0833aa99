//! The blocking calls of a producer's life, each on a thread of its own: flush, purge and destroy; and
//! who waits for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Served, Shared};
use crate::context::ProducerContext;
use crate::error::KafkaError;
use crate::flush::{Tally, Watches};
use crate::lane;
use crate::purge::PurgeConfig;
use crate::report::FlushError;
use crate::sync::lock;

/// One slice of a blocking flush: how late the thread notices that nobody waits any more.
const FLUSH_SLICE: Duration = Duration::from_millis(200);

/// How long to wait for reports before purging again: one purge may miss messages on their way
/// between two queues, or back into one.
const PURGE_AGAIN: Duration = Duration::from_millis(100);

impl<C: ProducerContext> Shared<C> {
    /// Has a thread in librdkafka's flush for as long as somebody waits for one.
    pub(super) fn ensure_flusher(self: &Arc<Self>) -> std::io::Result<()> {
        {
            let mut watches = lock(&self.watches);
            if watches.flusher_runs || !self.wants_flush(&watches) {
                return Ok(());
            }
            watches.flusher_runs = true;
        }
        let shared = Arc::clone(self);
        lane::spawn(move || shared.flush_slices())
            .inspect_err(|_| lock(&self.watches).flusher_runs = false)
    }

    fn wants_flush(&self, watches: &Watches) -> bool {
        let is_ending = watches.closing.is_some() || self.core.has_fatal_error();
        watches.any_flush() || (is_ending && self.core.in_flight() > 0)
    }

    /// After a fatal error: gives up what librdkafka has in its queue, and does not send any more.
    ///
    /// It purges the queue once, when the error is raised. What was in flight then comes back into
    /// the queue if its answer says that it should be tried again, and would stay there until
    /// `message.timeout.ms`.
    pub(super) fn give_up_after_fatal_error(self: &Arc<Self>) {
        if !self.core.has_fatal_error() {
            return;
        }
        if let Err(error) = self.ensure_flusher() {
            tracing::error!(%error, "no thread to purge with after a fatal error");
        }
    }

    fn flush_slices(&self) {
        loop {
            let deadline = {
                let mut watches = lock(&self.watches);
                if !self.wants_flush(&watches) {
                    watches.flusher_runs = false;
                    return;
                }
                watches
                    .closing
                    .as_ref()
                    .and_then(|closing| closing.deadline)
            };
            let Some(client) = self.core.client() else {
                continue;
            };
            let slice = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => {
                    client.purge(PurgeConfig::default().queue().inflight());
                    PURGE_AGAIN
                }
                Some(left) => left.min(FLUSH_SLICE),
                None => FLUSH_SLICE,
            };
            let slice = if self.core.has_fatal_error() {
                client.purge(PurgeConfig::default().queue());
                slice.min(PURGE_AGAIN)
            } else {
                slice
            };
            client.flush(slice.as_millis().max(1) as i32);
            drop(client);
            // It returns at once where librdkafka has nothing left while our own accounting, on
            // another thread, is not done yet.
            std::thread::yield_now();
        }
    }

    /// Makes the purge on a thread of its own, because it waits for librdkafka's threads; the watch
    /// is told once its reports have been served.
    fn purge(self: &Arc<Self>, config: PurgeConfig, watch: u64) {
        let shared = Arc::clone(self);
        lane::run(move || {
            shared.core.purge(config);
            // Known to the watch first: whoever sees the number must find it there.
            let mut watches = lock(&shared.watches);
            let number = shared.purges_made.load(Ordering::SeqCst) + 1;
            watches.purge_made(watch, number);
            shared.purges_made.store(number, Ordering::SeqCst);
            drop(watches);
            shared.wake.notify_one();
        });
    }

    /// The end: destroys the client and tells the report. Blocks.
    pub(super) fn destroy(&self) {
        let (event, queue) = {
            let mut serving = lock(&self.serving);
            // One whose messages have all been served may be left.
            (serving.event.take(), serving.queue.take())
        };
        drop(event);
        drop(queue);
        self.core.destroy();
        self.requests.end();
        self.tell_report();
    }

    /// Without a runtime: gives up what is in flight, resolves everything, and destroys. Blocks.
    pub(super) fn tear_down(&self) {
        let everything = PurgeConfig::default().queue().inflight().non_blocking();
        while !self.is_over() {
            self.end_without_overdue();
            self.core.purge(everything);
            let purged = Instant::now();
            // Logs and statistics may go on coming.
            while !self.is_over() && purged.elapsed() < PURGE_AGAIN {
                if self.serve(PURGE_AGAIN) == Served::Nothing {
                    break;
                }
            }
        }
        self.destroy();
    }
}

/// A flush or purge that somebody waits for; dropping it stops the watching alone.
pub(crate) struct Watching<'s, C: ProducerContext> {
    shared: &'s Arc<Shared<C>>,
    id: u64,
    done: oneshot::Receiver<Tally>,
}

impl<'s, C: ProducerContext> Watching<'s, C> {
    /// Begins to flush what is in flight now.
    ///
    /// # Errors
    ///
    /// Where the system has no thread for it.
    pub(crate) fn flush(shared: &'s Arc<Shared<C>>) -> Result<Self, FlushError> {
        let (id, done) = {
            let mut watches = lock(&shared.watches);
            let settled = shared.core.settled();
            watches.watch_flush(shared.core.issued(), settled)
        };
        let watching = Self { shared, id, done };
        match shared.ensure_flusher() {
            Ok(()) => Ok(watching),
            Err(error) => Err(watching.give_up(KafkaError::no_thread(error))),
        }
    }

    /// Begins to purge.
    pub(crate) fn purge(shared: &'s Arc<Shared<C>>, config: PurgeConfig) -> Self {
        let (id, done) = lock(&shared.watches).watch_purge(shared.core.issued());
        shared.purge(config, id);
        Self { shared, id, done }
    }

    /// What became of the messages, when it is over.
    pub(crate) async fn ended(&mut self) -> Tally {
        // The sender is kept until it has sent: nothing but `self` cancels the watch.
        (&mut self.done).await.unwrap_or_default()
    }

    /// Stops waiting.
    pub(crate) fn give_up(mut self, why: KafkaError) -> FlushError {
        let remaining = self.cancel().unwrap_or(0);
        FlushError::new(why, usize::try_from(remaining).unwrap_or(usize::MAX))
    }

    fn cancel(&mut self) -> Option<u64> {
        // Nobody waits any more: the sender, which goes under the lock, must not call a waker there.
        self.done.close();
        lock(&self.shared.watches).cancel(self.id)
    }
}

impl<C: ProducerContext> Drop for Watching<'_, C> {
    fn drop(&mut self) {
        self.cancel();
    }
}
