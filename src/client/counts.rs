//! Counts of what has become of a client's messages.

use std::collections::BTreeMap;

#[cfg(feature = "metrics")]
use super::topic_counts::{TopicCount, TopicCounts};
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::counts_retries;
use crate::values::{Amount, Histogram, Metrics};

/// A turn is counted after so many reports, even if it goes on.
const REPORTS_PER_TURN: u64 = 2048;

/// What has become of a client's messages. Its owner has it under the lock under which messages
/// are settled, so that its numbers add up at any time.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    delivered: Amount,
    failed: Amount,
    failed_by_code: BTreeMap<RDKafkaErrorCode, u64>,
    refused: u64,
    refused_by_code: BTreeMap<RDKafkaErrorCode, u64>,
    delivery_latency: Histogram,
    reports_per_turn: Histogram,
    /// The reports of the current turn.
    turn: u64,
    retries: u64,
    /// `None` unless somebody exports them.
    #[cfg(feature = "metrics")]
    topics: Option<TopicCounts>,
}

impl Counts {
    /// Counts messages whose reports were served: those that were delivered, with their latencies in
    /// microseconds, and the failures. `topic` is empty unless each topic is counted.
    #[inline]
    pub(crate) fn reported(
        &mut self,
        topic: &str,
        delivered: Amount,
        latencies: impl Iterator<Item = u64>,
        failures: &mut Vec<(RDKafkaErrorCode, usize)>,
    ) {
        self.delivered.add(delivered);
        self.turn += delivered.records;
        #[cfg(feature = "metrics")]
        self.of_topic(topic, delivered, failures).extend(latencies);
        #[cfg(not(feature = "metrics"))]
        {
            let _ = topic;
            self.delivery_latency.extend(latencies);
        }
        if !failures.is_empty() {
            self.failed(failures);
        }
        if self.turn >= REPORTS_PER_TURN {
            self.end_turn();
        }
    }

    #[cold]
    fn failed(&mut self, failures: &mut Vec<(RDKafkaErrorCode, usize)>) {
        for (code, bytes) in failures.drain(..) {
            self.failed.add(Amount::new(1, bytes as u64));
            *self.failed_by_code.entry(code).or_default() += 1;
            self.turn += 1;
        }
    }

    /// Counts the latencies and the failures for that topic, if each topic is counted. Returns the
    /// histogram for the latencies. [`reported`](Self::reported) takes the failures after that.
    #[cfg(feature = "metrics")]
    fn of_topic(
        &mut self,
        topic: &str,
        delivered: Amount,
        failures: &[(RDKafkaErrorCode, usize)],
    ) -> &mut Histogram {
        let topics = self.topics.as_mut().filter(|_| !topic.is_empty());
        let Some(topics) = topics else {
            return &mut self.delivery_latency;
        };
        let counts = topics.of(topic);
        counts.delivered.add(delivered);
        for (code, _) in failures {
            *counts.failed_by_code.entry(*code).or_default() += 1;
        }
        // It is merged into that of all topics when it is taken, or in a snapshot.
        &mut counts.delivery_latency
    }

    /// Begins to count each topic. Returns false if they are counted already.
    #[cfg(feature = "metrics")]
    pub(crate) fn begin_topics(&mut self) -> bool {
        let is_first = self.topics.is_none();
        self.topics.get_or_insert_default();
        is_first
    }

    /// Takes what was counted for each topic since the last call.
    #[cfg(feature = "metrics")]
    pub(crate) fn take_topics(&mut self) -> Vec<(Box<str>, TopicCount)> {
        let taken = self.topics.as_mut().map(TopicCounts::take);
        let taken = taken.unwrap_or_default();
        for (_, count) in &taken {
            self.delivery_latency.merge(&count.delivery_latency);
        }
        taken
    }

    /// Counts how often messages were sent again.
    #[inline]
    pub(crate) fn retried(&mut self, retries: u64) {
        self.retries += retries;
    }

    /// Counts a record that was not enqueued.
    #[cold]
    pub(crate) fn refused(&mut self, error: &KafkaError) {
        let code = error.code().unwrap_or(match error.is_closed() {
            true => RDKafkaErrorCode::BrokerDestroy,
            false => RDKafkaErrorCode::Unknown,
        });
        self.refused += 1;
        *self.refused_by_code.entry(code).or_default() += 1;
    }

    /// Counts the turn, unless it had no reports.
    #[inline]
    pub(crate) fn end_turn(&mut self) {
        if self.turn > 0 {
            self.reports_per_turn.record(self.turn);
            self.turn = 0;
        }
    }

    /// Returns all numbers that are kept here. `counted` are the messages that were counted as
    /// enqueued, read under the same lock.
    pub(crate) fn snapshot(&self, counted: Amount) -> Metrics {
        let mut reported = self.delivered;
        reported.add(self.failed);
        // A report may be served before its message is counted.
        let enqueued = Amount::new(
            counted.records.max(reported.records),
            counted.bytes.max(reported.bytes),
        );
        #[cfg_attr(not(feature = "metrics"), expect(unused_mut))]
        let mut delivery_latency = self.delivery_latency.clone();
        #[cfg(feature = "metrics")]
        for latency in self.topics.iter().flat_map(TopicCounts::latencies) {
            delivery_latency.merge(latency);
        }
        Metrics {
            enqueued,
            delivered: self.delivered,
            failed: self.failed,
            failed_by_code: self.failed_by_code.clone(),
            in_flight: enqueued.minus(reported),
            refused: self.refused,
            refused_by_code: self.refused_by_code.clone(),
            delivery_latency,
            reports_per_turn: self.reports_per_turn.clone(),
            retries: counts_retries().then_some(self.retries),
            ..Metrics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_turn_is_divided() {
        let mut counts = Counts::default();
        counts.end_turn();
        for records in [1, REPORTS_PER_TURN, 3] {
            counts.reported(
                "",
                Amount::new(records, 0),
                [7].into_iter(),
                &mut Vec::new(),
            );
        }
        counts.end_turn();
        counts.end_turn();
        let turns = counts.snapshot(Amount::default()).reports_per_turn;
        assert_eq!((turns.count(), turns.sum()), (2, REPORTS_PER_TURN + 4));
        let failures = &mut vec![(RDKafkaErrorCode::MessageTimedOut, 1)];
        counts.reported("", Amount::default(), [].into_iter(), failures);
        counts.end_turn();
        let metrics = counts.snapshot(Amount::new(9, 9));
        assert_eq!(metrics.reports_per_turn.count(), 3);
        assert_eq!(
            (metrics.failed, metrics.delivery_latency.count()),
            (Amount::new(1, 1), 3)
        );
    }
}
