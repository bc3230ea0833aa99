//! What a transaction's records are produced in: open until it is committed or aborted.

use std::sync::{Mutex, RwLock, RwLockReadGuard};

use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::sync::{lock, read, write};

/// One transaction, as its records see it.
///
/// librdkafka looks whether a record may enter, and then lets it in. Between the two the transaction
/// may have been committed, and the next one begun: without this, a handle, permit or sink that is
/// left of one transaction could write into another.
#[derive(Debug)]
pub(crate) struct TransactionEpoch {
    is_open: RwLock<bool>,
    /// Of the first record that was not delivered.
    failure: Mutex<Option<KafkaError>>,
}

impl TransactionEpoch {
    pub(crate) fn new() -> Self {
        Self {
            is_open: RwLock::new(true),
            failure: Mutex::default(),
        }
    }

    /// A record's way in, open until the guard is dropped.
    ///
    /// # Errors
    ///
    /// Where the transaction has ended, or is about to.
    pub(crate) fn enter(&self) -> Result<RwLockReadGuard<'_, bool>, KafkaError> {
        let is_open = read(&self.is_open);
        if *is_open {
            Ok(is_open)
        } else {
            Err(KafkaError::with_text(
                RDKafkaErrorCode::State,
                "the transaction has been committed or aborted",
            ))
        }
    }

    /// Lets nobody in any more. Waits for those who are on their way, which is one produce call each.
    pub(crate) fn close(&self) {
        *write(&self.is_open) = false;
    }

    /// Notes that a record was not delivered. That there was no room is no failure: its sender has
    /// it, and may try again.
    #[cold]
    pub(crate) fn fail(&self, error: &KafkaError) {
        if !error.is_queue_full() {
            lock(&self.failure).get_or_insert_with(|| error.clone());
        }
    }

    /// Why the first record failed that did.
    pub(crate) fn failure(&self) -> Option<KafkaError> {
        lock(&self.failure).clone()
    }
}
