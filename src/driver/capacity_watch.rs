//! Sees to it that permits which nobody uses, and waiters that do not look, do not stop others for
//! ever.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::blocking::{BlockingCall, UnderWay};
use super::shared::Shared;
use crate::client::ProducerContext;
use crate::sync::{lock, log};

/// How long the watch sleeps between two looks.
const SLICE: Duration = Duration::from_millis(20);

/// For how many slices, which are 1 s, capacity may be held unused, with nothing in flight and
/// nobody moving, while others wait for it. If the whole process is stopped for long, that is one
/// slice.
const PATIENCE: u32 = 50;

/// A look at the queue every now and then, until nobody waits.
#[derive(Debug)]
pub(super) struct CapacityWatch {
    /// The count of moves at the last look; `None` if something was in flight.
    moves: Option<u64>,
    /// For how many slices it has been the same.
    slices: u32,
    /// When the last slice ended.
    since: Instant,
}

impl CapacityWatch {
    fn new() -> Self {
        Self {
            moves: None,
            slices: 0,
            since: Instant::now(),
        }
    }

    /// [Relieves](super::capacity::Capacity::relieve) the queue if nobody has moved for long.
    /// Returns false if nobody waits; otherwise call it again after a slice. The time is real time:
    /// a runtime may have none, or a paused clock.
    fn look<C: ProducerContext>(&mut self, shared: &Shared<C>) -> bool {
        let Some(moves) = shared.capacity.moves_if_awaited() else {
            return false;
        };
        // A delivery will release capacity.
        let moves = (shared.core.in_flight() == 0).then_some(moves);
        let is_stuck = self.is_stuck(moves, Instant::now());
        let Some(moves) = moves.filter(|_| is_stuck) else {
            return true;
        };
        let (held, wakeups) = shared.capacity.relieve(moves);
        drop(wakeups);
        if let Some(held) = held {
            log(|| {
                tracing::warn!(
                    client = shared.core.client_name(),
                    held,
                    "permits that are not used hold the capacity of the queue while others wait: \
                     the queue is overbooked until they are used or dropped"
                );
            });
        }
        true
    }

    /// Returns true if the moves have been the same for long. The next time is as long after this.
    fn is_stuck(&mut self, moves: Option<u64>, now: Instant) -> bool {
        if moves.is_none() || self.moves != moves {
            (self.moves, self.slices, self.since) = (moves, 0, now);
        } else if now.duration_since(self.since) >= SLICE {
            (self.slices, self.since) = (self.slices + 1, now);
        }
        let is_stuck = self.slices >= PATIENCE;
        if is_stuck {
            self.slices = 0;
        }
        is_stuck
    }
}

impl<C: ProducerContext> Shared<C> {
    /// While somebody waits for capacity and nothing is in flight, has a thread look after it.
    ///
    /// If the system has no thread, it looks itself, in `watch`, and returns true: to be called
    /// again soon.
    pub(super) fn watch_capacity(self: &Arc<Self>, watch: &mut Option<CapacityWatch>) -> bool {
        if self.core.in_flight() > 0 || self.capacity.moves_if_awaited().is_none() {
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
        *lock(&self.capacity_watch) = Some(thread::current());
        let mut watch = CapacityWatch::new();
        while watch.look(self) {
            thread::park_timeout(SLICE);
        }
        // The driver looks again when this has ended.
        drop(call);
    }

    /// Has the watch look now: after a close nobody waits, and the watch need not delay its end.
    pub(super) fn end_capacity_watch(&self) {
        if let Some(thread) = &*lock(&self.capacity_watch) {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether each of several looks, one a slice, found the queue stuck.
    fn looks(watch: &mut CapacityWatch, now: &mut Instant, moves: Option<u64>, count: u32) -> bool {
        (0..count).any(|_| {
            *now += SLICE;
            watch.is_stuck(moves, *now)
        })
    }

    #[test]
    fn the_queue_is_stuck_after_a_second_without_a_move() {
        let (mut watch, mut now) = (CapacityWatch::new(), Instant::now());
        assert!(!looks(&mut watch, &mut now, Some(1), PATIENCE));
        assert!(looks(&mut watch, &mut now, Some(1), 1));
        // As long again.
        assert!(!looks(&mut watch, &mut now, Some(1), PATIENCE - 1));
        assert!(looks(&mut watch, &mut now, Some(1), 1));
        // A move, or something in flight.
        for moves in [Some(2), None] {
            assert!(!looks(&mut watch, &mut now, Some(1), PATIENCE - 1));
            assert!(!looks(&mut watch, &mut now, moves, 1));
        }
        assert!(!looks(&mut watch, &mut now, Some(1), PATIENCE));
    }

    #[test]
    fn the_time_of_a_process_that_stands_still_does_not_count() {
        let (mut watch, mut now) = (CapacityWatch::new(), Instant::now());
        assert!(!looks(&mut watch, &mut now, Some(1), 2));
        now += Duration::from_secs(3_600);
        assert!(!watch.is_stuck(Some(1), now));
        assert!(!looks(&mut watch, &mut now, Some(1), PATIENCE - 3));
        // Looks within one slice are one.
        assert!((0..100).all(|_| !watch.is_stuck(Some(1), now)));
    }
}
