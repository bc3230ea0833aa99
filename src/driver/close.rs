//! The end of a producer: the one place that decides that it has terminated, and what follows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::blocking::BlockingCall;
use super::report::CloseReport;
use super::serve::Served;
use super::shared::Shared;
use super::trackers::Completions;
use crate::client::ProducerContext;
use crate::sync::lock;
use crate::values::PurgeConfig;

/// How long to wait for reports before purging again: one purge may miss messages on their way
/// between two queues, or back into one.
pub(super) const PURGE_AGAIN: Duration = Duration::from_millis(100);

impl<C: ProducerContext> Shared<C> {
    /// Whether the producer has terminated: admission has stopped, nothing is in flight, and no
    /// blocking call is under way. No such call begins from then on.
    pub(super) fn has_terminated(&self) -> bool {
        self.is_drained() && self.calls.stop_if_idle()
    }

    /// Whether admission has stopped and nothing is in flight.
    fn is_drained(&self) -> bool {
        self.core.is_closed() && self.core.in_flight() == 0
    }

    /// If all that is left is a transactional call that keeps no limit of time, tells the report
    /// before its end, which nobody waits for.
    pub(super) fn end_without_overdue(&self) {
        const CALLS: &[BlockingCall] = &[BlockingCall::Transaction, BlockingCall::TransactionWatch];
        if self.is_drained() && self.transactions.is_overdue() && self.calls.are_only(CALLS) {
            self.tell_report();
        }
    }

    /// Begins to keep account for the report of the close, and stops admission.
    pub(super) fn begin_report(&self, deadline: Option<Instant>) {
        lock(&self.trackers).begin_close(deadline);
        self.stop_admission();
    }

    /// Begins to close, or joins a close that has begun: flushes, and purges what is left at the
    /// earliest deadline that any caller has set.
    pub(crate) fn begin_close(self: &Arc<Self>, deadline: Option<Instant>) {
        if self.core.is_forked() {
            return;
        }
        self.begin_report(deadline);
        // If the system has no thread now, the driver tries again, and keeps the deadline.
        let _ = self.ensure_flush();
    }

    /// Resolves when the client has been destroyed; or will be, by nobody who waits.
    pub(crate) async fn closed(&self) -> CloseReport {
        if self.core.is_forked() {
            return CloseReport::default();
        }
        loop {
            let reported = self.reported.changed();
            if let Some(report) = self.report.get() {
                return report.clone();
            }
            reported.await;
        }
    }

    /// Tells the report of the close, unless it has been told. Nothing may be in flight.
    fn tell_report(&self) {
        if self.report.get().is_some() {
            return;
        }
        let mut completions = Completions::default();
        let report = lock(&self.trackers).terminate(&mut completions);
        drop(completions);
        // Another thread may have told it meanwhile, the driver before a call that is overdue.
        let _ = self.report.set(report);
        self.reported.notify();
    }

    /// Destroys the client and tells the report. Blocks.
    pub(super) fn destroy(&self) {
        if let Some(mut serving) = self.serving.take() {
            serving.get().end();
        }
        self.core.destroy();
        self.requests.end();
        self.tell_report();
    }

    /// Without a runtime: purges what is in flight, resolves everything, and destroys. Blocks.
    pub(super) fn tear_down(&self) {
        let everything = PurgeConfig::default().queue().inflight().non_blocking();
        while !self.has_terminated() {
            self.end_without_overdue();
            self.core.purge(everything);
            let purged = Instant::now();
            // Logs and statistics may go on coming.
            while !self.has_terminated() && purged.elapsed() < PURGE_AGAIN {
                if self.serve(PURGE_AGAIN) == Served::Nothing {
                    break;
                }
            }
        }
        self.destroy();
    }
}
