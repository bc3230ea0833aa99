//! Keeps records out of a transaction that is being committed or aborted.

use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use crate::sync::write;

/// Records enter through it while it is open. librdkafka checks the transaction's state before it
/// enqueues a record. Between the two another thread could commit, and the record would become part
/// of the next transaction.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Held while closed. A lock of its own, so that a second `close` fails instead of waiting.
    closing: Mutex<()>,
    records: RwLock<()>,
}

/// Keeps the gate closed until it is dropped.
#[derive(Debug)]
pub(super) struct Closed<'g> {
    _records: RwLockWriteGuard<'g, ()>,
    _closing: MutexGuard<'g, ()>,
}

impl Gate {
    /// Keeps the gate open until the guard is dropped; `None` if it is closed. Never waits.
    pub(super) fn enter(&self) -> Option<RwLockReadGuard<'_, ()>> {
        acquired(self.records.try_read())
    }

    /// Closes the gate and waits for records that have entered, which takes one produce call each;
    /// `None` if it is already closed.
    pub(super) fn close(&self) -> Option<Closed<'_>> {
        let closing = acquired(self.closing.try_lock())?;
        Some(Closed {
            _records: write(&self.records),
            _closing: closing,
        })
    }
}

/// The guard, also of a poisoned lock, which protects no data; `None` if the lock is held.
fn acquired<G>(result: Result<G, TryLockError<G>>) -> Option<G> {
    match result {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poison)) => Some(poison.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_closed_gate_can_be_neither_entered_nor_closed() {
        let gate = Gate::default();
        {
            let _both = (gate.enter().unwrap(), gate.enter().unwrap());
        }
        let closed = gate.close().unwrap();
        assert!(gate.enter().is_none());
        assert!(gate.close().is_none());
        drop(closed);
        assert!(gate.enter().is_some());
        assert!(gate.close().is_some());
    }

    #[test]
    fn closing_waits_for_records_that_have_entered() {
        let gate = Gate::default();
        let has_entered = AtomicBool::new(false);
        let entered = gate.enter().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _closed = gate.close().unwrap();
                assert!(has_entered.load(Ordering::SeqCst));
            });
            // Entering fails once `close` waits.
            while gate.enter().is_some() {
                thread::yield_now();
            }
            has_entered.store(true, Ordering::SeqCst);
            drop(entered);
        });
    }
}
