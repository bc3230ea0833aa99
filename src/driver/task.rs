//! The driver: one tokio task that serves the queue, from a producer's begin to its end.

use std::sync::Arc;
use std::time::Duration;

use super::blocking;
use super::serve::Served;
use super::shared::Shared;
use super::token_refresh::TokenRefresh;
use crate::client::ProducerContext;

/// How many messages or other events the driver serves before it leaves the worker to others.
const MESSAGES_PER_POLL: usize = 2048;

/// The driver's task.
pub(crate) async fn drive<C: ProducerContext>(driver: Driver<C>) {
    let shared = &driver.shared;
    let mut token_refresh = TokenRefresh::default();
    loop {
        let mut served = 0;
        // Until the queue is empty, or at the end: logs and statistics may go on coming.
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
                tokio::task::yield_now().await;
            }
        };
        if has_terminated {
            break;
        }
        shared.end_without_overdue();
        shared.purge_after_fatal_error();
        shared.watch_capacity();
        shared.woken().await;
    }
    drop(token_refresh);
    driver.finish();
}

/// Sees to it that a producer comes to its end, also if the task is dropped before.
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
        if self.has_terminated {
            blocking::run(move || shared.destroy());
        } else {
            // The runtime has gone, or the task was aborted. Nobody is admitted from here on.
            shared.begin_report(None);
            blocking::run(move || shared.tear_down());
        }
    }
}
