//! Sees to it that permits which nobody uses, and waiters that do not look, do not stop others for
//! ever.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::blocking::{BlockingCall, UnderWay};
use super::shared::Shared;
use crate::client::ProducerContext;
use crate::sync::log;

/// How long capacity may be held unused, with nothing in flight and nobody moving, while others
/// wait for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How late the watch notices that it is not needed any more.
const SLICE: Duration = Duration::from_millis(20);

impl<C: ProducerContext> Shared<C> {
    /// While somebody waits for capacity that no delivery will release, has a thread
    /// [relieve](super::capacity::Capacity::relieve) the queue once nobody has moved for a second. The time is real time: a runtime may have none, or
    /// a paused clock.
    pub(super) fn watch_capacity(self: &Arc<Self>) {
        if self.core.in_flight() > 0 || self.capacity.moves_to_relieve().is_none() {
            return;
        }
        let Ok(call) = self.calls.begin(BlockingCall::CapacityWatch) else {
            return;
        };
        let shared = Arc::clone(self);
        if let Err(error) = call.spawn(move |call| shared.wait_and_relieve(call)) {
            log(|| tracing::warn!(%error, "no thread to watch over unused permits with"));
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
        // The driver looks again when this has ended.
        drop(call);
    }
}
