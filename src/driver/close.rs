//! Closing a producer: the one place that decides that it has terminated, and what follows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::blocking::BlockingCall;
use super::report::CloseReport;
use super::serve::Served;
use super::shared::Shared;
use super::stand_in::served;
use super::trackers::Completions;
use crate::client::ProducerContext;
use crate::sync::lock;
use crate::values::PurgeConfig;

/// How long to wait for reports before purging again. One purge may miss messages that move between
/// two queues, or back into one.
pub(super) const PURGE_AGAIN: Duration = Duration::from_millis(100);

impl<C: ProducerContext> Shared<C> {
    /// Returns true if the producer has terminated: admission has stopped, nothing is in flight,
    /// and no blocking call is under way. No such call begins from then on.
    pub(super) fn has_terminated(&self) -> bool {
        self.is_drained() && self.calls.stop_if_idle()
    }

    /// Returns true if admission has stopped and nothing is in flight.
    fn is_drained(&self) -> bool {
        self.core.is_closed() && self.core.in_flight() == 0
    }

    /// Sets the report if only a transactional call is left that has exceeded its time limit. No
    /// caller waits for that call.
    pub(super) fn end_without_overdue(&self) {
        const CALLS: &[BlockingCall] = &[BlockingCall::Transaction, BlockingCall::TransactionWatch];
        if self.is_drained() && self.transactions.is_overdue() && self.calls.are_only(CALLS) {
            self.set_report();
        }
    }

    /// Begins to count for the report of the close, and stops admission.
    pub(super) fn begin_report(&self, deadline: Option<Instant>) {
        lock(&self.trackers).begin_close(deadline);
        self.stop_admission();
    }

    /// Begins to close, or joins a close that has begun. It flushes, and purges what is left at the
    /// earliest deadline of all callers.
    pub(crate) fn begin_close(self: &Arc<Self>, deadline: Option<Instant>) {
        if self.core.is_forked() {
            return;
        }
        self.begin_report(deadline);
        // If the system has no thread now, the driver tries again, and keeps the deadline.
        let _ = self.ensure_flush();
    }

    /// Resolves with the report when the client has been destroyed. If a transactional call is
    /// overdue, it resolves before that.
    pub(crate) async fn closed(self: &Arc<Self>) -> CloseReport {
        if self.core.is_forked() {
            return CloseReport::default();
        }
        served(self, self.reported()).await
    }

    /// Resolves with the report once it is set. It does not serve.
    pub(crate) async fn reported(&self) -> CloseReport {
        loop {
            let reported = self.reported.changed();
            if let Some(report) = self.report.get() {
                return report.clone();
            }
            reported.await;
        }
    }

    /// Returns true once the report of the close has been set: nothing is in flight any more.
    pub(crate) fn has_reported(&self) -> bool {
        self.report.get().is_some()
    }

    /// Sets the report of the close, unless it has been set. Nothing may be in flight.
    fn set_report(&self) {
        if self.report.get().is_some() {
            return;
        }
        #[cfg(feature = "statistics")]
        self.statistics.end();
        let mut completions = Completions::default();
        let report = lock(&self.trackers).terminate(&mut completions);
        drop(completions);
        // The driver may have set it meanwhile, because a call is overdue.
        let _ = self.report.set(report);
        self.reported.notify();
    }

    /// Destroys the client and sets the report, once. Blocks.
    pub(super) fn destroy(&self) {
        self.destroyed.call_once(|| self.destroy_client());
    }

    fn destroy_client(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        // The client must outlive what is being served, also by another thread.
        let mut serving = loop {
            match self.serving.take() {
                Some(serving) => break serving,
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        serving.get().close();
        drop(serving);
        self.core.destroy();
        self.requests.close();
        self.set_report();
        // After it: a future that is dropped from here on logs its failure by itself.
        self.core.log.log_all();
    }

    /// Purges what is in flight, resolves everything, and destroys the client, without a runtime.
    /// Blocks.
    pub(super) fn tear_down(&self) {
        let everything = PurgeConfig::default().queue().inflight().non_blocking();
        while !self.has_terminated() {
            self.end_without_overdue();
            self.core.purge(everything);
            let purged = Instant::now();
            // Log lines and statistics may keep arriving.
            while !self.has_terminated() && purged.elapsed() < PURGE_AGAIN {
                if self.serve(PURGE_AGAIN) == Served::Nothing {
                    break;
                }
            }
        }
        self.destroy();
    }
}
