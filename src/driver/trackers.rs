//! Who waits for the end of which messages, and what became of them.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::error::{SendError, is_purge};
use crate::error_code::RDKafkaErrorCode;
use crate::report::{CloseReport, FlushReport};

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Delivered,
    Failed,
    /// Failed because it was purged, by whoever closes or purges.
    Purged,
    /// It never entered librdkafka's queue.
    Refused,
}

impl Ending {
    /// After a fatal error it is librdkafka that purges.
    pub(crate) fn of_failure(code: RDKafkaErrorCode, is_after_fatal: bool) -> Self {
        if is_purge(code) && !is_after_fatal {
            Ending::Purged
        } else {
            Ending::Failed
        }
    }
}

/// Counts of endings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    delivered: u64,
    failed: u64,
    pub(crate) purged: u64,
}

impl Tally {
    fn add(&mut self, ending: Ending) {
        match ending {
            Ending::Delivered => self.delivered += 1,
            Ending::Failed => self.failed += 1,
            Ending::Purged => self.purged += 1,
            Ending::Refused => {}
        }
    }

    pub(crate) fn flush_report(self) -> FlushReport {
        FlushReport {
            delivered: self.delivered,
            failed: self.failed + self.purged,
        }
    }
}

/// A watch that has come to its end, to be told outside the lock.
pub(crate) type Finished = (oneshot::Sender<Tally>, Tally);

/// The watches of flushes and purges, and the close in progress. Whoever accounts for endings, or
/// begins to watch, does so under one lock, so that the counts are exact.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    next_id: u64,
    active: Vec<Watch>,
    pub(crate) closing: Option<Closing>,
    /// Whether a thread is in librdkafka's flush.
    pub(crate) flusher_runs: bool,
    /// Nothing is left that could be watched.
    is_over: bool,
}

#[derive(Debug)]
struct Watch {
    id: u64,
    kind: Kind,
    /// It covers the messages with numbers below.
    mark: u64,
    tally: Tally,
    done: oneshot::Sender<Tally>,
}

#[derive(Debug)]
enum Kind {
    /// Until so many more have ended.
    Flush { remaining: u64 },
    /// Until the queue has been found empty after the purge was made: the so-maniest.
    Purge { made: Option<u64> },
}

/// What is known of a close so far.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// When what is left is purged.
    pub(crate) deadline: Option<Instant>,
    tally: Tally,
    /// Records that nobody else would get.
    pub(crate) records: Vec<SendError>,
}

impl Watches {
    /// Watches all messages issued so far until they have ended.
    pub(crate) fn watch_flush(
        &mut self,
        issued: u64,
        settled: u64,
    ) -> (u64, oneshot::Receiver<Tally>) {
        let remaining = issued - settled;
        if remaining == 0 {
            return self.nothing_to_watch();
        }
        self.watch(Kind::Flush { remaining }, issued)
    }

    /// Watches all messages issued so far for those that a purge ends.
    pub(crate) fn watch_purge(&mut self, issued: u64) -> (u64, oneshot::Receiver<Tally>) {
        if self.is_over {
            return self.nothing_to_watch();
        }
        self.watch(Kind::Purge { made: None }, issued)
    }

    fn nothing_to_watch(&mut self) -> (u64, oneshot::Receiver<Tally>) {
        let (done, receiver) = oneshot::channel();
        let _ = done.send(Tally::default());
        self.next_id += 1;
        (self.next_id - 1, receiver)
    }

    fn watch(&mut self, kind: Kind, mark: u64) -> (u64, oneshot::Receiver<Tally>) {
        let (done, receiver) = oneshot::channel();
        let id = self.next_id;
        self.next_id += 1;
        self.active.push(Watch {
            id,
            kind,
            mark,
            tally: Tally::default(),
            done,
        });
        (id, receiver)
    }

    /// The purge has been made, as the so-maniest: its reports are in the queue.
    pub(crate) fn purge_made(&mut self, watch: u64, number: u64) {
        for watch in self.active.iter_mut().filter(|active| active.id == watch) {
            watch.kind = Kind::Purge { made: Some(number) };
        }
    }

    /// Stops watching; how many were still to end.
    pub(crate) fn cancel(&mut self, watch: u64) -> Option<u64> {
        let index = self.active.iter().position(|active| active.id == watch)?;
        match self.active.swap_remove(index).kind {
            Kind::Flush { remaining } => Some(remaining),
            Kind::Purge { .. } => None,
        }
    }

    /// Whether anybody waits for a flush.
    pub(crate) fn any_flush(&self) -> bool {
        self.active
            .iter()
            .any(|watch| matches!(watch.kind, Kind::Flush { .. }))
    }

    /// Accounts for messages that have ended.
    pub(crate) fn account(
        &mut self,
        endings: impl Iterator<Item = (u64, Ending)>,
        finished: &mut Vec<Finished>,
    ) {
        if self.active.is_empty() && self.closing.is_none() {
            return;
        }
        for (sequence, ending) in endings {
            if let Some(closing) = &mut self.closing {
                closing.tally.add(ending);
            }
            for watch in self.active.iter_mut().filter(|watch| sequence < watch.mark) {
                watch.tally.add(ending);
                if let Kind::Flush { remaining } = &mut watch.kind {
                    *remaining -= 1;
                }
            }
        }
        self.finish(
            |kind| matches!(kind, Kind::Flush { remaining: 0 }),
            finished,
        );
    }

    /// The queue was found empty when so many purges had been made.
    pub(crate) fn queue_was_empty(&mut self, purges_made: u64, finished: &mut Vec<Finished>) {
        let is_served = |number: u64| number <= purges_made;
        self.finish(
            |kind| matches!(kind, Kind::Purge { made: Some(number) } if is_served(*number)),
            finished,
        );
    }

    fn finish(&mut self, is_done: impl Fn(&Kind) -> bool, finished: &mut Vec<Finished>) {
        let mut index = 0;
        while index < self.active.len() {
            if is_done(&self.active[index].kind) {
                let watch = self.active.swap_remove(index);
                finished.push((watch.done, watch.tally));
            } else {
                index += 1;
            }
        }
    }

    /// The end: nothing is in flight, and nobody looks at the queue any more.
    pub(crate) fn end(&mut self, finished: &mut Vec<Finished>) -> CloseReport {
        self.is_over = true;
        self.finish(|_| true, finished);
        let Closing { tally, records, .. } = self.closing.take().unwrap_or_default();
        CloseReport::new(tally.delivered, tally.purged, tally.failed, records)
    }
}
