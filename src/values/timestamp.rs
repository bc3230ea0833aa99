//! The timestamp of a record or a message.

use std::time::{SystemTime, UNIX_EPOCH};

/// The timestamp of a record or a message, in milliseconds since the Unix epoch.
///
/// [`ProducerRecord::timestamp`](crate::ProducerRecord::timestamp) takes whatever converts into it:
/// milliseconds as an `i64`, a [`SystemTime`], or a `Timestamp`.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tokio_rdkafka::Timestamp;
///
/// let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
/// assert_eq!(Timestamp::from(time), Timestamp::from(1_700_000_000_000));
/// ```
///
/// The protocol has one bit for the two kinds of timestamp, so a `match` needs no wildcard.
///
/// Source: KIP-32. The topic's `message.timestamp.type` decides which of the two a broker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timestamp {
    /// Not known, for instance because the message failed. A record without a timestamp gets the
    /// time at which it is enqueued.
    NotAvailable,
    /// When the record was created: the time that the caller set, or that of the enqueue.
    CreateTime(i64),
    /// When the broker appended the message to its log.
    LogAppendTime(i64),
}

impl Timestamp {
    /// Returns the milliseconds since the Unix epoch if the timestamp is known.
    #[inline]
    pub fn to_millis(self) -> Option<i64> {
        match self {
            Timestamp::NotAvailable => None,
            Timestamp::CreateTime(millis) | Timestamp::LogAppendTime(millis) => Some(millis),
        }
    }
}

/// A [`CreateTime`](Timestamp::CreateTime) of that many milliseconds since the Unix epoch.
impl From<i64> for Timestamp {
    #[inline]
    fn from(millis: i64) -> Self {
        Timestamp::CreateTime(millis)
    }
}

/// A [`CreateTime`](Timestamp::CreateTime), rounded down to the millisecond.
///
/// A time before the Unix epoch becomes a negative number, which makes the send of a record fail.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(error) => {
                let before = error.duration().as_nanos().div_ceil(1_000_000);
                i64::try_from(before).map_or(i64::MIN, |millis| -millis)
            }
        };
        Timestamp::CreateTime(millis)
    }
}

/// The kind of a [`Timestamp`], for places that keep its milliseconds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimestampKind {
    NotAvailable,
    CreateTime,
    LogAppendTime,
}

impl TimestampKind {
    pub(crate) fn with_millis(self, millis: i64) -> Timestamp {
        match self {
            TimestampKind::NotAvailable => Timestamp::NotAvailable,
            TimestampKind::CreateTime => Timestamp::CreateTime(millis),
            TimestampKind::LogAppendTime => Timestamp::LogAppendTime(millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_system_time_is_rounded_down_also_before_the_epoch() {
        let nanos = Duration::from_nanos;
        for (time, millis) in [
            (UNIX_EPOCH, 0),
            (UNIX_EPOCH + nanos(999_999), 0),
            (UNIX_EPOCH + nanos(1_999_999), 1),
            (UNIX_EPOCH - nanos(1_000), -1),
            (UNIX_EPOCH - nanos(1_500_000), -2),
        ] {
            assert_eq!(Timestamp::from(time), Timestamp::CreateTime(millis));
        }
    }
}
