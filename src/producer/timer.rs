//! Time limits, kept by the timers of the producer's own runtime.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::{self, Sleep};

use crate::error::KafkaError;
use crate::sync::catch_panic;

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
    pub(super) fn new(runtime: &Handle, limit: Duration) -> Result<Self, KafkaError> {
        let _entered = runtime.enter();
        // tokio panics then, and has no way to ask.
        let sleep = catch_panic(|| Box::pin(time::sleep(limit))).map_err(|_| {
            KafkaError::runtime(
                "the tokio runtime of the producer has no timers: build it with enable_time, or \
                 use the call without a limit of time",
            )
        })?;
        Ok(Self { sleep })
    }

    /// Awaits the answer of a broker, which also keeps the limit, though not to the millisecond. So a
    /// runtime may have no timers, or a paused clock, which jumps ahead while a broker takes real
    /// time.
    pub(super) async fn limit_answer<T>(
        runtime: &Handle,
        limit: Duration,
        answer: impl Future<Output = Result<T, KafkaError>>,
    ) -> Result<T, KafkaError> {
        let began = Instant::now();
        let mut answer = pin!(answer);
        let limited = match Self::new(runtime, limit) {
            Ok(timer) => timer.limit(answer.as_mut()).await,
            Err(_) => Err(Elapsed),
        };
        match limited {
            Ok(answer) => answer,
            Err(Elapsed) if began.elapsed() < limit => answer.await,
            Err(Elapsed) => Err(KafkaError::no_answer()),
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
