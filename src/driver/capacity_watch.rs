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

/// A look at the queue every now and then, until nobody needs it.
#[derive(Debug)]
pub(super) struct CapacityWatch {
    /// The count of moves at the last look, and since when it has been the same.
    moves: Option<u64>,
    since: Instant,
}

impl CapacityWatch {
    fn new() -> Self {
        Self {
            moves: None,
            since: Instant::now(),
        }
    }

    /// [Relieves](super::capacity::Capacity::relieve) the queue if nobody has moved for long. Returns
    /// when to look again, or `None` if nobody waits in vain. The time is real time: a runtime may have
    /// none, or a paused clock.
    fn look<C: ProducerContext>(&mut self, shared: &Shared<C>) -> Option<Duration> {
        let moves = shared.moves_in_vain()?;
        if self.moves != Some(moves) {
            (self.moves, self.since) = (Some(moves), Instant::now());
        }
        let left = PATIENCE.saturating_sub(self.since.elapsed());
        if !left.is_zero() {
            return Some(left.min(SLICE));
        }
        let (held, wakeups) = shared.capacity.relieve(moves);
        drop(wakeups);
        if let Some(held) = held {
            log(|| {
                tracing::warn!(
                    held,
                    "permits that are not used hold the capacity of the queue while others wait: \
                     the queue is overbooked until they are used or dropped"
                );
            });
        }
        Some(Duration::ZERO)
    }
}

impl<C: ProducerContext> Shared<C> {
    /// While somebody waits for capacity that no delivery will release, has a thread look after it.
    ///
    /// If the system has no thread, it looks itself, in `watch`, and returns true: to be called again
    /// soon.
    pub(super) fn watch_capacity(self: &Arc<Self>, watch: &mut Option<CapacityWatch>) -> bool {
        if self.moves_in_vain().is_none() {
            *watch = None;
            return false;
        }
        let Ok(call) = self.calls.begin(BlockingCall::CapacityWatch) else {
            return false;
        };
        let shared = Arc::clone(self);
        let lacks_thread = call.spawn(move |call| shared.keep_looking(call)).is_err();
        if lacks_thread {
            watch.get_or_insert_with(CapacityWatch::new).look(self);
        } else {
            *watch = None;
        }
        lacks_thread
    }

    fn keep_looking(&self, call: UnderWay) {
        let mut watch = CapacityWatch::new();
        while let Some(pause) = watch.look(self) {
            thread::sleep(pause);
        }
        // The driver looks again when this has ended.
        drop(call);
    }

    /// If somebody waits for capacity that no delivery will release: the count of moves.
    fn moves_in_vain(&self) -> Option<u64> {
        if self.core.in_flight() > 0 {
            return None;
        }
        self.capacity.moves_to_relieve()
    }
}
