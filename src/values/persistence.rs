//! What is known of a message's place in the log.

use std::fmt;

/// What librdkafka knows of a message's place in the log, whether it succeeded or failed.
/// `enable.idempotence` keeps a record from being written twice for as long as no message of the
/// producer times out. After a time-out librdkafka goes on as if it were a new producer, and records
/// that had been written without an answer may be written again; with a `message.timeout.ms` of a
/// second and brokers that are killed, `tests/kafka/chaos.rs` sees it happen.
///
/// Source: `rd_kafka_message_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// librdkafka saw no sign that it was written: sending again is safe as far as it can tell.
    /// It is not a proof: a leader that was deposed may have appended the message and answered
    /// that it is no longer the leader.
    NotPersisted,
    /// It was sent, and no answer says whether it was written; always so with `acks=0`.
    PossiblyPersisted,
    /// The broker has acknowledged it as `acks` asks.
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
