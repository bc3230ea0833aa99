//! The topic handles that a client keeps.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::ffi::TopicHandle;

/// How many handles make a generation; two are kept. librdkafka itself keeps what it knows of a
/// topic for as long as the client lives: this is for the part that is ours, a few hundred bytes
/// each.
pub(crate) const GENERATION: usize = if cfg!(test) { 4 } else { 4096 };

type Map = HashMap<Box<str>, Arc<TopicHandle>, RandomState>;

/// Handles by name: those used since the generation began, and those of the one before.
#[derive(Debug, Default)]
pub(crate) struct TopicHandles {
    young: Map,
    old: Map,
}

impl TopicHandles {
    /// Looks among the young ones.
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<Arc<TopicHandle>> {
        self.young.get(name).cloned()
    }

    /// Looks among all; one that is found is young again.
    pub(crate) fn get_any(&mut self, name: &str) -> Option<Arc<TopicHandle>> {
        if let Some(handle) = self.get(name) {
            return Some(handle);
        }
        let (name, handle) = self.old.remove_entry(name)?;
        self.insert(name, Arc::clone(&handle));
        Some(handle)
    }

    /// Adds one. A handle that goes loses nothing: messages on their way keep a reference of their own
    /// (`rd_kafka_msg_new0`).
    pub(crate) fn insert(&mut self, name: Box<str>, handle: Arc<TopicHandle>) {
        if self.young.len() == GENERATION {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(name, handle);
    }
}
