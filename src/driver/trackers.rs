//! The trackers of flushes, purges and a close, and the outcomes of their messages.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{AddAssign, RangeInclusive, Sub};
use std::time::Instant;

use tokio::sync::oneshot;

use super::report::{CloseReport, FlushReport};
use crate::client::Counts;
use crate::error::{RDKafkaErrorCode, is_purge};
use crate::message::SendError;
use crate::sync::catch_panic;
use crate::values::PurgeConfig;

/// The outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    Failed,
    /// Failed because it was purged, by a purge or a close.
    Purged,
    /// It never entered librdkafka's queue.
    Refused,
}

impl Outcome {
    /// Returns the outcome of a message that failed. After a fatal error librdkafka itself purges.
    pub(crate) fn of_failure(code: RDKafkaErrorCode, is_after_fatal: bool) -> Self {
        if is_purge(code) && !is_after_fatal {
            Outcome::Purged
        } else {
            Outcome::Failed
        }
    }
}

/// Counts of outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    failed: u64,
    pub(crate) purged: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => self.delivered += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Purged => self.purged += 1,
            Outcome::Refused => {}
        }
    }

    pub(crate) fn flush_report(self) -> FlushReport {
        FlushReport {
            delivered: self.delivered,
            failed: self.failed + self.purged,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.purged += other.purged;
    }
}

impl Sub for Tally {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            delivered: self.delivered - other.delivered,
            failed: self.failed - other.failed,
            purged: self.purged - other.purged,
        }
    }
}

/// Trackers that are complete, to be resolved once the lock is free.
#[must_use = "somebody waits for these"]
#[derive(Debug, Default)]
pub(crate) struct Completions(Vec<(oneshot::Sender<Tally>, Tally)>);

impl Completions {
    fn push(&mut self, tracker: Tracker, total: Tally) {
        self.0.push((tracker.done, total - tracker.before));
    }

    /// Resolves all of them. Keeps the allocation.
    pub(crate) fn resolve_all(&mut self) {
        for (done, tally) in self.0.drain(..) {
            // It calls a waker.
            let _ = catch_panic(|| done.send(tally));
        }
    }
}

impl Drop for Completions {
    fn drop(&mut self) {
        self.resolve_all();
    }
}

/// The trackers of flushes and purges, and the close in progress. Completions are accounted for
/// and trackers begin under one lock, so that the counts are exact.
///
/// Flushes divide the messages in flight into ranges. A range ends at the number of the next
/// message when a flush was called. A completed message counts in its range alone, so the work is
/// linear in messages plus flushes. A flush is complete when its range is, and all before it.
#[derive(Debug, Default)]
pub(crate) struct Trackers {
    next_id: u64,
    /// In the order of their numbers.
    ranges: VecDeque<Range>,
    /// Flushes, by the end of their range.
    flushes: BTreeMap<(u64, u64), Tracker>,
    /// What the purges cover that have been asked for and have not been called, also those that
    /// nobody waits for any more, and the first one's id.
    asked: Option<(PurgeConfig, u64)>,
    /// Those who wait for purges that have not been called, by their id.
    uncalled: BTreeMap<u64, Tracker>,
    /// Those who wait for purges that have been called, by their id.
    purges: BTreeMap<u64, CalledPurge>,
    /// The largest of all `last_event`.
    last_event: u64,
    /// How many [ordered](crate::ffi::Event::is_ordered) events have been served to their end.
    events_served: u64,
    /// All that were completed so far.
    total: Tally,
    /// Those of them that are in no range, or in one that is complete.
    outside: Tally,
    close: Option<Closing>,
    /// The failures that nobody has awaited, apart from those that the report of the close counts
    /// as in flight.
    unawaited: u64,
    /// What has become of all messages so far.
    pub(super) counts: Counts,
    /// The producer has terminated: nothing is left to track.
    is_terminated: bool,
}

/// Messages between two flushes.
#[derive(Debug)]
struct Range {
    /// The number of the first message behind it.
    end: u64,
    /// The number of its messages in flight.
    remaining: u64,
    /// Those that were completed, and all in the ranges before it that have been complete.
    tally: Tally,
}

/// Somebody who waits.
#[derive(Debug)]
struct Tracker {
    /// What had been completed when it began, which it does not count.
    before: Tally,
    done: oneshot::Sender<Tally>,
}

/// A purge that has been called: its reports are in the queue, or have been served.
#[derive(Debug)]
struct CalledPurge {
    number: u64,
    /// Its reports have been served once so many events have been.
    last_event: u64,
    tracker: Tracker,
}

/// Which flush or purge to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrackerKey {
    Flush {
        end: u64,
        id: u64,
    },
    Purge {
        id: u64,
    },
    /// It was complete at once.
    None,
}

/// A tracker that has begun, and what it resolves with.
pub(crate) type NewTracker = (TrackerKey, oneshot::Receiver<Tally>);

/// What is known of a close so far.
#[derive(Debug, Default)]
struct Closing {
    /// When what is left is purged.
    deadline: Option<Instant>,
    /// What had been completed before.
    before: Tally,
    /// Records that nobody else would get.
    records: Vec<SendError>,
}

impl Trackers {
    /// Tracks all messages issued so far until they are completed.
    pub(crate) fn track_flush(&mut self, issued: u64, settled: u64) -> NewTracker {
        let in_flight = issued - settled;
        if in_flight == 0 {
            return Self::nothing_to_track();
        }
        if self.ranges.back().is_none_or(|last| last.end < issued) {
            let tracked: u64 = self.ranges.iter().map(|range| range.remaining).sum();
            self.ranges.push_back(Range {
                end: issued,
                remaining: in_flight - tracked,
                tally: std::mem::take(&mut self.outside),
            });
        }
        let (tracker, receiver) = self.tracker();
        let id = self.new_id();
        self.flushes.insert((issued, id), tracker);
        (TrackerKey::Flush { end: issued, id }, receiver)
    }

    /// Asks for a purge, and tracks what it purges. [`take_asked`](Self::take_asked) tells whom to
    /// call.
    pub(crate) fn track_purge(&mut self, config: PurgeConfig) -> NewTracker {
        if self.is_terminated {
            return Self::nothing_to_track();
        }
        let (tracker, receiver) = self.tracker();
        let id = self.new_id();
        self.asked = Some(match self.asked {
            Some((asked, first)) => (asked.and(config), first),
            None => (config, id),
        });
        self.uncalled.insert(id, tracker);
        (TrackerKey::Purge { id }, receiver)
    }

    fn nothing_to_track() -> NewTracker {
        let (done, receiver) = oneshot::channel();
        let _ = done.send(Tally::default());
        (TrackerKey::None, receiver)
    }

    fn tracker(&self) -> (Tracker, oneshot::Receiver<Tally>) {
        let (done, receiver) = oneshot::channel();
        let before = self.total;
        (Tracker { before, done }, receiver)
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Whether a purge was asked for.
    pub(crate) fn has_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Takes the purges that were asked for, to be called as one: what they cover together, and
    /// their ids.
    pub(crate) fn take_asked(&mut self) -> Option<(PurgeConfig, RangeInclusive<u64>)> {
        let (config, first) = self.asked.take()?;
        Some((config, first..=self.next_id))
    }

    /// The purges with these ids have been called, as the purge of that number. After that, before
    /// this call, the queue had `queued` events: their reports are among these, or in the event
    /// that is being served.
    ///
    /// Two threads may call purges at once, if the system had no thread for the first.
    pub(crate) fn purge_called(&mut self, ids: RangeInclusive<u64>, number: u64, queued: u64) {
        // What was served since the queue was counted makes this more, never less. So does the
        // maximum, which keeps the purges in order.
        self.last_event = self.last_event.max(self.events_served + 1 + queued);
        let last_event = self.last_event;
        let mut called = self.uncalled.split_off(ids.start());
        self.uncalled
            .append(&mut called.split_off(&(ids.end() + 1)));
        for (id, tracker) in called {
            self.purges.insert(
                id,
                CalledPurge {
                    number,
                    last_event,
                    tracker,
                },
            );
        }
    }

    /// An [ordered](crate::ffi::Event::is_ordered) event has been served to its end.
    pub(crate) fn event_served(&mut self, completions: &mut Completions) {
        self.events_served += 1;
        if !self.purges.is_empty() {
            let served = self.events_served;
            self.complete_purges(|purge| purge.last_event <= served, completions);
        }
    }

    #[cold]
    fn complete_purges(
        &mut self,
        is_complete: impl Fn(&CalledPurge) -> bool,
        completions: &mut Completions,
    ) {
        while let Some(entry) = self.purges.first_entry() {
            if !is_complete(entry.get()) {
                break;
            }
            completions.push(entry.remove().tracker, self.total);
        }
    }

    /// Stops tracking; how many messages of a flush were still in flight.
    pub(crate) fn cancel(&mut self, key: TrackerKey) -> Option<u64> {
        match key {
            TrackerKey::Flush { end, id } => {
                self.flushes.remove(&(end, id))?;
                let remaining = self.remaining_before(end);
                self.merge_range(end);
                Some(remaining)
            }
            TrackerKey::Purge { id } => {
                // One that was asked for is called all the same.
                self.uncalled.remove(&id);
                self.purges.remove(&id);
                None
            }
            TrackerKey::None => None,
        }
    }

    fn remaining_before(&self, end: u64) -> u64 {
        let ranges = self.ranges.iter().take_while(|range| range.end <= end);
        ranges.map(|range| range.remaining).sum()
    }

    /// Merges a range that nobody waits for into the next one.
    fn merge_range(&mut self, end: u64) {
        if self
            .flushes
            .range((end, 0)..=(end, u64::MAX))
            .next()
            .is_some()
        {
            return;
        }
        let Ok(index) = self.ranges.binary_search_by_key(&end, |range| range.end) else {
            return;
        };
        let Some(range) = self.ranges.remove(index) else {
            return;
        };
        match self.ranges.get_mut(index) {
            Some(next) => {
                next.remaining += range.remaining;
                next.tally += range.tally;
            }
            None => self.outside += range.tally,
        }
    }

    /// Returns true if anybody waits for a flush.
    pub(crate) fn has_flushes(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// Accounts for messages that were completed, by their numbers; `tally` counts them.
    pub(crate) fn account(
        &mut self,
        tally: Tally,
        completed: impl Iterator<Item = (u64, Outcome)>,
        completions: &mut Completions,
    ) {
        self.total += tally;
        if self.ranges.is_empty() {
            self.outside += tally;
            return;
        }
        for (number, outcome) in completed {
            let index = self.ranges.partition_point(|range| range.end <= number);
            match self.ranges.get_mut(index) {
                Some(range) => {
                    range.remaining -= 1;
                    range.tally.count(outcome);
                }
                None => self.outside.count(outcome),
            }
        }
        while self
            .ranges
            .front()
            .is_some_and(|range| range.remaining == 0)
        {
            self.complete_first_range(completions);
        }
    }

    #[cold]
    fn complete_first_range(&mut self, completions: &mut Completions) {
        let Some(Range { end, tally, .. }) = self.ranges.pop_front() else {
            return;
        };
        match self.ranges.front_mut() {
            Some(next) => next.tally += tally,
            None => self.outside += tally,
        }
        let behind = self.flushes.split_off(&(end + 1, 0));
        let complete = std::mem::replace(&mut self.flushes, behind);
        for tracker in complete.into_values() {
            completions.push(tracker, tally);
        }
    }

    /// The queue was found empty when so many purges had been called.
    pub(crate) fn queue_was_empty(&mut self, purges_called: u64, completions: &mut Completions) {
        if !self.purges.is_empty() {
            self.complete_purges(|purge| purge.number <= purges_called, completions);
        }
    }

    /// Begins to count for the report of the close, or moves its deadline forward.
    pub(crate) fn begin_close(&mut self, deadline: Option<Instant>) {
        let before = self.total;
        let close = self.close.get_or_insert_with(|| Closing {
            before,
            ..Closing::default()
        });
        close.deadline = [close.deadline, deadline].into_iter().flatten().min();
    }

    /// Returns true if a close is in progress.
    pub(crate) fn is_closing(&self) -> bool {
        self.close.is_some()
    }

    /// Returns when the close purges what is left.
    pub(crate) fn close_deadline(&self) -> Option<Instant> {
        self.close.as_ref()?.deadline
    }

    /// Keeps a record that nobody else would get for the report of the close.
    pub(crate) fn keep_record(&mut self, record: SendError) {
        if let Some(close) = &mut self.close {
            close.records.push(record);
        }
    }

    /// Failures without a future that were accounted for just now came before a close, if one has
    /// begun since: its report has none of their records. `is_unawaited` is false if the commit of
    /// a transaction reports them.
    pub(crate) fn fell_before_close(&mut self, failures: Tally, is_unawaited: bool) {
        if is_unawaited {
            self.unawaited += failures.failed;
        }
        if let Some(close) = &mut self.close {
            close.before += failures;
        }
    }

    /// A future was dropped with this failure. Returns it, unless the report of the close keeps it.
    #[must_use = "its record may be foreign, and must not be dropped under the lock"]
    pub(crate) fn unseen(&mut self, failure: SendError) -> Option<SendError> {
        let is_purged = failure.error().code().is_some_and(is_purge) && !failure.is_fatal();
        if !failure.is_in_close_report() && !is_purged {
            self.unawaited += 1;
        }
        match &mut self.close {
            Some(close) => {
                close.records.push(failure);
                None
            }
            None => Some(failure),
        }
    }

    /// Resolves all trackers and returns the report of the close. Nothing may be in flight, and
    /// nobody may serve the queue any more.
    pub(crate) fn terminate(&mut self, completions: &mut Completions) -> CloseReport {
        self.is_terminated = true;
        let flushes = std::mem::take(&mut self.flushes).into_values();
        let uncalled = std::mem::take(&mut self.uncalled).into_values();
        let purges = std::mem::take(&mut self.purges).into_values();
        let purges = purges.map(|purge| purge.tracker);
        for tracker in flushes.chain(uncalled).chain(purges) {
            completions.push(tracker, self.total);
        }
        let Closing {
            before, records, ..
        } = self.close.take().unwrap_or_else(|| Closing {
            before: self.total,
            ..Closing::default()
        });
        let Tally {
            delivered,
            failed,
            purged,
        } = self.total - before;
        CloseReport::new(delivered, purged, failed, self.unawaited, records)
    }
}

#[cfg(test)]
mod tests;
