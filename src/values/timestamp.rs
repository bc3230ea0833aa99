//! The timestamp of a message.

/// The timestamp of a message, in milliseconds since the Unix epoch.
///
/// Source: KIP-32; the topic's `message.timestamp.type` decides which of the two a broker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timestamp {
    /// Not known, for instance of a message that failed.
    NotAvailable,
    /// When the record was made: as the caller set it, or when it was enqueued.
    CreateTime(i64),
    /// When the broker appended it.
    LogAppendTime(i64),
}

impl Timestamp {
    /// Milliseconds since the Unix epoch, where the timestamp is known.
    pub fn to_millis(self) -> Option<i64> {
        match self {
            Timestamp::NotAvailable => None,
            Timestamp::CreateTime(millis) | Timestamp::LogAppendTime(millis) => Some(millis),
        }
    }
}

/// Which of a [`Timestamp`]'s variants it is, where the milliseconds are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimestampKind {
    NotAvailable,
    CreateTime,
    LogAppendTime,
}

impl TimestampKind {
    pub(crate) fn of(self, millis: i64) -> Timestamp {
        match self {
            TimestampKind::NotAvailable => Timestamp::NotAvailable,
            TimestampKind::CreateTime => Timestamp::CreateTime(millis),
            TimestampKind::LogAppendTime => Timestamp::LogAppendTime(millis),
        }
    }
}
