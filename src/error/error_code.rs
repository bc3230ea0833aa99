//! Error codes: one value for every `i32` that librdkafka or a broker may report.

use std::fmt;

use crate::ffi;

/// An error code of librdkafka (negative) or of the Kafka protocol (positive).
///
/// Every `i32` is a valid value, so a code that a newer librdkafka or broker invents is carried
/// through unchanged. The known codes are associated constants, usable in patterns:
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
/// [`is_retriable`](Self::is_retriable) says whether the same record may succeed when it is sent
/// again. It says nothing about duplicates: look at [`Persistence`](crate::Persistence) too.
///
/// | codes | why |
/// |---|---|
/// | [`QueueFull`](Self::QueueFull) | there will be room |
/// | [`MessageTimedOut`](Self::MessageTimedOut), [`OperationTimedOut`](Self::OperationTimedOut), [`TimedOutQueue`](Self::TimedOutQueue), [`RequestTimedOut`](Self::RequestTimedOut) | no answer in time |
/// | [`BrokerTransportFailure`](Self::BrokerTransportFailure), [`NetworkException`](Self::NetworkException), [`Resolve`](Self::Resolve), [`AllBrokersDown`](Self::AllBrokersDown), [`BrokerNotAvailable`](Self::BrokerNotAvailable) | no connection |
/// | [`LeaderNotAvailable`](Self::LeaderNotAvailable), [`NotLeaderForPartition`](Self::NotLeaderForPartition), [`ReplicaNotAvailable`](Self::ReplicaNotAvailable), [`FencedLeaderEpoch`](Self::FencedLeaderEpoch), [`UnknownLeaderEpoch`](Self::UnknownLeaderEpoch), [`KafkaStorageError`](Self::KafkaStorageError) | the partition's leader changes |
/// | [`ISRInsufficient`](Self::ISRInsufficient), [`NotEnoughReplicas`](Self::NotEnoughReplicas), [`NotEnoughReplicasAfterAppend`](Self::NotEnoughReplicasAfterAppend) | too few replicas are in sync |
/// | [`CoordinatorLoadInProgress`](Self::CoordinatorLoadInProgress), [`CoordinatorNotAvailable`](Self::CoordinatorNotAvailable), [`NotCoordinator`](Self::NotCoordinator), [`WaitingForCoordinator`](Self::WaitingForCoordinator), [`ConcurrentTransactions`](Self::ConcurrentTransactions) | the coordinator moves or is busy |
/// | [`ThrottlingQuotaExceeded`](Self::ThrottlingQuotaExceeded), [`Retry`](Self::Retry) | asked to try later |
///
/// All other codes are not retriable, and no error is after a fatal one
/// ([`KafkaError::is_retriable`](crate::KafkaError::is_retriable) looks at that too).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RDKafkaErrorCode(i32);

impl RDKafkaErrorCode {
    /// The number itself, as librdkafka or the broker gave it.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// librdkafka's name of the code, for instance `_QUEUE_FULL` or `NOT_ENOUGH_REPLICAS`;
    /// `ERR_<number>?` for one that it does not know.
    ///
    /// Source: `rd_kafka_err2name`.
    pub fn name(self) -> std::borrow::Cow<'static, str> {
        ffi::error_name(self.0)
    }

    /// librdkafka's description of the code.
    ///
    /// Source: `rd_kafka_err2str`.
    pub fn description(self) -> std::borrow::Cow<'static, str> {
        ffi::error_description(self.0)
    }

    /// Whether the same record may succeed when it is sent again; the table is
    /// [above](Self#which-codes-are-retriable).
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
    ($($(#[$doc:meta])* $name:ident = $raw:literal;)*) => {
        // The names are those of rust-rdkafka's enum, so that its users' `match`es carry over.
        #[allow(non_upper_case_globals)]
        impl RDKafkaErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($raw);)*
        }

        #[cfg(test)]
        const KNOWN: &[(&str, i32)] = &[$((stringify!($name), $raw),)*];
    };
}

codes! {
/// `_BAD_MSG`: Received message is incorrect.
BadMessage = -199;
/// `_BAD_COMPRESSION`: Bad/unknown compression.
BadCompression = -198;
/// `_DESTROY`: Broker is going away.
BrokerDestroy = -197;
/// `_FAIL`: Generic failure.
Fail = -196;
/// `_TRANSPORT`: Broker transport failure.
BrokerTransportFailure = -195;
/// `_CRIT_SYS_RESOURCE`: Critical system resource.
CriticalSystemResource = -194;
/// `_RESOLVE`: Failed to resolve broker.
Resolve = -193;
/// `_MSG_TIMED_OUT`: Produced message timed out.
MessageTimedOut = -192;
/// `_PARTITION_EOF`: Reached the end of the topic+partition queue on the broker. Not really an error.
PartitionEOF = -191;
/// `_UNKNOWN_PARTITION`: Permanent: Partition does not exist in cluster.
UnknownPartition = -190;
/// `_FS`: File or filesystem error.
FileSystem = -189;
/// `_UNKNOWN_TOPIC`: Permanent: Topic does not exist in cluster.
UnknownTopic = -188;
/// `_ALL_BROKERS_DOWN`: All broker connections are down.
AllBrokersDown = -187;
/// `_INVALID_ARG`: Invalid argument, or invalid configuration.
InvalidArgument = -186;
/// `_TIMED_OUT`: Operation timed out.
OperationTimedOut = -185;
/// `_QUEUE_FULL`: Queue is full.
QueueFull = -184;
/// `_ISR_INSUFF`: ISR count < required.acks.
ISRInsufficient = -183;
/// `_NODE_UPDATE`: Broker node update.
NodeUpdate = -182;
/// `_SSL`: SSL error.
SSL = -181;
/// `_WAIT_COORD`: Waiting for coordinator to become available.
WaitingForCoordinator = -180;
/// `_UNKNOWN_GROUP`: Unknown client group.
UnknownGroup = -179;
/// `_IN_PROGRESS`: Operation in progress.
InProgress = -178;
/// `_PREV_IN_PROGRESS`: Previous operation in progress, wait for it to finish.
PreviousInProgress = -177;
/// `_EXISTING_SUBSCRIPTION`: This operation would interfere with an existing subscription.
ExistingSubscription = -176;
/// `_ASSIGN_PARTITIONS`: Assigned partitions (rebalance_cb).
AssignPartitions = -175;
/// `_REVOKE_PARTITIONS`: Revoked partitions (rebalance_cb).
RevokePartitions = -174;
/// `_CONFLICT`: Conflicting use.
Conflict = -173;
/// `_STATE`: Wrong state.
State = -172;
/// `_UNKNOWN_PROTOCOL`: Unknown protocol.
UnknownProtocol = -171;
/// `_NOT_IMPLEMENTED`: Not implemented.
NotImplemented = -170;
/// `_AUTHENTICATION`: Authentication failure.
Authentication = -169;
/// `_NO_OFFSET`: No stored offset.
NoOffset = -168;
/// `_OUTDATED`: Outdated.
Outdated = -167;
/// `_TIMED_OUT_QUEUE`: Timed out in queue.
TimedOutQueue = -166;
/// `_UNSUPPORTED_FEATURE`: Feature not supported by broker.
UnsupportedFeature = -165;
/// `_WAIT_CACHE`: Awaiting cache update.
WaitCache = -164;
/// `_INTR`: Operation interrupted (e.g., due to yield).
Interrupted = -163;
/// `_KEY_SERIALIZATION`: Key serialization error.
KeySerialization = -162;
/// `_VALUE_SERIALIZATION`: Value serialization error.
ValueSerialization = -161;
/// `_KEY_DESERIALIZATION`: Key deserialization error.
KeyDeserialization = -160;
/// `_VALUE_DESERIALIZATION`: Value deserialization error.
ValueDeserialization = -159;
/// `_PARTIAL`: Partial response.
Partial = -158;
/// `_READ_ONLY`: Modification attempted on read-only object.
ReadOnly = -157;
/// `_NOENT`: No such entry or item not found.
NoEnt = -156;
/// `_UNDERFLOW`: Read underflow.
Underflow = -155;
/// `_INVALID_TYPE`: Invalid type.
InvalidType = -154;
/// `_RETRY`: Retry operation.
Retry = -153;
/// `_PURGE_QUEUE`: Purged in queue.
PurgeQueue = -152;
/// `_PURGE_INFLIGHT`: Purged in flight.
PurgeInflight = -151;
/// `_FATAL`: Fatal error: see rd_kafka_fatal_error().
Fatal = -150;
/// `_INCONSISTENT`: Inconsistent state.
Inconsistent = -149;
/// `_GAPLESS_GUARANTEE`: Gap-less ordering would not be guaranteed if proceeding.
GaplessGuarantee = -148;
/// `_MAX_POLL_EXCEEDED`: Maximum poll interval exceeded.
PollExceeded = -147;
/// `_UNKNOWN_BROKER`: Unknown broker.
UnknownBroker = -146;
/// `_NOT_CONFIGURED`: Functionality not configured.
NotConfigured = -145;
/// `_FENCED`: Instance has been fenced.
Fenced = -144;
/// `_APPLICATION`: Application generated error.
Application = -143;
/// `_ASSIGNMENT_LOST`: Assignment lost.
AssignmentLost = -142;
/// `_NOOP`: No operation performed.
Noop = -141;
/// `_AUTO_OFFSET_RESET`: No offset to automatically reset to.
AutoOffsetReset = -140;
/// `_LOG_TRUNCATION`: Partition log truncation detected.
LogTruncation = -139;
/// `_INVALID_DIFFERENT_RECORD`: A different record in the batch was invalid, and this message
/// failed persisting.
InvalidDifferentRecord = -138;
/// `_DESTROY_BROKER`: Broker is going away, but the client isn't terminating.
DestroyBroker = -137;
/// `UNKNOWN`: Unknown broker error.
Unknown = -1;
/// `NO_ERROR`: Success.
NoError = 0;
/// `OFFSET_OUT_OF_RANGE`: Offset out of range.
OffsetOutOfRange = 1;
/// `INVALID_MSG`: Invalid message.
InvalidMessage = 2;
/// `UNKNOWN_TOPIC_OR_PART`: Unknown topic or partition.
UnknownTopicOrPartition = 3;
/// `INVALID_MSG_SIZE`: Invalid message size.
InvalidMessageSize = 4;
/// `LEADER_NOT_AVAILABLE`: Leader not available.
LeaderNotAvailable = 5;
/// `NOT_LEADER_FOR_PARTITION`: Not leader for partition.
NotLeaderForPartition = 6;
/// `REQUEST_TIMED_OUT`: Request timed out.
RequestTimedOut = 7;
/// `BROKER_NOT_AVAILABLE`: Broker not available.
BrokerNotAvailable = 8;
/// `REPLICA_NOT_AVAILABLE`: Replica not available.
ReplicaNotAvailable = 9;
/// `MSG_SIZE_TOO_LARGE`: Message size too large.
MessageSizeTooLarge = 10;
/// `STALE_CTRL_EPOCH`: Stale controller epoch code.
StaleControllerEpoch = 11;
/// `OFFSET_METADATA_TOO_LARGE`: Offset metadata string too large.
OffsetMetadataTooLarge = 12;
/// `NETWORK_EXCEPTION`: Broker disconnected before response received.
NetworkException = 13;
/// `COORDINATOR_LOAD_IN_PROGRESS`: Coordinator load in progress.
CoordinatorLoadInProgress = 14;
/// `COORDINATOR_NOT_AVAILABLE`: Coordinator not available.
CoordinatorNotAvailable = 15;
/// `NOT_COORDINATOR`: Not coordinator.
NotCoordinator = 16;
/// `TOPIC_EXCEPTION`: Invalid topic.
InvalidTopic = 17;
/// `RECORD_LIST_TOO_LARGE`: Message batch larger than configured server segment size.
MessageBatchTooLarge = 18;
/// `NOT_ENOUGH_REPLICAS`: Not enough in-sync replicas.
NotEnoughReplicas = 19;
/// `NOT_ENOUGH_REPLICAS_AFTER_APPEND`: Message(s) written to insufficient number of in-sync replicas.
NotEnoughReplicasAfterAppend = 20;
/// `INVALID_REQUIRED_ACKS`: Invalid required acks value.
InvalidRequiredAcks = 21;
/// `ILLEGAL_GENERATION`: Specified group generation id is not valid.
IllegalGeneration = 22;
/// `INCONSISTENT_GROUP_PROTOCOL`: Inconsistent group protocol.
InconsistentGroupProtocol = 23;
/// `INVALID_GROUP_ID`: Invalid group.id.
InvalidGroupId = 24;
/// `UNKNOWN_MEMBER_ID`: Unknown member.
UnknownMemberId = 25;
/// `INVALID_SESSION_TIMEOUT`: Invalid session timeout.
InvalidSessionTimeout = 26;
/// `REBALANCE_IN_PROGRESS`: Group rebalance in progress.
RebalanceInProgress = 27;
/// `INVALID_COMMIT_OFFSET_SIZE`: Commit offset data size is not valid.
InvalidCommitOffsetSize = 28;
/// `TOPIC_AUTHORIZATION_FAILED`: Topic authorization failed.
TopicAuthorizationFailed = 29;
/// `GROUP_AUTHORIZATION_FAILED`: Group authorization failed.
GroupAuthorizationFailed = 30;
/// `CLUSTER_AUTHORIZATION_FAILED`: Cluster authorization failed.
ClusterAuthorizationFailed = 31;
/// `INVALID_TIMESTAMP`: Invalid timestamp.
InvalidTimestamp = 32;
/// `UNSUPPORTED_SASL_MECHANISM`: Unsupported SASL mechanism.
UnsupportedSASLMechanism = 33;
/// `ILLEGAL_SASL_STATE`: Illegal SASL state.
IllegalSASLState = 34;
/// `UNSUPPORTED_VERSION`: Unsupported version.
UnsupportedVersion = 35;
/// `TOPIC_ALREADY_EXISTS`: Topic already exists.
TopicAlreadyExists = 36;
/// `INVALID_PARTITIONS`: Invalid number of partitions.
InvalidPartitions = 37;
/// `INVALID_REPLICATION_FACTOR`: Invalid replication factor.
InvalidReplicationFactor = 38;
/// `INVALID_REPLICA_ASSIGNMENT`: Invalid replica assignment.
InvalidReplicaAssignment = 39;
/// `INVALID_CONFIG`: Invalid config.
InvalidConfig = 40;
/// `NOT_CONTROLLER`: Not controller for cluster.
NotController = 41;
/// `INVALID_REQUEST`: Invalid request.
InvalidRequest = 42;
/// `UNSUPPORTED_FOR_MESSAGE_FORMAT`: Message format on broker does not support request.
UnsupportedForMessageFormat = 43;
/// `POLICY_VIOLATION`: Policy violation.
PolicyViolation = 44;
/// `OUT_OF_ORDER_SEQUENCE_NUMBER`: Broker received an out of order sequence number.
OutOfOrderSequenceNumber = 45;
/// `DUPLICATE_SEQUENCE_NUMBER`: Broker received a duplicate sequence number.
DuplicateSequenceNumber = 46;
/// `INVALID_PRODUCER_EPOCH`: Producer attempted an operation with an old epoch.
InvalidProducerEpoch = 47;
/// `INVALID_TXN_STATE`: Producer attempted a transactional operation in an invalid state.
InvalidTransactionalState = 48;
/// `INVALID_PRODUCER_ID_MAPPING`: Producer attempted to use a producer id which is not currently
/// assigned to its transactional id.
InvalidProducerIdMapping = 49;
/// `INVALID_TRANSACTION_TIMEOUT`: Transaction timeout is larger than the maximum value allowed by
/// the broker's `max.transaction.timeout.ms`.
InvalidTransactionTimeout = 50;
/// `CONCURRENT_TRANSACTIONS`: Producer attempted to update a transaction while another concurrent
/// operation on the same transaction was ongoing.
ConcurrentTransactions = 51;
/// `TRANSACTION_COORDINATOR_FENCED`: The transaction coordinator sending a WriteTxnMarker is no
/// longer the current coordinator for a given producer.
TransactionCoordinatorFenced = 52;
/// `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`: Transactional Id authorization failed.
TransactionalIdAuthorizationFailed = 53;
/// `SECURITY_DISABLED`: Security features are disabled.
SecurityDisabled = 54;
/// `OPERATION_NOT_ATTEMPTED`: Operation not attempted.
OperationNotAttempted = 55;
/// `KAFKA_STORAGE_ERROR`: Disk error when trying to access log file on the disk.
KafkaStorageError = 56;
/// `LOG_DIR_NOT_FOUND`: The user-specified log directory is not found in the broker config.
LogDirNotFound = 57;
/// `SASL_AUTHENTICATION_FAILED`: SASL Authentication failed.
SaslAuthenticationFailed = 58;
/// `UNKNOWN_PRODUCER_ID`: Unknown Producer Id.
UnknownProducerId = 59;
/// `REASSIGNMENT_IN_PROGRESS`: Partition reassignment is in progress.
ReassignmentInProgress = 60;
/// `DELEGATION_TOKEN_AUTH_DISABLED`: Delegation Token feature is not enabled.
DelegationTokenAuthDisabled = 61;
/// `DELEGATION_TOKEN_NOT_FOUND`: Delegation Token is not found on server.
DelegationTokenNotFound = 62;
/// `DELEGATION_TOKEN_OWNER_MISMATCH`: Specified Principal is not valid Owner/Renewer.
DelegationTokenOwnerMismatch = 63;
/// `DELEGATION_TOKEN_REQUEST_NOT_ALLOWED`: Delegation Token requests are not allowed on this connection.
DelegationTokenRequestNotAllowed = 64;
/// `DELEGATION_TOKEN_AUTHORIZATION_FAILED`: Delegation Token authorization failed.
DelegationTokenAuthorizationFailed = 65;
/// `DELEGATION_TOKEN_EXPIRED`: Delegation Token is expired.
DelegationTokenExpired = 66;
/// `INVALID_PRINCIPAL_TYPE`: Supplied principalType is not supported.
InvalidPrincipalType = 67;
/// `NON_EMPTY_GROUP`: The group is not empty.
NonEmptyGroup = 68;
/// `GROUP_ID_NOT_FOUND`: The group id does not exist.
GroupIdNotFound = 69;
/// `FETCH_SESSION_ID_NOT_FOUND`: The fetch session ID was not found.
FetchSessionIdNotFound = 70;
/// `INVALID_FETCH_SESSION_EPOCH`: The fetch session epoch is invalid.
InvalidFetchSessionEpoch = 71;
/// `LISTENER_NOT_FOUND`: No matching listener.
ListenerNotFound = 72;
/// `TOPIC_DELETION_DISABLED`: Topic deletion is disabled.
TopicDeletionDisabled = 73;
/// `FENCED_LEADER_EPOCH`: Leader epoch is older than broker epoch.
FencedLeaderEpoch = 74;
/// `UNKNOWN_LEADER_EPOCH`: Leader epoch is newer than broker epoch.
UnknownLeaderEpoch = 75;
/// `UNSUPPORTED_COMPRESSION_TYPE`: Unsupported compression type.
UnsupportedCompressionType = 76;
/// `STALE_BROKER_EPOCH`: Broker epoch has changed.
StaleBrokerEpoch = 77;
/// `OFFSET_NOT_AVAILABLE`: Leader high watermark is not caught up.
OffsetNotAvailable = 78;
/// `MEMBER_ID_REQUIRED`: Group member needs a valid member ID.
MemberIdRequired = 79;
/// `PREFERRED_LEADER_NOT_AVAILABLE`: Preferred leader was not available.
PreferredLeaderNotAvailable = 80;
/// `GROUP_MAX_SIZE_REACHED`: Consumer group has reached maximum size.
GroupMaxSizeReached = 81;
/// `FENCED_INSTANCE_ID`: Static consumer fenced by other consumer with same group.instance.id.
FencedInstanceId = 82;
/// `ELIGIBLE_LEADERS_NOT_AVAILABLE`: Eligible partition leaders are not available.
EligibleLeadersNotAvailable = 83;
/// `ELECTION_NOT_NEEDED`: Leader election not needed for topic partition.
ElectionNotNeeded = 84;
/// `NO_REASSIGNMENT_IN_PROGRESS`: No partition reassignment is in progress.
NoReassignmentInProgress = 85;
/// `GROUP_SUBSCRIBED_TO_TOPIC`: Deleting offsets of a topic while the consumer group is subscribed
/// to it.
GroupSubscribedToTopic = 86;
/// `INVALID_RECORD`: Broker failed to validate record.
InvalidRecord = 87;
/// `UNSTABLE_OFFSET_COMMIT`: There are unstable offsets that need to be cleared.
UnstableOffsetCommit = 88;
/// `THROTTLING_QUOTA_EXCEEDED`: Throttling quota has been exceeded.
ThrottlingQuotaExceeded = 89;
/// `PRODUCER_FENCED`: There is a newer producer with the same transactional id, which fences the
/// current one. Or its transaction timed out: see [`is_fenced`](crate::KafkaError::is_fenced).
ProducerFenced = 90;
/// `RESOURCE_NOT_FOUND`: Request illegally referred to resource that does not exist.
ResourceNotFound = 91;
/// `DUPLICATE_RESOURCE`: Request illegally referred to the same resource twice.
DuplicateResource = 92;
/// `UNACCEPTABLE_CREDENTIAL`: Requested credential would not meet criteria for acceptability.
UnacceptableCredential = 93;
/// `INCONSISTENT_VOTER_SET`: Either the sender or the recipient of a voter-only request is not one
/// of the expected voters.
InconsistentVoterSet = 94;
/// `INVALID_UPDATE_VERSION`: Invalid update version.
InvalidUpdateVersion = 95;
/// `FEATURE_UPDATE_FAILED`: Unable to update finalized features due to server error.
FeatureUpdateFailed = 96;
/// `PRINCIPAL_DESERIALIZATION_FAILURE`: Request principal deserialization failed during forwarding.
PrincipalDeserializationFailure = 97;
/// `UNKNOWN_TOPIC_ID`: Unknown Topic Id.
UnknownTopicId = 100;
/// `FENCED_MEMBER_EPOCH`: The member epoch is fenced by the group coordinator.
FencedMemberEpoch = 110;
/// `UNRELEASED_INSTANCE_ID`: The instance ID is still used by another member in the consumer group.
UnreleasedInstanceId = 111;
/// `UNSUPPORTED_ASSIGNOR`: The assignor or its version range is not supported by the consumer group.
UnsupportedAssignor = 112;
/// `STALE_MEMBER_EPOCH`: The member epoch is stale.
StaleMemberEpoch = 113;
/// `UNKNOWN_SUBSCRIPTION_ID`: Client sent a push telemetry request with an invalid or outdated
/// subscription ID.
UnknownSubscriptionId = 117;
/// `TELEMETRY_TOO_LARGE`: Client sent a push telemetry request larger than the maximum size the
/// broker will accept.
TelemetryTooLarge = 118;
/// `REBOOTSTRAP_REQUIRED`: Client metadata is stale: the client should rebootstrap to obtain new
/// metadata.
RebootstrapRequired = 129;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_code_has_a_name_and_a_description_in_librdkafka() {
        assert!(KNOWN.len() > 150);
        for &(constant, raw) in KNOWN {
            let code = RDKafkaErrorCode::from(raw);
            assert!(!code.name().starts_with("ERR_"), "{constant}: {code:?}");
            assert!(!code.description().is_empty(), "{constant}");
        }
    }

    #[test]
    fn an_unknown_code_is_carried_through() {
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
