//! Time limits, kept by the timers of the producer's own runtime, and by a thread while that is
//! blocked.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::coop::unconstrained;
use tokio::time::{self, Sleep};

use crate::client::ProducerContext;
use crate::driver::Shared;
use crate::error::KafkaError;
use crate::sync::{Deadline, catch_panic};

/// How late a timer of the runtime may be until the thread ends the wait.
const GRACE: Duration = Duration::from_millis(50);

/// The runtime of a producer.
#[derive(Debug)]
pub(super) struct ProducerRuntime {
    pub(super) handle: Handle,
    /// tokio panics then, and has no way to ask. One panic, which the panic hook sees, is enough.
    lacks_timers: AtomicBool,
}

impl ProducerRuntime {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            lacks_timers: AtomicBool::new(false),
        }
    }

    fn sleep(&self, limit: Duration) -> Option<Pin<Box<Sleep>>> {
        if self.lacks_timers.load(Ordering::Relaxed) {
            return None;
        }
        let _entered = self.handle.enter();
        let sleep = catch_panic(|| Box::pin(time::sleep(limit)));
        if sleep.is_err() {
            self.lacks_timers.store(true, Ordering::Relaxed);
        }
        sleep.ok()
    }
}

impl Clone for ProducerRuntime {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            lacks_timers: AtomicBool::new(self.lacks_timers.load(Ordering::Relaxed)),
        }
    }
}

/// A time limit. It works wherever it is awaited, also on an executor without timers.
#[derive(Debug)]
pub(super) struct Timer {
    // Boxed, because it is large and few calls need one.
    sleep: Pin<Box<Sleep>>,
    deadline: Deadline,
}

/// The time limit has passed.
#[derive(Debug)]
pub(super) struct Elapsed {
    /// The timer of the runtime had not fired by then.
    is_late: bool,
}

impl Elapsed {
    /// Returns the error, with the reason if there was no answer because the runtime is blocked. It
    /// is not if somebody served the producer nevertheless.
    pub(super) fn explain<C: ProducerContext>(
        &self,
        shared: &Shared<C>,
        error: KafkaError,
    ) -> KafkaError {
        if self.is_late && shared.is_unserved() {
            error.because_runtime_is_blocked()
        } else {
            error
        }
    }
}

impl Timer {
    /// # Errors
    ///
    /// If the runtime has no time driver.
    pub(super) fn new(runtime: &ProducerRuntime, limit: Duration) -> Result<Self, KafkaError> {
        let sleep = runtime.sleep(limit).ok_or_else(|| {
            KafkaError::runtime(
                "the tokio runtime of the producer has no timers: build it with enable_time, or \
                 use the call without a limit of time",
            )
        })?;
        Ok(Self {
            sleep,
            deadline: deadline_after(limit),
        })
    }

    /// Awaits an answer of the brokers for `limit` of real time. So a runtime may have no timers, or
    /// a paused clock, which jumps ahead while a broker takes real time.
    pub(super) async fn limit_answer<F: Future>(
        runtime: &ProducerRuntime,
        limit: Duration,
        answer: F,
    ) -> Result<F::Output, Elapsed> {
        let began = Instant::now();
        let mut deadline = pin!(deadline_after(limit));
        let mut sleep = runtime.sleep(limit);
        let mut answer = pin!(answer);
        poll_fn(|cx| {
            if let Poll::Ready(output) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if sleep.as_mut().is_some_and(|it| has_fired(it.as_mut(), cx)) {
                if began.elapsed() >= limit {
                    return Poll::Ready(Err(Elapsed { is_late: false }));
                }
                sleep = None;
            }
            let late = deadline.as_mut().poll(cx);
            late.map(|()| Err(Elapsed { is_late: true }))
        })
        .await
    }

    /// Awaits a future for as long as there is time.
    pub(super) async fn limit<F: Future>(mut self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if has_fired(self.sleep.as_mut(), cx) {
                return Poll::Ready(Err(Elapsed { is_late: false }));
            }
            let late = Pin::new(&mut self.deadline).poll(cx);
            late.map(|()| Err(Elapsed { is_late: true }))
        })
        .await
    }
}

fn deadline_after(limit: Duration) -> Deadline {
    Deadline::after(limit.saturating_add(GRACE))
}

/// Returns false if the timer cannot fire any more.
fn has_fired(sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> bool {
    // The budget of a task that a foreign executor blocks is never renewed. tokio panics once the
    // runtime has shut down. The producer terminates then, which resolves the future.
    let fired = catch_panic(|| pin!(unconstrained(sleep)).poll(cx));
    matches!(fired, Ok(Poll::Ready(())))
}
