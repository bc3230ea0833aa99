//! Kinds of requests.

use std::fmt;

/// A kind of request of the Kafka protocol, by its number there.
///
/// The known ones are those that the [`MockCluster`](crate::MockCluster) answers; they are usable in
/// patterns.
///
/// Source: <https://kafka.apache.org/protocol#protocol_api_keys>.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKey(i16);

impl ApiKey {
    /// The number.
    pub const fn raw(self) -> i16 {
        self.0
    }
}

impl From<i16> for ApiKey {
    fn from(raw: i16) -> Self {
        Self(raw)
    }
}

impl From<ApiKey> for i16 {
    fn from(api_key: ApiKey) -> Self {
        api_key.0
    }
}

macro_rules! api_keys {
    ($($(#[$doc:meta])* $name:ident = $raw:literal;)*) => {
        // The names are those of rdkafka-sys's enum, and of Kafka.
        #[allow(non_upper_case_globals)]
        impl ApiKey {
            $($(#[$doc])* pub const $name: Self = Self($raw);)*

            fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

api_keys! {
    /// Appends records.
    Produce = 0;
    /// Reads records.
    Fetch = 1;
    /// Asks for the first or last offset of partitions.
    ListOffsets = 2;
    /// Asks for brokers, topics and leaders. The mock cluster takes no errors for it; see
    /// [`MockCluster::topic_error`](crate::MockCluster::topic_error).
    Metadata = 3;
    /// Commits offsets of a group.
    OffsetCommit = 8;
    /// Asks for committed offsets of a group.
    OffsetFetch = 9;
    /// Asks for the coordinator of a group or of a transactional id.
    FindCoordinator = 10;
    /// Joins a group.
    JoinGroup = 11;
    /// Stays in a group.
    Heartbeat = 12;
    /// Leaves a group.
    LeaveGroup = 13;
    /// Gets the assignment in a group.
    SyncGroup = 14;
    /// Asks for the versions of requests that the broker knows; the first request of a connection.
    ApiVersion = 18;
    /// Asks for a producer id and epoch, for idempotence and transactions.
    InitProducerId = 22;
    /// Asks where a leader's epoch ends.
    OffsetForLeaderEpoch = 23;
    /// Adds partitions to a transaction.
    AddPartitionsToTxn = 24;
    /// Adds a group's offsets to a transaction.
    AddOffsetsToTxn = 25;
    /// Commits or aborts a transaction.
    EndTxn = 26;
    /// Commits offsets of a group within a transaction.
    TxnOffsetCommit = 28;
    /// Joins a group and stays in it, by the newer protocol (KIP-848).
    ConsumerGroupHeartbeat = 68;
    /// Asks which metrics the broker wants (KIP-714).
    GetTelemetrySubscriptions = 71;
    /// Sends metrics (KIP-714).
    PushTelemetry = 72;
}

/// The name and the number, for instance `Produce (0)`.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "ApiKey ({})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_names_what_is_known() {
        assert_eq!(format!("{:?}", ApiKey::Produce), "Produce (0)");
        assert_eq!(format!("{:?}", ApiKey::from(72)), "PushTelemetry (72)");
        assert_eq!(format!("{:?}", ApiKey::from(-7)), "ApiKey (-7)");
        assert_eq!(i16::from(ApiKey::EndTxn), ApiKey::EndTxn.raw());
    }
}
