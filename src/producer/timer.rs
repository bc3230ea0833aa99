//! Time limits, kept by the timers of the producer's own runtime.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::{self, Sleep};

use crate::error::KafkaError;
use crate::sync::catch_panic;

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
}

/// The time limit has passed.
#[derive(Debug)]
pub(super) struct Elapsed;

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
        Ok(Self { sleep })
    }

    /// Awaits what a thread that asks the brokers resolves, and resolves late rather than never. So a
    /// runtime may have no timers, or a paused clock, which jumps ahead while a broker takes real
    /// time.
    pub(super) async fn limit_answer<F: Future>(
        runtime: &ProducerRuntime,
        limit: Duration,
        answer: F,
    ) -> Result<F::Output, Elapsed> {
        let began = Instant::now();
        let mut answer = pin!(answer);
        let limited = match Self::new(runtime, limit) {
            Ok(timer) => timer.limit(answer.as_mut()).await,
            Err(_) => Err(Elapsed),
        };
        match limited {
            Err(Elapsed) if began.elapsed() < limit => Ok(answer.await),
            limited => limited,
        }
    }

    /// Awaits a future for as long as there is time.
    pub(super) async fn limit<F: Future>(mut self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            // tokio panics once the runtime has shut down. The producer terminates then, which
            // resolves the future.
            match catch_panic(|| self.sleep.as_mut().poll(cx)) {
                Ok(Poll::Ready(())) => Poll::Ready(Err(Elapsed)),
                Ok(Poll::Pending) | Err(_) => Poll::Pending,
            }
        })
        .await
    }
}
