//! Serving in the driver's place while its runtime does not run it.
//!
//! A task that blocks the last worker of a runtime until a record is delivered, a flush is done or
//! a producer is closed would wait for ever: the driver needs that worker. The one who waits serves
//! then: the future of a flush, a purge, a close, a transactional call or a metadata request, or the
//! caller of a `blocking_` method. The future of a delivery does not, because that would slow down
//! every message: `stall_watch` has a thread serve then.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use super::blocking;
use super::capacity_watch::CapacityWatch;
use super::serve::Served;
use super::shared::Shared;
use super::stall_watch::{self, Stalled};
use crate::client::ProducerContext;
use crate::sync::{Deadline, lock, log};

/// For how long the driver may be due without running, until others serve.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// How long to wait in the driver's place before looking at everything again.
pub(crate) const SLICE: Duration = Duration::from_millis(5);

/// Looks now and then whether the driver runs.
#[derive(Debug)]
pub(crate) struct StandIn {
    /// The driver's turns at the last look, if it was due.
    turns: Option<u64>,
    since: Instant,
    capacity_watch: Option<CapacityWatch>,
}

impl StandIn {
    pub(crate) fn new<C: ProducerContext>(shared: &Shared<C>) -> Self {
        Self {
            turns: shared.driver.due(),
            since: Instant::now(),
            capacity_watch: None,
        }
    }

    /// Serves in the driver's place if it has been due for [`PATIENCE`], waiting up to `wait` for an
    /// event. Returns true then: it should look again soon.
    pub(crate) fn look<C: ProducerContext>(
        &mut self,
        shared: &Arc<Shared<C>>,
        wait: Duration,
    ) -> bool {
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
        shared.stand_in(turns, wait, &mut self.capacity_watch);
        true
    }
}

/// Awaits what the driver resolves. Serves in its place, on the thread that awaits, if it does not
/// run.
///
/// A thread of the process wakes the task now and then, so that this works on an executor that
/// blocks the runtime's last thread. It is for calls that are rare.
pub(crate) async fn served<C: ProducerContext, F: Future>(
    shared: &Arc<Shared<C>>,
    future: F,
) -> F::Output {
    let mut future = pin!(future);
    let mut stand_in = StandIn::new(shared);
    let mut tick = pin!(Deadline::after(PATIENCE));
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            ready!(tick.as_mut().poll(cx));
            let is_stalled = stand_in.look(shared, Duration::ZERO);
            let next = if is_stalled { SLICE } else { PATIENCE };
            tick.set(Deadline::after(next));
        }
    })
    .await
}

impl<C: ProducerContext> Shared<C> {
    /// Serves what there is or comes within `wait`, for about [`SLICE`], and does what else the
    /// driver does in a turn.
    fn stand_in(
        self: &Arc<Self>,
        turns: u64,
        wait: Duration,
        capacity_watch: &mut Option<CapacityWatch>,
    ) {
        // Nothing is left to serve, and the end of the client needs what those who serve take out:
        // on a busy machine it would not get it from several who take turns.
        if self.is_ending.load(Ordering::SeqCst) {
            thread::sleep(wait);
            return;
        }
        let (began, mut timeout, mut has_served) = (Instant::now(), wait, false);
        loop {
            match self.serve(timeout) {
                Served::Some(_) => has_served = true,
                // A task of the runtime gets it: the driver starts one when it runs again.
                Served::TokenRefresh(config) => *lock(&self.token_wanted) = Some(config),
                Served::Nothing => break,
            }
            // Others may go on producing: the caller looks whether its own wait is over.
            if began.elapsed() >= wait + SLICE {
                break;
            }
            timeout = Duration::ZERO;
        }
        *lock(&self.stood_in) = Some((turns, Instant::now()));
        self.end_without_overdue();
        let terminates = self.has_terminated() && !self.is_ending.swap(true, Ordering::SeqCst);
        if terminates {
            let shared = Arc::clone(self);
            blocking::run(self.core.client_name(), move || shared.destroy());
        } else {
            // If the system has no thread for one of them, the next slice tries again.
            self.keep_flushing();
            self.watch_capacity(capacity_watch);
        }
        if (has_served || terminates) && self.driver.stalls(turns) {
            log(|| {
                tracing::warn!(
                    client = self.core.client_name(),
                    "the tokio runtime of a producer does not run its task, because its threads are \
                     blocked or nobody runs it; another thread serves the producer: do not block \
                     the runtime"
                );
            });
        }
        if !has_served {
            // Another thread may be serving.
            thread::sleep(wait.saturating_sub(began.elapsed()));
        }
        // It may have looked while this thread served, and have found nothing.
        self.driver.wake();
    }

    /// Returns true if this thread is serving the producer, and so runs foreign code: a callback, or
    /// the drop or waker of somebody. Nobody else serves until that code returns.
    pub(crate) fn is_served_here(&self) -> bool {
        self.serving.is_taken_here()
    }

    /// Returns true if the driver should run and does not, and nobody has served in its place of
    /// late.
    pub(crate) fn is_unserved(&self) -> bool {
        let Some(turns) = self.driver.due() else {
            return false;
        };
        let stood_in = *lock(&self.stood_in);
        !stood_in.is_some_and(|(at, when)| at == turns && when.elapsed() < stall_watch::PATIENCE)
    }
}

impl<C: ProducerContext> Stalled for Shared<C> {
    fn serve_while_stalled(self: Arc<Self>, turns: u64) {
        let (mut since, mut capacity_watch) = (Instant::now(), None);
        while self.driver.due() == Some(turns) && since.elapsed() < stall_watch::PATIENCE {
            // In a forked child, the producer is its parent's.
            if self.core.is_forked() || self.destroyed.is_completed() {
                break;
            }
            self.stand_in(turns, stall_watch::WAIT, &mut capacity_watch);
            if self.has_work() {
                since = Instant::now();
            }
        }
    }

    /// Messages are in flight, somebody waits for capacity, or the producer is closing.
    fn has_work(&self) -> bool {
        !self.core.is_forked()
            && self.report.get().is_none()
            && (self.core.in_flight() > 0
                || self.core.is_closed()
                || self.capacity.moves_if_awaited().is_some())
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;
    use crate::client::ClientConfig;
    use crate::producer::Producer;

    #[test]
    fn nobody_serves_a_client_that_is_being_destroyed() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1");
        let producer = Producer::builder(&config).runtime(runtime.handle().clone());
        let producer = producer.create().unwrap();
        let shared = producer.shared();
        let serves = || {
            shared.stand_in(0, Duration::ZERO, &mut None);
            lock(&shared.stood_in).take().is_some()
        };
        assert!(serves());
        shared.is_ending.store(true, Ordering::SeqCst);
        assert!(!serves());
    }
}
