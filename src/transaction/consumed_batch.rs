//! The records that the loop hands out for one transaction.

use std::fmt;
use std::ops::Deref;

use rdkafka::message::BorrowedMessage;

use super::consumed_offsets::ConsumedOffsets;

/// The records of one transaction of [`consume_transform_produce`](crate::consume_transform_produce),
/// in the order in which the consumer has returned them. It has at least one.
///
/// It is a slice of messages, and `for message in batch` iterates over them.
pub struct ConsumedBatch<'c> {
    pub(super) messages: Vec<BorrowedMessage<'c>>,
    pub(super) consumed: ConsumedOffsets,
    pub(super) attempt: u32,
}

impl ConsumedBatch<'_> {
    /// Returns 1, and one more for each failure since the last commit.
    ///
    /// Another try may have more or fewer records, but it begins with the same ones, unless the
    /// group has rebalanced.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

impl<'c> Deref for ConsumedBatch<'c> {
    type Target = [BorrowedMessage<'c>];

    fn deref(&self) -> &[BorrowedMessage<'c>] {
        &self.messages
    }
}

impl<'b, 'c> IntoIterator for &'b ConsumedBatch<'c> {
    type Item = &'b BorrowedMessage<'c>;
    type IntoIter = std::slice::Iter<'b, BorrowedMessage<'c>>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.iter()
    }
}

impl fmt::Debug for ConsumedBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumedBatch")
            .field("messages", &self.messages.len())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
