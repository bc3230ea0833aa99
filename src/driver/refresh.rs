//! Refreshes what librdkafka knows of a topic, after a record's partition was unknown.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::client::ProducerContext;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::{Client, Description};
use crate::sync::lock;
use crate::values::topic_name;

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
    last: tokio::sync::Mutex<Option<Refreshed>>,
}

/// The end of a refresh.
#[derive(Clone, Debug)]
struct Refreshed {
    /// When it was begun.
    asked: Instant,
    partitions: Result<usize, KafkaError>,
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

impl<C: ProducerContext> Shared<C> {
    /// Asks for a topic's partitions, unless another caller has done so just now. Returns their
    /// number. With the answer librdkafka updates what it knows of the topic.
    ///
    /// # Cancel safety
    ///
    /// If the caller that asks goes away, the next one asks.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        refresh: &TopicRefresh,
        topic: &str,
    ) -> Result<usize, KafkaError> {
        let mut last = refresh.last.lock().await;
        let fresh = if refresh.left().is_zero() {
            PAUSE
        } else {
            FRESH
        };
        if let Some(last) = last.as_ref().filter(|last| last.asked.elapsed() < fresh) {
            return last.partitions.clone();
        }
        let asked = Instant::now();
        let partitions = self.count_partitions(topic).await;
        *last = Some(Refreshed {
            asked,
            partitions: partitions.clone(),
        });
        partitions
    }

    async fn count_partitions(self: &Arc<Self>, topic: &str) -> Result<usize, KafkaError> {
        topic_name::check_name(topic)?;
        let name = CString::new(topic).expect("the check finds a NUL byte");
        let describe = |client: &Arc<Client>, ask| client.describe_topic(&name, ask);
        let Description::Topics(topics) = self.request(describe, PATIENCE).await? else {
            unreachable!("the answer is of the request's own kind");
        };
        let found = topics.into_iter().find(|found| found.name == topic);
        let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
        let found = found.ok_or_else(|| KafkaError::from_code(unknown))?;
        found.error.map_or(Ok(found.partitions.len()), Err)
    }
}
