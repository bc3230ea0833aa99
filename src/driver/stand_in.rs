//! Serving in the driver's place while its runtime does not run it.
//!
//! A task that blocks the last worker of a runtime until a record is delivered, a flush is done or
//! a producer is closed would wait for ever: the driver needs that worker. Threads that work or
//! wait for such a call serve then: that of a flush, that of a close, and the caller of a
//! `blocking_` method.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::blocking;
use super::serve::Served;
use super::shared::Shared;
use crate::client::ProducerContext;
use crate::sync::{lock, log};

/// For how long the driver may be due without running, until others serve.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// How long to wait for an event in the driver's place, before looking at everything again.
const SLICE: Duration = Duration::from_millis(5);

/// Looks now and then whether the driver runs.
#[derive(Debug)]
pub(crate) struct StandIn {
    /// The driver's turns at the last look, if it was due.
    turns: Option<u64>,
    since: Instant,
}

impl StandIn {
    pub(crate) fn new() -> Self {
        Self {
            turns: None,
            since: Instant::now(),
        }
    }

    /// Serves in the driver's place if it has been due for [`PATIENCE`]. Returns true then: it
    /// should look again at once.
    pub(crate) fn look<C: ProducerContext>(&mut self, shared: &Arc<Shared<C>>) -> bool {
        let due = shared.driver.due();
        if due != self.turns {
            (self.turns, self.since) = (due, Instant::now());
        }
        let Some(turns) = due else {
            return false;
        };
        // It has not run since somebody found that it does not.
        if !shared.driver.is_stalled(turns) && self.since.elapsed() < PATIENCE {
            return false;
        }
        shared.stand_in(turns);
        true
    }
}

impl<C: ProducerContext> Shared<C> {
    /// Serves what there is, and destroys the client if the producer has terminated.
    fn stand_in(&self, turns: u64) {
        let mut timeout = SLICE;
        let mut has_served = false;
        loop {
            match self.serve(timeout) {
                Served::Some(_) => has_served = true,
                // A task of the runtime gets it: the driver starts one when it runs again.
                Served::TokenRefresh(config) => *lock(&self.token_wanted) = Some(config),
                Served::Nothing => break,
            }
            timeout = Duration::ZERO;
        }
        self.end_without_overdue();
        let terminates = self.has_terminated() && self.report.get().is_none();
        if terminates {
            self.destroy();
        }
        if (has_served || terminates) && self.driver.stalls(turns) {
            log(|| {
                tracing::warn!(
                    "the tokio runtime of a producer does not run its task, because its threads are \
                     blocked; another thread serves the producer: do not block the runtime"
                );
            });
        }
        if !has_served && !terminates {
            // Another thread serves, or there is nothing to serve.
            thread::sleep(SLICE);
        }
        // It may have looked while this thread served, and have found nothing.
        self.driver.wake();
    }

    /// Returns true if the driver should run and does not: somebody else had to serve, or would
    /// have to.
    pub(crate) fn is_driver_due(&self) -> bool {
        self.driver.due().is_some()
    }

    /// Starts a thread that sees to it that a close ends, also if the driver does not run.
    pub(super) fn watch_close(self: &Arc<Self>) {
        if self.report.get().is_some() || self.close_is_watched.swap(true, Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(self);
        let spawned = blocking::spawn(move || {
            let (watch, thread) = (&shared.close_watch, thread::current());
            *lock(watch) = Some(thread);
            let mut stand_in = StandIn::new();
            while shared.report.get().is_none() {
                if !stand_in.look(&shared) {
                    thread::park_timeout(PATIENCE / 2);
                }
            }
        });
        if spawned.is_err() {
            // The next close tries again.
            self.close_is_watched.store(false, Ordering::SeqCst);
        }
    }

    /// Ends the watch, once the report has been set.
    pub(super) fn end_close_watch(&self) {
        if let Some(thread) = lock(&self.close_watch).take() {
            thread.unpark();
        }
    }
}
