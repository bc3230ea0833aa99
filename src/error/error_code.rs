//! Error codes: one value for every `i32` that librdkafka or a broker may report.

use std::borrow::Cow;
use std::fmt;

/// An error code of librdkafka (negative) or of the Kafka protocol (positive).
///
/// Every `i32` is a valid value, so codes that only a newer librdkafka or broker knows are passed
/// on unchanged. The known codes are associated constants, which also work in patterns:
///
/// ```
/// use tokio_rdkafka::RDKafkaErrorCode;
///
/// fn advice(code: RDKafkaErrorCode) -> &'static str {
///     match code {
///         RDKafkaErrorCode::QueueFull => "poll, then send again",
///         code if code.is_retriable() => "send again",
///         _ => "look at the record",
///     }
/// }
/// assert_eq!(advice(RDKafkaErrorCode::QueueFull), "poll, then send again");
/// assert_eq!(advice(RDKafkaErrorCode::from(19)), "send again");
/// ```
///
/// # Which codes are retriable
///
/// [`is_retriable`](Self::is_retriable) returns true if sending the same record again may succeed.
/// It says nothing about duplicates: check the [`Persistence`](crate::Persistence) too.
///
/// | codes | reason |
/// |---|---|
/// | [`QueueFull`](Self::QueueFull) | capacity is released as messages are delivered |
/// | [`MessageTimedOut`](Self::MessageTimedOut), [`OperationTimedOut`](Self::OperationTimedOut), [`TimedOutQueue`](Self::TimedOutQueue), [`RequestTimedOut`](Self::RequestTimedOut) | no answer within the time limit |
/// | [`BrokerTransportFailure`](Self::BrokerTransportFailure), [`NetworkException`](Self::NetworkException), [`Resolve`](Self::Resolve), [`AllBrokersDown`](Self::AllBrokersDown), [`BrokerNotAvailable`](Self::BrokerNotAvailable) | no connection |
/// | [`LeaderNotAvailable`](Self::LeaderNotAvailable), [`NotLeaderForPartition`](Self::NotLeaderForPartition), [`ReplicaNotAvailable`](Self::ReplicaNotAvailable), [`FencedLeaderEpoch`](Self::FencedLeaderEpoch), [`UnknownLeaderEpoch`](Self::UnknownLeaderEpoch), [`KafkaStorageError`](Self::KafkaStorageError) | the partition's leader changes |
/// | [`ISRInsufficient`](Self::ISRInsufficient), [`NotEnoughReplicas`](Self::NotEnoughReplicas), [`NotEnoughReplicasAfterAppend`](Self::NotEnoughReplicasAfterAppend) | too few replicas are in sync |
/// | [`CoordinatorLoadInProgress`](Self::CoordinatorLoadInProgress), [`CoordinatorNotAvailable`](Self::CoordinatorNotAvailable), [`NotCoordinator`](Self::NotCoordinator), [`WaitingForCoordinator`](Self::WaitingForCoordinator), [`ConcurrentTransactions`](Self::ConcurrentTransactions) | the coordinator is moving or busy |
/// | [`ThrottlingQuotaExceeded`](Self::ThrottlingQuotaExceeded), [`Retry`](Self::Retry) | librdkafka or the broker asks for a retry |
/// | [`InvalidDifferentRecord`](Self::InvalidDifferentRecord) | another record of the batch is invalid, this one is not |
///
/// No other code is retriable. A fatal error is never retriable, whatever its code: see
/// [`KafkaError::is_retriable`](crate::KafkaError::is_retriable).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RDKafkaErrorCode(i32);

impl RDKafkaErrorCode {
    /// Returns the code as the number that librdkafka or the broker reported.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Returns librdkafka's name of the code, for instance `_QUEUE_FULL` or `NOT_ENOUGH_REPLICAS`.
    ///
    /// An unknown code is named `ERR_<number>?`.
    ///
    /// Source: `rd_kafka_err2name`.
    pub fn name(self) -> Cow<'static, str> {
        match texts(self.0) {
            Some((name, _)) => name.into(),
            None => format!("ERR_{}?", self.0).into(),
        }
    }

    /// Returns librdkafka's description of the code.
    ///
    /// Source: `rd_kafka_err2str`.
    pub fn description(self) -> Cow<'static, str> {
        match texts(self.0) {
            Some((_, description)) => description.into(),
            None => format!("Unknown error {}", self.0).into(),
        }
    }

    /// Returns true if sending the same record again may succeed, by the
    /// [table of codes](Self#which-codes-are-retriable).
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::QueueFull
                | Self::MessageTimedOut
                | Self::OperationTimedOut
                | Self::TimedOutQueue
                | Self::RequestTimedOut
                | Self::BrokerTransportFailure
                | Self::NetworkException
                | Self::Resolve
                | Self::AllBrokersDown
                | Self::BrokerNotAvailable
                | Self::LeaderNotAvailable
                | Self::NotLeaderForPartition
                | Self::ReplicaNotAvailable
                | Self::FencedLeaderEpoch
                | Self::UnknownLeaderEpoch
                | Self::KafkaStorageError
                | Self::ISRInsufficient
                | Self::NotEnoughReplicas
                | Self::NotEnoughReplicasAfterAppend
                | Self::CoordinatorLoadInProgress
                | Self::CoordinatorNotAvailable
                | Self::NotCoordinator
                | Self::WaitingForCoordinator
                | Self::ConcurrentTransactions
                | Self::ThrottlingQuotaExceeded
                | Self::Retry
                | Self::InvalidDifferentRecord
        )
    }

    /// Returns true if a broker refuses a batch with this code because of what some of its records
    /// are, or because of its size. It gives the verdict to all records of the batch.
    ///
    /// Source: the validation of a batch in Kafka's `LogValidator` and `UnifiedLog`.
    pub(crate) const fn is_batch_verdict(self) -> bool {
        matches!(
            self,
            Self::InvalidDifferentRecord
                | Self::InvalidMessage
                | Self::InvalidMessageSize
                | Self::MessageSizeTooLarge
                | Self::MessageBatchTooLarge
                | Self::InvalidTimestamp
                | Self::UnsupportedForMessageFormat
                | Self::InvalidRecord
        )
    }
}

impl From<i32> for RDKafkaErrorCode {
    fn from(raw: i32) -> Self {
        Self(raw)
    }
}

impl From<RDKafkaErrorCode> for i32 {
    fn from(code: RDKafkaErrorCode) -> Self {
        code.0
    }
}

/// The name and the number, for instance `_QUEUE_FULL (-184)`.
impl fmt::Debug for RDKafkaErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

/// The description and the name, for instance `Local: Queue full (_QUEUE_FULL)`.
impl fmt::Display for RDKafkaErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.description(), self.name())
    }
}

macro_rules! codes {
    ($($constant:ident = $raw:literal, $name:literal, $description:literal;)*) => {
        // The names of rust-rdkafka's enum, so that a `match` of its users still compiles.
        #[allow(non_upper_case_globals)]
        impl RDKafkaErrorCode {
            $(
                #[doc = concat!("`", $name, "`: ", $description, ".")]
                pub const $constant: Self = Self($raw);
            )*
        }

        /// librdkafka's name and description of a code.
        fn texts(raw: i32) -> Option<(&'static str, &'static str)> {
            match raw {
                $($raw => Some(($name, $description)),)*
                _ => None,
            }
        }

        #[cfg(test)]
        pub(crate) const KNOWN: &[i32] = &[$($raw,)*];
    };
}

// Source: librdkafka's `rd_kafka_err_descs` (rdkafka.c). A test in `ffi` checks that they agree.
codes! {
    BadMessage = -199, "_BAD_MSG", "Local: Bad message format";
    BadCompression = -198, "_BAD_COMPRESSION", "Local: Invalid compressed data";
    BrokerDestroy = -197, "_DESTROY", "Local: Broker handle destroyed for termination";
    Fail = -196, "_FAIL", "Local: Communication failure with broker";
    BrokerTransportFailure = -195, "_TRANSPORT", "Local: Broker transport failure";
    CriticalSystemResource = -194, "_CRIT_SYS_RESOURCE", "Local: Critical system resource failure";
    Resolve = -193, "_RESOLVE", "Local: Host resolution failure";
    MessageTimedOut = -192, "_MSG_TIMED_OUT", "Local: Message timed out";
    PartitionEOF = -191, "_PARTITION_EOF", "Broker: No more messages";
    UnknownPartition = -190, "_UNKNOWN_PARTITION", "Local: Unknown partition";
    FileSystem = -189, "_FS", "Local: File or filesystem error";
    UnknownTopic = -188, "_UNKNOWN_TOPIC", "Local: Unknown topic";
    AllBrokersDown = -187, "_ALL_BROKERS_DOWN", "Local: All broker connections are down";
    InvalidArgument = -186, "_INVALID_ARG", "Local: Invalid argument or configuration";
    OperationTimedOut = -185, "_TIMED_OUT", "Local: Timed out";
    QueueFull = -184, "_QUEUE_FULL", "Local: Queue full";
    ISRInsufficient = -183, "_ISR_INSUFF", "Local: ISR count insufficient";
    NodeUpdate = -182, "_NODE_UPDATE", "Local: Broker node update";
    SSL = -181, "_SSL", "Local: SSL error";
    WaitingForCoordinator = -180, "_WAIT_COORD", "Local: Waiting for coordinator";
    UnknownGroup = -179, "_UNKNOWN_GROUP", "Local: Unknown group";
    InProgress = -178, "_IN_PROGRESS", "Local: Operation in progress";
    PreviousInProgress = -177, "_PREV_IN_PROGRESS", "Local: Previous operation in progress";
    ExistingSubscription = -176, "_EXISTING_SUBSCRIPTION", "Local: Existing subscription";
    AssignPartitions = -175, "_ASSIGN_PARTITIONS", "Local: Assign partitions";
    RevokePartitions = -174, "_REVOKE_PARTITIONS", "Local: Revoke partitions";
    Conflict = -173, "_CONFLICT", "Local: Conflicting use";
    State = -172, "_STATE", "Local: Erroneous state";
    UnknownProtocol = -171, "_UNKNOWN_PROTOCOL", "Local: Unknown protocol";
    NotImplemented = -170, "_NOT_IMPLEMENTED", "Local: Not implemented";
    Authentication = -169, "_AUTHENTICATION", "Local: Authentication failure";
    NoOffset = -168, "_NO_OFFSET", "Local: No offset stored";
    Outdated = -167, "_OUTDATED", "Local: Outdated";
    TimedOutQueue = -166, "_TIMED_OUT_QUEUE", "Local: Timed out in queue";
    UnsupportedFeature = -165, "_UNSUPPORTED_FEATURE", "Local: Required feature not supported by broker";
    WaitCache = -164, "_WAIT_CACHE", "Local: Awaiting cache update";
    Interrupted = -163, "_INTR", "Local: Operation interrupted";
    KeySerialization = -162, "_KEY_SERIALIZATION", "Local: Key serialization error";
    ValueSerialization = -161, "_VALUE_SERIALIZATION", "Local: Value serialization error";
    KeyDeserialization = -160, "_KEY_DESERIALIZATION", "Local: Key deserialization error";
    ValueDeserialization = -159, "_VALUE_DESERIALIZATION", "Local: Value deserialization error";
    Partial = -158, "_PARTIAL", "Local: Partial response";
    ReadOnly = -157, "_READ_ONLY", "Local: Read-only object";
    NoEnt = -156, "_NOENT", "Local: No such entry";
    Underflow = -155, "_UNDERFLOW", "Local: Read underflow";
    InvalidType = -154, "_INVALID_TYPE", "Local: Invalid type";
    Retry = -153, "_RETRY", "Local: Retry operation";
    PurgeQueue = -152, "_PURGE_QUEUE", "Local: Purged in queue";
    PurgeInflight = -151, "_PURGE_INFLIGHT", "Local: Purged in flight";
    Fatal = -150, "_FATAL", "Local: Fatal error";
    Inconsistent = -149, "_INCONSISTENT", "Local: Inconsistent state";
    GaplessGuarantee = -148, "_GAPLESS_GUARANTEE", "Local: Gap-less ordering would not be guaranteed if proceeding";
    PollExceeded = -147, "_MAX_POLL_EXCEEDED", "Local: Maximum application poll interval (max.poll.interval.ms) exceeded";
    UnknownBroker = -146, "_UNKNOWN_BROKER", "Local: Unknown broker";
    NotConfigured = -145, "_NOT_CONFIGURED", "Local: Functionality not configured";
    Fenced = -144, "_FENCED", "Local: This instance has been fenced by a newer instance";
    Application = -143, "_APPLICATION", "Local: Application generated error";
    AssignmentLost = -142, "_ASSIGNMENT_LOST", "Local: Group partition assignment lost";
    Noop = -141, "_NOOP", "Local: No operation performed";
    AutoOffsetReset = -140, "_AUTO_OFFSET_RESET", "Local: No offset to automatically reset to";
    LogTruncation = -139, "_LOG_TRUNCATION", "Local: Partition log truncation detected";
    InvalidDifferentRecord = -138, "_INVALID_DIFFERENT_RECORD", "Local: an invalid record in the same batch caused the failure of this message too";
    DestroyBroker = -137, "_DESTROY_BROKER", "Local: Broker handle destroyed without termination";
    Unknown = -1, "UNKNOWN", "Unknown broker error";
    NoError = 0, "NO_ERROR", "Success";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", "Broker: Offset out of range";
    InvalidMessage = 2, "INVALID_MSG", "Broker: Invalid message";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PART", "Broker: Unknown topic or partition";
    InvalidMessageSize = 4, "INVALID_MSG_SIZE", "Broker: Invalid message size";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", "Broker: Leader not available";
    NotLeaderForPartition = 6, "NOT_LEADER_FOR_PARTITION", "Broker: Not leader for partition";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", "Broker: Request timed out";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", "Broker: Broker not available";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", "Broker: Replica not available";
    MessageSizeTooLarge = 10, "MSG_SIZE_TOO_LARGE", "Broker: Message size too large";
    StaleControllerEpoch = 11, "STALE_CTRL_EPOCH", "Broker: StaleControllerEpochCode";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", "Broker: Offset metadata string too large";
    NetworkException = 13, "NETWORK_EXCEPTION", "Broker: Broker disconnected before response received";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", "Broker: Coordinator load in progress";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", "Broker: Coordinator not available";
    NotCoordinator = 16, "NOT_COORDINATOR", "Broker: Not coordinator";
    InvalidTopic = 17, "TOPIC_EXCEPTION", "Broker: Invalid topic";
    MessageBatchTooLarge = 18, "RECORD_LIST_TOO_LARGE", "Broker: Message batch larger than configured server segment size";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", "Broker: Not enough in-sync replicas";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "Broker: Message(s) written to insufficient number of in-sync replicas";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", "Broker: Invalid required acks value";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", "Broker: Specified group generation id is not valid";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", "Broker: Inconsistent group protocol";
    InvalidGroupId = 24, "INVALID_GROUP_ID", "Broker: Invalid group.id";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", "Broker: Unknown member";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", "Broker: Invalid session timeout";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", "Broker: Group rebalance in progress";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", "Broker: Commit offset data size is not valid";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", "Broker: Topic authorization failed";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", "Broker: Group authorization failed";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", "Broker: Cluster authorization failed";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", "Broker: Invalid timestamp";
    UnsupportedSASLMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", "Broker: Unsupported SASL mechanism";
    IllegalSASLState = 34, "ILLEGAL_SASL_STATE", "Broker: Request not valid in current SASL state";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", "Broker: API version not supported";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", "Broker: Topic already exists";
    InvalidPartitions = 37, "INVALID_PARTITIONS", "Broker: Invalid number of partitions";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", "Broker: Invalid replication factor";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", "Broker: Invalid replica assignment";
    InvalidConfig = 40, "INVALID_CONFIG", "Broker: Configuration is invalid";
    NotController = 41, "NOT_CONTROLLER", "Broker: Not controller for cluster";
    InvalidRequest = 42, "INVALID_REQUEST", "Broker: Invalid request";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", "Broker: Message format on broker does not support request";
    PolicyViolation = 44, "POLICY_VIOLATION", "Broker: Policy violation";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", "Broker: Broker received an out of order sequence number";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", "Broker: Broker received a duplicate sequence number";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", "Broker: Producer attempted an operation with an old epoch";
    InvalidTransactionalState = 48, "INVALID_TXN_STATE", "Broker: Producer attempted a transactional operation in an invalid state";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", "Broker: Producer attempted to use a producer id which is not currently assigned to its transactional id";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", "Broker: Transaction timeout is larger than the maximum value allowed by the broker's max.transaction.timeout.ms";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", "Broker: Producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", "Broker: Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "Broker: Transactional Id authorization failed";
    SecurityDisabled = 54, "SECURITY_DISABLED", "Broker: Security features are disabled";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", "Broker: Operation not attempted";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", "Broker: Disk error when trying to access log file on disk";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", "Broker: The user-specified log directory is not found in the broker config";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", "Broker: SASL Authentication failed";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", "Broker: Unknown Producer Id";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", "Broker: Partition reassignment is in progress";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", "Broker: Delegation Token feature is not enabled";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", "Broker: Delegation Token is not found on server";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", "Broker: Specified Principal is not valid Owner/Renewer";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", "Broker: Delegation Token requests are not allowed on this connection";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", "Broker: Delegation Token authorization failed";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", "Broker: Delegation Token is expired";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", "Broker: Supplied principalType is not supported";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", "Broker: The group is not empty";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", "Broker: The group id does not exist";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", "Broker: The fetch session ID was not found";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", "Broker: The fetch session epoch is invalid";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", "Broker: No matching listener";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", "Broker: Topic deletion is disabled";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", "Broker: Leader epoch is older than broker epoch";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", "Broker: Leader epoch is newer than broker epoch";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", "Broker: Unsupported compression type";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", "Broker: Broker epoch has changed";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", "Broker: Leader high watermark is not caught up";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", "Broker: Group member needs a valid member ID";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", "Broker: Preferred leader was not available";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", "Broker: Consumer group has reached maximum size";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", "Broker: Static consumer fenced by other consumer with same group.instance.id";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", "Broker: Eligible partition leaders are not available";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", "Broker: Leader election not needed for topic partition";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", "Broker: No partition reassignment is in progress";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", "Broker: Deleting offsets of a topic while the consumer group is subscribed to it";
    InvalidRecord = 87, "INVALID_RECORD", "Broker: Broker failed to validate record";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", "Broker: There are unstable offsets that need to be cleared";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", "Broker: Throttling quota has been exceeded";
    ProducerFenced = 90, "PRODUCER_FENCED", "Broker: There is a newer producer with the same transactionalId which fences the current one";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", "Broker: Request illegally referred to resource that does not exist";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", "Broker: Request illegally referred to the same resource twice";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", "Broker: Requested credential would not meet criteria for acceptability";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", "Broker: Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", "Broker: Invalid update version";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", "Broker: Unable to update finalized features due to server error";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", "Broker: Request principal deserialization failed during forwarding";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", "Broker: Unknown topic id";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", "Broker: The member epoch is fenced by the group coordinator";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", "Broker: The instance ID is still used by another member in the consumer group";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", "Broker: The assignor or its version range is not supported by the consumer group";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", "Broker: The member epoch is stale";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", "Broker: Client sent a push telemetry request with an invalid or outdated subscription ID";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", "Broker: Client sent a push telemetry request larger than the maximum size the broker will accept";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", "Broker: Client metadata is stale, client should rebootstrap to obtain new metadata";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_passed_on_unchanged() {
        for raw in [i32::MIN, -250, 32_000, i32::MAX] {
            let code = RDKafkaErrorCode::from(raw);
            assert_eq!(code.raw(), raw);
            assert!(code.name().contains(&raw.to_string()), "{}", code.name());
            assert!(!code.is_retriable());
        }
    }

    #[test]
    fn debug_and_display_name_the_code() {
        let code = RDKafkaErrorCode::QueueFull;
        assert_eq!(format!("{code:?}"), "_QUEUE_FULL (-184)");
        assert_eq!(code.to_string(), "Local: Queue full (_QUEUE_FULL)");
    }
}
