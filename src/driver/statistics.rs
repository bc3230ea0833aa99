//! The documents of librdkafka's statistics, for those who read them.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::sync::lock;

/// The last document, if anybody reads them. `None` once the producer has terminated.
#[derive(Debug)]
pub(super) struct Documents(Mutex<Option<watch::Sender<Option<Arc<str>>>>>);

impl Default for Documents {
    fn default() -> Self {
        Self(Mutex::new(Some(watch::Sender::new(None))))
    }
}

impl Documents {
    /// Copies a document if somebody reads it. Those who do are tasks of this crate.
    pub(super) fn publish(&self, json: &str) {
        let sender = lock(&self.0).clone();
        if let Some(sender) = sender {
            let is_read = sender.receiver_count() > 0;
            sender.send_replace(is_read.then(|| json.into()));
        }
    }

    /// Returns `None` once the producer has terminated.
    pub(super) fn subscribe(&self) -> Option<watch::Receiver<Option<Arc<str>>>> {
        lock(&self.0).as_ref().map(watch::Sender::subscribe)
    }

    /// Goes on for those who read the documents of a client that this one replaces.
    pub(super) fn adopt(&self, replaced: &Self) {
        let Some(sender) = lock(&replaced.0).take() else {
            return;
        };
        let unread = lock(&self.0).replace(sender);
        drop(unread);
    }

    /// Ends the tasks that read.
    pub(super) fn end(&self) {
        let sender = lock(&self.0).take();
        drop(sender);
    }
}
