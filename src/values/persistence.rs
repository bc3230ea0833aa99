//! Whether a message is in the log.

use std::fmt;

/// Whether a message is in the partition's log, as far as librdkafka knows.
///
/// It decides what sending a failed record again risks: see
/// [`SendError`](crate::SendError#sending-again). The three states are no, maybe and yes, so a
/// `match` needs no wildcard.
///
/// `enable.idempotence` prevents duplicates only until a message of the producer times out
/// (`message.timeout.ms`). After a timeout librdkafka continues as a new producer would. Records
/// that were written but not yet acknowledged may then be written again. `tests/kafka/chaos.rs`
/// counts them with a `message.timeout.ms` of 1 s and brokers that are killed.
///
/// Source: `rd_kafka_message_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// librdkafka saw no sign that the message was written, so sending it again is safe as far as
    /// librdkafka can tell.
    ///
    /// This is no proof: a deposed leader may have appended the message and still answered that it
    /// is not the leader.
    NotPersisted,
    /// The message was sent, and no answer says whether it was written. Always the state with
    /// `acks=0`.
    PossiblyPersisted,
    /// The broker acknowledged the message as `acks` demands.
    Persisted,
}

impl fmt::Display for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Persistence::NotPersisted => "not persisted",
            Persistence::PossiblyPersisted => "possibly persisted",
            Persistence::Persisted => "persisted",
        })
    }
}
