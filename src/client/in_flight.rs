//! The count of a client's messages: numbered, settled, delivered, in flight.

use std::sync::atomic::Ordering;

use super::core::Core;
use crate::ffi::Opaque;
use crate::values::Amount;

impl<O: Opaque> Core<O> {
    /// Numbers the next `count` messages and returns the first number. They are in flight until
    /// they are [settled](Self::settle).
    #[inline]
    pub(crate) fn issue(&self, count: u64) -> u64 {
        self.issued.fetch_add(count, Ordering::SeqCst)
    }

    /// Counts messages that librdkafka took. Their reports may have been served already.
    #[inline]
    pub(crate) fn count_enqueued(&self, count: u64, bytes: usize) {
        self.enqueued.fetch_add(count, Ordering::Relaxed);
        self.enqueued_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns what was counted as enqueued. It may lack messages whose reports have been served.
    pub(crate) fn enqueued(&self) -> Amount {
        let enqueued = self.enqueued.load(Ordering::Relaxed);
        Amount::new(enqueued, self.enqueued_bytes.load(Ordering::Relaxed))
    }

    /// Returns how many messages have been numbered.
    pub(crate) fn issued(&self) -> u64 {
        self.issued.load(Ordering::SeqCst)
    }

    /// Counts `count` messages as settled: their reports were served, or their produce calls
    /// failed.
    pub(crate) fn settle(&self, count: u64) {
        self.settled.fetch_add(count, Ordering::SeqCst);
    }

    /// Returns how many messages have been settled.
    pub(crate) fn settled(&self) -> u64 {
        self.settled.load(Ordering::SeqCst)
    }

    /// Returns how many messages have been numbered and not settled.
    pub(crate) fn in_flight(&self) -> usize {
        let mut settled = self.settled();
        loop {
            let issued = self.issued();
            // The difference was true at one moment only if nothing was settled between the loads.
            match self.settled() {
                now if now == settled => {
                    return usize::try_from(issued - settled).unwrap_or(usize::MAX);
                }
                now => settled = now,
            }
        }
    }

    /// Counts `count` messages as delivered.
    pub(crate) fn count_delivered(&self, count: u64) {
        self.delivered.fetch_add(count, Ordering::SeqCst);
    }

    /// Returns how many messages have been delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::SeqCst)
    }

    /// Records that a transaction begins.
    pub(crate) fn record_transaction_begin(&self) {
        self.delivered_before
            .store(self.delivered(), Ordering::SeqCst);
    }

    /// Returns true if a message of the current transaction has been delivered.
    pub(crate) fn has_delivered_since_begin(&self) -> bool {
        self.delivered() > self.delivered_before.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::{hint, thread};

    use super::*;
    use crate::client::ClientConfig;

    #[test]
    fn what_was_settled_meanwhile_is_not_in_flight() {
        let core = Core::without_brokers(ClientConfig::new());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    core.issue(1);
                    core.settle(1);
                    hint::spin_loop();
                }
            });
            let most = (0..1_000_000).map(|_| core.in_flight()).max();
            is_over.store(true, Ordering::Relaxed);
            assert!(most <= Some(1), "{most:?}");
        });
        core.close();
        core.destroy();
    }
}
