//! The state of a message in flight.

use std::time::Duration;

use super::attachment::{Attached, Attachment};

/// The state that a message carries through librdkafka: what its delivery report lacks.
///
/// It is an enum to be small: a message with an attachment keeps its timestamp there.
#[derive(Debug)]
pub(crate) enum MessageState<D> {
    Plain {
        /// The number of the message, which the core issued.
        number: u64,
        /// The requested timestamp in milliseconds, or 0 for none: 0 itself is not valid.
        timestamp: i64,
        /// The requested partition, or −1 for none.
        partition: i32,
        /// How long it waited for capacity, in tenths of a second.
        waited: u16,
        /// `None` once the delivery callback has taken it.
        opaque: Option<D>,
    },
    Attached {
        number: u64,
        /// Empty once it has been taken.
        attached: Attached,
        partition: i32,
        waited: u16,
        opaque: Option<D>,
    },
}

impl<D> MessageState<D> {
    #[inline]
    pub(crate) fn new(
        number: u64,
        partition: i32,
        timestamp: Option<i64>,
        waited: u16,
        opaque: Option<D>,
        mut attached: Attached,
    ) -> Self {
        let timestamp = timestamp.unwrap_or(0);
        match attached.as_mut() {
            None => Self::Plain {
                number,
                timestamp,
                partition,
                waited,
                opaque,
            },
            Some(attachment) => {
                attachment.timestamp = timestamp;
                attachment.span.enqueued();
                Self::Attached {
                    number,
                    attached,
                    partition,
                    waited,
                    opaque,
                }
            }
        }
    }

    /// Returns the state of a record that never became a message.
    pub(crate) fn of_no_message() -> Self {
        Self::new(0, -1, None, 0, None, Attached::default())
    }

    /// Returns the number of the message, which the core issued.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Plain { number, .. } | Self::Attached { number, .. } => *number,
        }
    }

    #[inline]
    pub(crate) fn set_number(&mut self, issued: u64) {
        match self {
            Self::Plain { number, .. } | Self::Attached { number, .. } => *number = issued,
        }
    }

    /// Returns how long the record waited for capacity.
    pub(crate) fn waited(&self) -> Duration {
        match self {
            Self::Plain { waited, .. } | Self::Attached { waited, .. } => {
                Duration::from_millis(100) * u32::from(*waited)
            }
        }
    }

    /// Returns the partition and the timestamp that were requested. `attachment` is the one that
    /// has been taken.
    pub(crate) fn requested(&self, attachment: Option<&Attachment>) -> (i32, Option<i64>) {
        let (partition, timestamp) = match self {
            Self::Plain {
                partition,
                timestamp,
                ..
            } => (*partition, *timestamp),
            Self::Attached { partition, .. } => {
                (*partition, attachment.map_or(0, |it| it.timestamp))
            }
        };
        (partition, (timestamp != 0).then_some(timestamp))
    }

    /// Takes what the record carries beside its fields.
    #[inline]
    pub(crate) fn take_attached(&mut self) -> Attached {
        match self {
            Self::Plain { .. } => Attached::default(),
            Self::Attached { attached, .. } => attached.take(),
        }
    }

    /// Takes the opaque.
    ///
    /// # Panics
    ///
    /// Panics if it was taken before.
    pub(crate) fn take_opaque(&mut self) -> D {
        let (Self::Plain { opaque, .. } | Self::Attached { opaque, .. }) = self;
        let opaque = opaque.take();
        opaque.expect("a message has one report, or was refused")
    }
}
