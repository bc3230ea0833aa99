//! Relieves the queue if unused permits, or admitted waiters that nobody polls, stop all others.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::blocking::{BlockingCall, UnderWay};
use super::shared::Shared;
use crate::client::ProducerContext;
use crate::sync::log;

/// How long unused capacity may be held while others wait, nothing is in flight and nobody acquires
/// or releases.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest time until the watch notices that it is not needed any more.
const SLICE: Duration = Duration::from_millis(20);

impl<C: ProducerContext> Shared<C> {
    /// Starts a thread if waiters need capacity that no delivery will release.
    ///
    /// It [relieves](super::capacity::Capacity::relieve) the queue once nobody has acquired or
    /// released capacity for 1 s. This is real time: a runtime may have no timers, or a paused
    /// clock.
    pub(super) fn watch_capacity(self: &Arc<Self>) {
        if self.core.in_flight() > 0 || self.capacity.moves_to_relieve().is_none() {
            return;
        }
        let Ok(call) = self.calls.begin(BlockingCall::CapacityWatch) else {
            return;
        };
        let shared = Arc::clone(self);
        if let Err(error) = call.spawn(move |call| shared.wait_and_relieve(call)) {
            log(|| tracing::warn!(%error, "no thread to watch over unused permits"));
        }
    }

    fn wait_and_relieve(&self, call: UnderWay) {
        let (mut since, mut before) = (Instant::now(), None);
        while let Some(moves) = self.capacity.moves_to_relieve() {
            if self.core.in_flight() > 0 {
                break;
            }
            if before != Some(moves) {
                (since, before) = (Instant::now(), Some(moves));
            }
            let left = PATIENCE.saturating_sub(since.elapsed());
            if !left.is_zero() {
                thread::sleep(left.min(SLICE));
                continue;
            }
            let (held, wakeups) = self.capacity.relieve(moves);
            drop(wakeups);
            if let Some(held) = held {
                log(|| {
                    tracing::warn!(
                        held,
                        "permits that are not used hold the capacity of the queue while others \
                         wait: the queue is overbooked until they are used or dropped"
                    );
                });
            }
        }
        // This wakes the driver, which checks again whether a watch is needed.
        drop(call);
    }
}
