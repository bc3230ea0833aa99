//! The driver: one tokio task that serves the queue until the producer has terminated.

use std::future::{Future, poll_fn};
use std::mem;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::{task, time};

use super::blocking;
use super::driver_waker::DriverWaker;
use super::serve::Served;
use super::shared::Shared;
use super::token_refresh::TokenRefresh;
use crate::client::ProducerContext;
use crate::sync::{catch_panic, lock, log};

/// The number of messages or other events after which the driver yields to other tasks.
const MESSAGES_PER_POLL: usize = 2048;

/// How long to wait before asking the system for a thread again.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the driver.
pub(crate) async fn drive<C: ProducerContext>(driver: Driver<C>) {
    let shared = &driver.shared;
    let mut token_refresh = TokenRefresh::default();
    let mut capacity_watch = None;
    let mut pause = Pause::default();
    let mut repeats = Repeats::default();
    loop {
        shared.driver.begin_turn();
        let wanted = lock(&shared.token_wanted).take();
        if let Some(config) = wanted {
            token_refresh.start(shared, config);
        }
        let mut served = 0;
        // Until the queue is empty, or terminated: log lines and statistics may keep arriving.
        let has_terminated = loop {
            match shared.serve(Duration::ZERO) {
                Served::Some(count) => served += count,
                Served::TokenRefresh(config) => token_refresh.start(shared, config),
                Served::Nothing => break shared.has_terminated(),
            }
            if served >= MESSAGES_PER_POLL {
                if shared.has_terminated() {
                    break true;
                }
                served = 0;
                yield_turn(&shared.driver).await;
            }
        };
        if has_terminated {
            break;
        }
        shared.end_without_overdue();
        // Both try for a thread of their own.
        let watches = shared.watch_capacity(&mut capacity_watch);
        if shared.keep_flushing() || watches {
            shared.driver.end_turn();
            pause.wait(shared.core.client_name()).await;
        } else {
            repeats.wait(shared).await;
        }
    }
    drop(token_refresh);
    shared.core.log.log_all();
    driver.finish();
}

/// Lets other tasks run.
async fn yield_turn(driver: &DriverWaker) {
    driver.pause_turn();
    if driver.has_other_workers() {
        // `yield_now` would leave the task to this worker until the worker has nothing else to do.
        // The next task may block it until a record is delivered. Other workers can take over a
        // task that has woken itself.
        let mut has_yielded = false;
        poll_fn(|cx| {
            if mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    } else {
        task::yield_now().await;
    }
    driver.begin_turn();
}

/// Waits a moment, for a system that has no thread now.
#[derive(Debug, Default)]
struct Pause {
    has_warned: bool,
    lacks_timers: bool,
}

impl Pause {
    async fn wait(&mut self, client: Option<&str>) {
        if !mem::replace(&mut self.has_warned, true) {
            log(|| {
                tracing::warn!(
                    client,
                    "the system has no thread for a blocking call; trying again"
                );
            });
        }
        if !self.lacks_timers {
            // It panics on a runtime without timers.
            match catch_panic(|| time::sleep(PAUSE)) {
                Ok(sleep) => return sleep.await,
                Err(_) => self.lacks_timers = true,
            }
        }
        thread::sleep(Duration::from_millis(1));
        task::yield_now().await;
    }
}

/// Waits for something to do, and logs the lines that were thinned out once they are due. Without
/// such lines it sets no timer.
#[derive(Debug, Default)]
struct Repeats {
    lacks_timers: bool,
}

impl Repeats {
    async fn wait<C: ProducerContext>(&mut self, shared: &Shared<C>) {
        // First, so that the first of a kind is never late.
        shared.core.log.log_due();
        let due = shared.core.log.next_due().filter(|_| !self.lacks_timers);
        let Some(due) = due else {
            return shared.driver.woken().await;
        };
        // It panics on a runtime without timers, or if the runtime has shut down. The lines are
        // logged with others, then.
        let mut woken = match catch_panic(|| Box::pin(time::timeout(due, shared.driver.woken()))) {
            Ok(woken) => woken,
            Err(_) => {
                self.lacks_timers = true;
                return shared.driver.woken().await;
            }
        };
        let polled = poll_fn(|cx| match catch_panic(|| woken.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        });
        match polled.await {
            Ok(Ok(())) => {}
            // A paused clock has jumped ahead if none is due.
            Ok(Err(_elapsed)) if !shared.core.log.log_due() => shared.core.log.log_all(),
            Ok(Err(_elapsed)) => {}
            Err(_panic) => self.lacks_timers = true,
        }
    }
}

/// Destroys the client when it is dropped, also if the task is dropped before it has completed.
#[derive(Debug)]
pub(crate) struct Driver<C: ProducerContext> {
    shared: Arc<Shared<C>>,
    has_terminated: bool,
}

impl<C: ProducerContext> Driver<C> {
    pub(crate) fn new(shared: Arc<Shared<C>>) -> Self {
        Self {
            shared,
            has_terminated: false,
        }
    }

    fn finish(mut self) {
        self.has_terminated = true;
    }
}

impl<C: ProducerContext> Drop for Driver<C> {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        let client = self.shared.core.client_name();
        if shared.core.is_forked() {
            // The producer is its parent's, whose threads this process does not have.
        } else if self.has_terminated {
            shared.driver.is_replaced();
            blocking::run(client, move || shared.destroy());
        } else {
            // The runtime has ended, or the task was aborted. Nobody is admitted from here on.
            shared.driver.is_replaced();
            shared.core.runtime_ended();
            shared.begin_report(None);
            let in_flight = shared.core.in_flight();
            if in_flight > 0 {
                log(|| {
                    tracing::warn!(
                        client,
                        in_flight,
                        "the runtime of a producer has ended with messages in flight, which are \
                         purged: call close().await before"
                    );
                });
            }
            blocking::run(client, move || shared.tear_down());
        }
    }
}
