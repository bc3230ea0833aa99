//! Keeps records out of a transaction that is being ended.

use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use crate::sync::write;

/// librdkafka looks whether a record may enter, and then lets it in: between the two another thread
/// may have committed, and the record would turn up in the next transaction.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// A lock of its own, so that a second one who wants to close is told, and does not wait.
    closing: Mutex<()>,
    records: RwLock<()>,
}

/// The way in is closed while this lives.
#[derive(Debug)]
pub(super) struct Closed<'g> {
    _records: RwLockWriteGuard<'g, ()>,
    _closing: MutexGuard<'g, ()>,
}

impl Gate {
    /// A record's way in; `None` where the gate is closed. Never waits.
    pub(super) fn enter(&self) -> Option<RwLockReadGuard<'_, ()>> {
        entered(self.records.try_read())
    }

    /// Lets nobody in any more, and waits for those who are on their way, which is one produce call;
    /// `None` where the gate is closed already.
    pub(super) fn close(&self) -> Option<Closed<'_>> {
        let closing = entered(self.closing.try_lock())?;
        Some(Closed {
            _records: write(&self.records),
            _closing: closing,
        })
    }
}

fn entered<G>(result: Result<G, TryLockError<G>>) -> Option<G> {
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
    fn nobody_enters_a_closed_gate_nor_closes_it_again() {
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
    fn closing_waits_for_those_on_their_way() {
        let gate = Gate::default();
        let is_in = AtomicBool::new(false);
        let way_in = gate.enter().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _closed = gate.close().unwrap();
                assert!(is_in.load(Ordering::SeqCst));
            });
            // Refused from the moment on when somebody waits to close.
            while gate.enter().is_some() {
                thread::yield_now();
            }
            is_in.store(true, Ordering::SeqCst);
            drop(way_in);
        });
    }
}
