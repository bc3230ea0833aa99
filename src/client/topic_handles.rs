//! A bounded cache of topic handles by name.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::ffi::TopicHandle;

/// The number of handles in a generation. Two generations are kept.
///
/// This bounds our memory, a few hundred bytes a handle. librdkafka keeps its own data of a topic
/// for as long as the client lives.
pub(crate) const GENERATION: usize = if cfg!(test) { 4 } else { 4096 };

type Map = HashMap<Box<str>, Arc<TopicHandle>, RandomState>;

/// Handles in two generations. When the young one is full it becomes the old one, and the handles
/// of the old one are dropped.
#[derive(Debug, Default)]
pub(crate) struct TopicHandles {
    young: Map,
    old: Map,
}

impl TopicHandles {
    /// Returns a handle of the young generation.
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<Arc<TopicHandle>> {
        self.young.get(name).cloned()
    }

    /// Returns a handle of either generation, and moves it to the young one.
    pub(crate) fn get_any(&mut self, name: &str) -> Option<Arc<TopicHandle>> {
        if let Some(handle) = self.get(name) {
            return Some(handle);
        }
        let (name, handle) = self.old.remove_entry(name)?;
        self.insert(name, Arc::clone(&handle));
        Some(handle)
    }

    /// Adds a handle.
    ///
    /// Dropping a handle loses no message: each message holds a reference to its topic
    /// (`rd_kafka_msg_new0`).
    pub(crate) fn insert(&mut self, name: Box<str>, handle: Arc<TopicHandle>) {
        if self.young.len() == GENERATION {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(name, handle);
    }
}
