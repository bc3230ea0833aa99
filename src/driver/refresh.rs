//! Refreshes what librdkafka knows of a topic, after a record's partition was unknown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::error::KafkaError;
use crate::sync::lock;

/// How long records wait for a partition from the first one on that did not find it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How long after that records fail without such a wait.
const MEMORY: Duration = Duration::from_secs(30);

/// How old an answer may be for records that wait.
const FRESH: Duration = Duration::from_millis(20);

/// How old an answer may be for records that do not wait any more, and the least time between two
/// refreshes that no record waits for.
const PAUSE: Duration = Duration::from_secs(1);

/// The topics that are remembered at most.
const MOST_TOPICS: usize = 1_024;

/// The topics of which a partition was unknown.
#[derive(Debug, Default)]
pub(crate) struct Refreshes(Mutex<HashMap<Box<str>, Arc<TopicRefresh>>>);

/// The refreshes of one topic. All records that wait share them: one request at a time.
#[derive(Debug)]
pub(crate) struct TopicRefresh {
    /// When the first record did not find its partition.
    began: Instant,
    /// When the last refresh began that no record waits for.
    started: Mutex<Option<Instant>>,
    pub(super) last: tokio::sync::Mutex<Option<Refreshed>>,
}

/// The end of a refresh.
#[derive(Clone, Debug)]
pub(super) struct Refreshed {
    /// When it was begun.
    pub(super) asked: Instant,
    pub(super) partitions: Result<usize, KafkaError>,
}

impl Refreshes {
    /// Returns the refreshes of a topic, whose memory begins now unless it has begun before.
    pub(crate) fn topic(&self, topic: &str) -> Arc<TopicRefresh> {
        let mut topics = lock(&self.0);
        match topics.get(topic) {
            Some(known) if known.began.elapsed() < PATIENCE + MEMORY => Arc::clone(known),
            _ => {
                if topics.len() >= MOST_TOPICS {
                    topics.retain(|_, known| known.began.elapsed() < PATIENCE);
                }
                let new = Arc::new(TopicRefresh {
                    began: Instant::now(),
                    started: Mutex::default(),
                    last: tokio::sync::Mutex::default(),
                });
                topics.insert(topic.into(), Arc::clone(&new));
                new
            }
        }
    }
}

impl TopicRefresh {
    /// Returns how long a record may still wait for its partition.
    pub(crate) fn left(&self) -> Duration {
        PATIENCE.saturating_sub(self.began.elapsed())
    }

    /// Returns how old an answer may be.
    pub(super) fn fresh(&self) -> Duration {
        if self.left().is_zero() { PAUSE } else { FRESH }
    }

    /// Returns true if a refresh should begin that no record waits for.
    pub(crate) fn should_start(&self) -> bool {
        let mut started = lock(&self.started);
        let is_due = started.is_none_or(|last| last.elapsed() >= PAUSE);
        if is_due {
            *started = Some(Instant::now());
        }
        is_due
    }
}
