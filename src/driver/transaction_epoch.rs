//! The epoch of a transaction's records: open until the transaction is committed or aborted.

use std::sync::{Mutex, RwLock, RwLockReadGuard};

use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::sync::{lock, read, write};

/// The epoch of one transaction's records.
///
/// librdkafka checks that a transaction is open, and then enqueues the record. Between the two, the
/// transaction may have been committed, and the next one begun. So records of an older epoch are
/// rejected: a handle, permit or sink of one transaction cannot write into another.
#[derive(Debug)]
pub(crate) struct TransactionEpoch {
    is_open: RwLock<bool>,
    /// The error of the first record that was not delivered.
    failure: Mutex<Option<KafkaError>>,
}

impl TransactionEpoch {
    pub(crate) fn new() -> Self {
        Self {
            is_open: RwLock::new(true),
            failure: Mutex::default(),
        }
    }

    /// Keeps the epoch open for a record until the guard is dropped.
    ///
    /// # Errors
    ///
    /// The transaction has been committed or aborted, or is about to be.
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

    /// Rejects all later records. Waits for those that are being enqueued: one produce call each.
    pub(crate) fn close(&self) {
        *write(&self.is_open) = false;
    }

    /// Stores the error of a record that was not delivered. A full queue is no failure: the sender
    /// has the record, and may send it again.
    #[cold]
    pub(crate) fn fail(&self, error: &KafkaError) {
        if !error.is_queue_full() {
            lock(&self.failure).get_or_insert_with(|| error.clone());
        }
    }

    /// Returns the error of the first record that failed, if one has.
    pub(crate) fn failure(&self) -> Option<KafkaError> {
        lock(&self.failure).clone()
    }
}
