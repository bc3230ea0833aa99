//! The kinds of requests of the Kafka protocol.

use std::fmt;

/// A kind of request of the Kafka protocol, identified by its number.
///
/// The constants are the kinds that [`MockCluster`](crate::MockCluster) answers. They can be used
/// in patterns. Any other number can be converted with `ApiKey::from`.
///
/// Source: <https://kafka.apache.org/protocol#protocol_api_keys>.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKey(i16);

impl ApiKey {
    /// Returns the number.
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
        // The names are Kafka's, as in the enum of rdkafka-sys.
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
    /// Asks for the first or last offsets of partitions.
    ListOffsets = 2;
    /// Asks for brokers, topics and leaders. The mock cluster ignores pushed errors for it; use
    /// [`MockCluster::topic_error`](crate::MockCluster::topic_error).
    Metadata = 3;
    /// Commits offsets of a consumer group.
    OffsetCommit = 8;
    /// Asks for the committed offsets of a consumer group.
    OffsetFetch = 9;
    /// Asks for the coordinator of a consumer group or a transactional id.
    FindCoordinator = 10;
    /// Joins a consumer group.
    JoinGroup = 11;
    /// Keeps a member in its consumer group.
    Heartbeat = 12;
    /// Leaves a consumer group.
    LeaveGroup = 13;
    /// Asks for a member's assignment in its consumer group.
    SyncGroup = 14;
    /// Asks which request versions the broker supports. The first request of a connection.
    ApiVersion = 18;
    /// Asks for a producer id and epoch, for an idempotent or transactional producer.
    InitProducerId = 22;
    /// Asks for the end offset of a leader epoch.
    OffsetForLeaderEpoch = 23;
    /// Adds partitions to a transaction.
    AddPartitionsToTxn = 24;
    /// Adds a consumer group's offsets to a transaction.
    AddOffsetsToTxn = 25;
    /// Commits or aborts a transaction.
    EndTxn = 26;
    /// Commits offsets of a consumer group within a transaction.
    TxnOffsetCommit = 28;
    /// Joins a consumer group and keeps a member in it, in the newer protocol (KIP-848).
    ConsumerGroupHeartbeat = 68;
    /// Asks which client metrics the broker wants (KIP-714).
    GetTelemetrySubscriptions = 71;
    /// Sends client metrics (KIP-714).
    PushTelemetry = 72;
}

/// Shows the name and the number, for instance `Produce (0)`.
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
    fn debug_shows_the_name_of_a_known_key() {
        assert_eq!(format!("{:?}", ApiKey::Produce), "Produce (0)");
        assert_eq!(format!("{:?}", ApiKey::from(72)), "PushTelemetry (72)");
        assert_eq!(format!("{:?}", ApiKey::from(-7)), "ApiKey (-7)");
        assert_eq!(i16::from(ApiKey::EndTxn), ApiKey::EndTxn.raw());
    }
}
