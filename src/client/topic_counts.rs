//! Counts for each topic, for those who export them.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::error::RDKafkaErrorCode;
use crate::values::{Amount, Histogram};

/// The largest number of topics that are counted apart.
const MAX_TOPICS: usize = 100;

/// What has become of the messages of each topic since it was last [taken](Self::take).
#[derive(Debug, Default)]
pub(crate) struct TopicCounts {
    topics: HashMap<Box<str>, TopicCount, RandomState>,
}

/// What has become of the messages of a topic.
#[derive(Debug, Default)]
pub(crate) struct TopicCount {
    pub(crate) delivered: Amount,
    pub(crate) failed_by_code: BTreeMap<RDKafkaErrorCode, u64>,
    /// In microseconds.
    pub(crate) delivery_latency: Histogram,
}

impl TopicCounts {
    /// The name under which the topics beyond [`MAX_TOPICS`] are counted. It is no name of a topic.
    pub(crate) const OTHER: &str = "(other)";

    /// Returns the count of a topic.
    #[inline]
    pub(super) fn of(&mut self, topic: &str) -> &mut TopicCount {
        let name = match self.topics.contains_key(topic) || self.topics.len() < MAX_TOPICS {
            true => topic,
            false => Self::OTHER,
        };
        if !self.topics.contains_key(name) {
            self.topics.insert(name.into(), TopicCount::default());
        }
        self.topics.get_mut(name).expect("it was inserted")
    }

    /// Returns the latencies that have not been taken.
    pub(super) fn latencies(&self) -> impl Iterator<Item = &Histogram> {
        self.topics.values().map(|count| &count.delivery_latency)
    }

    /// Takes what was counted. The names are kept, so that the bound holds for all times.
    pub(super) fn take(&mut self) -> Vec<(Box<str>, TopicCount)> {
        let topics = self.topics.iter_mut();
        let counted = topics.filter(|(_, count)| !count.is_empty());
        counted
            .map(|(name, count)| (name.clone(), std::mem::take(count)))
            .collect()
    }
}

impl TopicCount {
    fn is_empty(&self) -> bool {
        self.delivered.records == 0 && self.failed_by_code.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_topics_is_bounded_for_all_times() {
        let mut counts = TopicCounts::default();
        for turn in 0..3 {
            for topic in 0..2 * MAX_TOPICS {
                let topic = format!("{turn}-{topic}");
                counts.of(&topic).delivered.add(Amount::new(1, 2));
            }
            let taken = counts.take();
            let records: u64 = taken.iter().map(|(_, it)| it.delivered.records).sum();
            assert_eq!(records, 2 * MAX_TOPICS as u64);
            let is_other = |name: &str| name == TopicCounts::OTHER;
            assert!(taken.iter().any(|(name, _)| is_other(name)));
            assert_eq!(taken.len(), if turn == 0 { MAX_TOPICS + 1 } else { 1 });
        }
        assert!(counts.take().is_empty());
    }
}
