//! A Kafka cluster inside the process, for tests and examples.

use std::fmt;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::api_key::ApiKey;
use super::conf::conf;
use super::records;
use super::request::MockRequest;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi;
use crate::message::OwnedMessage;

/// The time limit of [`MockCluster::records`].
const RECORDS_LIMIT: Duration = Duration::from_secs(30);

/// The configuration of the client on which the mock runs. The client connects to no broker.
const CONFIG: &[(&str, &str)] = &[
    ("client.id", "tokio-rdkafka-mock"),
    ("enable.metrics.push", "false"),
    // Errors: requests that the mock cannot parse or does not support, failures to open a socket.
    ("log_level", "3"),
];

/// A Kafka cluster inside the process, for tests and examples.
///
/// It runs librdkafka's mock brokers, which listen on ports of the loopback interface. Any client
/// can connect to its [`bootstrap_servers`](Self::bootstrap_servers). The brokers have the ids 1, 2
/// and so on. [`create_topic`](Self::create_topic) creates a topic; a producer that asks for a
/// topic also creates it, with four partitions. Threads can share a cluster.
///
/// ```
/// use tokio_rdkafka::{ApiKey, MockCluster, RDKafkaErrorCode};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = MockCluster::new(3)?;
/// cluster.create_topic("events", 1, 3)?;
///
/// // The next Produce request fails, the one after it is served.
/// cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::NotEnoughReplicas]);
///
/// // The `bootstrap.servers` for a producer.
/// println!("listening on {}", cluster.bootstrap_servers());
///
/// // No record has arrived yet.
/// assert!(cluster.records("events").await?.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// # What it does not check
///
/// - It checks sequence numbers of transactional producers only. From other producers it appends a
///   batch that is out of order or that it already has. So it shows neither the order nor the
///   duplicates that a broker prevents with `enable.idempotence`, and an error of a sequence comes
///   only if it is pushed.
/// - It validates no records: no keys of compacted topics, no timestamps, no `max.message.bytes`.
/// - What a producer reports as persisted need not be in its log. With `enable.idempotence`
///   librdkafka takes a batch for written once the mock accepts a later one, as a real broker mostly
///   would refuse that (`rd_kafka_dr_implicit_ack`). The delivery is
///   [`PossiblyPersisted`](crate::Persistence::PossiblyPersisted) then. After a pushed
///   [`DuplicateSequenceNumber`](RDKafkaErrorCode::DuplicateSequenceNumber) it is `Persisted`.
///
/// Test these on real Kafka.
///
/// # Blocking
///
/// Most methods wait for the mock's thread, usually one or two milliseconds. On a machine under
/// load a call may rarely take a second, because librdkafka may miss a wake-up.
///
/// Dropping the cluster closes all connections and blocks until librdkafka's threads have
/// terminated.
/// Clients may still be connected; for them all brokers are down.
///
/// # Differences from a real cluster
///
/// The mock implements the protocol, but not all that a broker does (librdkafka 2.12.1):
///
/// - **Threads.** It has one thread, which competes with the code under test for processor time.
/// - **Retention.** A partition keeps its newest 5 MiB or 100 000 batches, whichever is less.
/// - **Replication.** A partition has one log, whatever its replication factor. `acks` is ignored:
///   a batch is acknowledged once it is appended. Topics have no properties such as
///   `min.insync.replicas`.
/// - **Timestamps.** The timestamp of a delivery is always
///   [`LogAppendTime(1234)`](crate::Timestamp::LogAppendTime). The record in the log keeps the
///   producer's timestamp.
/// - **Transactions.** Commit and abort write no markers. Consumers see the records of open and
///   aborted transactions at any isolation level. Offsets that a transaction commits are dropped.
/// - **Fencing.** Each producer gets a new producer id, so a second producer with the same
///   `transactional.id` does not fence the first. To test fencing, call
///   `request_errors(ApiKey::EndTxn, &[RDKafkaErrorCode::ProducerFenced])`: the next commit or
///   abort of a transaction with records then fails as [fenced](KafkaError::is_fenced).
/// - **Admin requests.** It supports none.
/// - **Protocol.** It supports neither TLS nor SASL, and only record batches of version 2. It
///   offers Produce up to version 9 and Fetch up to version 11. librdkafka's handlers of newer
///   versions dereference NULL for a partition without a leader. So its answer "not the leader"
///   does not name the leader (KIP-951), and clients have to ask for it.
///
/// Source: `rd_kafka_mock_cluster_new` and the other functions of rdkafka_mock.h, which librdkafka
/// calls experimental.
pub struct MockCluster {
    inner: ffi::mock::Cluster,
}

impl MockCluster {
    /// Starts a cluster with 1 to 100 brokers.
    ///
    /// If the process has no file descriptors left for sockets, librdkafka aborts it.
    ///
    /// # Errors
    ///
    /// Returns [`RDKafkaErrorCode::InvalidArgument`] if `brokers` is not between 1 and 100. Returns
    /// [`RDKafkaErrorCode::Fail`] if librdkafka cannot create its client or start the cluster.
    pub fn new(brokers: i32) -> Result<Self, KafkaError> {
        let inner = ffi::mock::Cluster::new(brokers, conf(CONFIG)?)?;
        Ok(Self { inner })
    }

    /// Returns the brokers' addresses, for a client's `bootstrap.servers`. They never change.
    pub fn bootstrap_servers(&self) -> String {
        self.inner.bootstrap().to_owned()
    }

    /// Creates a topic.
    ///
    /// A `replication_factor` above the number of brokers counts as that number. The leader of each
    /// partition is one of its replicas, chosen at random; choose another with
    /// [`partition_leader`](Self::partition_leader).
    ///
    /// # Errors
    ///
    /// - [`RDKafkaErrorCode::TopicAlreadyExists`] if the topic exists.
    /// - [`RDKafkaErrorCode::InvalidArgument`] if the name is not valid, `partitions` is not
    ///   between 1 and 100 000, or `replication_factor` is less than 1. A valid name has 1 to 249
    ///   bytes and no NUL byte.
    pub fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        replication_factor: i32,
    ) -> Result<(), KafkaError> {
        self.inner
            .create_topic(topic, partitions, replication_factor)
    }

    /// Sets the error that the cluster reports for a topic: in metadata, and when a transaction
    /// adds partitions of the topic.
    ///
    /// [`RDKafkaErrorCode::NoError`] removes it. Creates the topic if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns [`RDKafkaErrorCode::InvalidArgument`] if the name is not valid.
    pub fn topic_error(&self, topic: &str, error: RDKafkaErrorCode) -> Result<(), KafkaError> {
        self.inner.set_topic_error(topic, error.raw())
    }

    /// Pushes errors with which the cluster answers the next requests of a kind.
    ///
    /// Each error answers one request, in the order given, whichever broker receives it. Later
    /// requests are served. Calling it again appends to the errors that are left.
    ///
    /// - [`RDKafkaErrorCode::NoError`] serves the request.
    /// - [`RDKafkaErrorCode::BrokerTransportFailure`] closes the connection without an answer.
    /// - A Produce request that gets an error appends nothing.
    ///
    /// The errors have no effect on [`ApiKey::Metadata`]; use [`topic_error`](Self::topic_error).
    /// They have no effect on a broker for which
    /// [`broker_request_errors`](Self::broker_request_errors) was called for the same kind.
    pub fn request_errors(&self, api_key: ApiKey, errors: &[RDKafkaErrorCode]) {
        let codes: Vec<i32> = errors.iter().map(|error| error.raw()).collect();
        self.inner.push_request_errors(api_key.raw(), &codes);
    }

    /// Removes the errors of [`request_errors`](Self::request_errors) that are left for a kind of
    /// request.
    pub fn clear_request_errors(&self, api_key: ApiKey) {
        self.inner.clear_request_errors(api_key.raw());
    }

    /// Pushes errors with which one broker answers its next requests of a kind, each with an
    /// optional delay.
    ///
    /// Later requests are served. With [`RDKafkaErrorCode::NoError`] the request is served, and
    /// only its answer is delayed. A delay adds to the
    /// [`broker_round_trip_time`](Self::broker_round_trip_time), and also delays later answers on
    /// the same connection.
    ///
    /// From the first call on, [`request_errors`](Self::request_errors) has no effect on this
    /// broker for that kind of request.
    ///
    /// # Errors
    ///
    /// Returns [`RDKafkaErrorCode::BrokerNotAvailable`] if there is no such broker.
    pub fn broker_request_errors(
        &self,
        broker_id: i32,
        api_key: ApiKey,
        errors: &[(RDKafkaErrorCode, Option<Duration>)],
    ) -> Result<(), KafkaError> {
        let errors = errors
            .iter()
            .map(|&(error, delay)| (error.raw(), delay.unwrap_or_default()));
        self.inner
            .push_broker_request_errors(broker_id, api_key.raw(), errors)
    }

    /// Delays every answer of a broker, or of all brokers if `broker_id` is −1.
    ///
    /// The delay is rounded up to whole milliseconds.
    ///
    /// # Errors
    ///
    /// Returns [`RDKafkaErrorCode::BrokerNotAvailable`] if there is no such broker.
    pub fn broker_round_trip_time(
        &self,
        broker_id: i32,
        delay: Duration,
    ) -> Result<(), KafkaError> {
        self.inner.set_broker_rtt(broker_id, delay)
    }

    /// Closes the connections of a broker and refuses new ones. A `broker_id` of −1 means all
    /// brokers.
    ///
    /// Partitions keep their leader. librdkafka closes the broker's port and binds it again, to
    /// keep it for [`broker_up`](Self::broker_up). If another process binds it in between,
    /// librdkafka aborts this process.
    ///
    /// # Errors
    ///
    /// Returns [`RDKafkaErrorCode::BrokerNotAvailable`] if there is no such broker.
    pub fn broker_down(&self, broker_id: i32) -> Result<(), KafkaError> {
        self.inner.set_broker_up(broker_id, false)
    }

    /// Lets a broker accept connections again, or all brokers if `broker_id` is −1.
    ///
    /// # Errors
    ///
    /// Returns [`RDKafkaErrorCode::BrokerNotAvailable`] if there is no such broker.
    pub fn broker_up(&self, broker_id: i32) -> Result<(), KafkaError> {
        self.inner.set_broker_up(broker_id, true)
    }

    /// Removes a broker from the cluster for good.
    ///
    /// The metadata no longer lists it. Other brokers become the leaders of its partitions, and the
    /// coordinators of its consumer groups and transactional ids.
    ///
    /// # Errors
    ///
    /// Returns [`RDKafkaErrorCode::BrokerNotAvailable`] if there is no such broker, and
    /// [`RDKafkaErrorCode::InvalidArgument`] if it is the last one.
    pub fn broker_decommission(&self, broker_id: i32) -> Result<(), KafkaError> {
        self.inner.remove_broker(broker_id)
    }

    /// Sets the rack of a broker in the metadata, or of all brokers if `broker_id` is −1.
    ///
    /// # Errors
    ///
    /// Returns [`RDKafkaErrorCode::BrokerNotAvailable`] if there is no such broker, and
    /// [`RDKafkaErrorCode::InvalidArgument`] if the rack contains a NUL byte.
    pub fn broker_rack(&self, broker_id: i32, rack: &str) -> Result<(), KafkaError> {
        self.inner.set_broker_rack(broker_id, rack)
    }

    /// Makes a broker the leader of a partition. With `None` the partition has no leader.
    ///
    /// A topic that does not exist is created, with the partitions 0 to `partition`.
    ///
    /// # Errors
    ///
    /// - [`RDKafkaErrorCode::UnknownTopicOrPartition`] if the topic has no such partition.
    /// - [`RDKafkaErrorCode::BrokerNotAvailable`] if there is no such broker.
    /// - [`RDKafkaErrorCode::InvalidArgument`] if the name is not valid, or the partition is not
    ///   between 0 and 99 999.
    pub fn partition_leader(
        &self,
        topic: &str,
        partition: i32,
        broker_id: Option<i32>,
    ) -> Result<(), KafkaError> {
        self.inner.set_partition_leader(topic, partition, broker_id)
    }

    /// Makes the leader of a partition redirect consumers to another broker. A `broker_id` of −1
    /// ends that.
    ///
    /// A topic that does not exist is created, with the partitions 0 to `partition`. The broker
    /// need not exist; but then consumers cannot fetch, and [`records`](Self::records) times out.
    ///
    /// # Errors
    ///
    /// - [`RDKafkaErrorCode::UnknownTopicOrPartition`] if the topic has no such partition.
    /// - [`RDKafkaErrorCode::InvalidArgument`] if the name is not valid, or the partition is not
    ///   between 0 and 99 999.
    pub fn partition_follower(
        &self,
        topic: &str,
        partition: i32,
        broker_id: i32,
    ) -> Result<(), KafkaError> {
        self.inner
            .set_partition_follower(topic, partition, broker_id)
    }

    /// Makes a broker the coordinator of a consumer group or a transactional id.
    ///
    /// By default a hash of the name decides.
    ///
    /// # Errors
    ///
    /// Returns [`RDKafkaErrorCode::BrokerNotAvailable`] if there is no such broker, and
    /// [`RDKafkaErrorCode::InvalidArgument`] if the name contains a NUL byte.
    pub fn coordinator(
        &self,
        coordinator: MockCoordinator,
        broker_id: i32,
    ) -> Result<(), KafkaError> {
        use ffi::mock::CoordinatorKind;
        let (kind, key) = match &coordinator {
            MockCoordinator::Transaction(key) => (CoordinatorKind::Transaction, key),
            MockCoordinator::Group(key) => (CoordinatorKind::Group, key),
        };
        self.inner.set_coordinator(kind, key, broker_id)
    }

    /// Starts to record requests, and deletes those recorded before. [`requests`](Self::requests)
    /// returns them.
    pub fn start_request_tracking(&self) {
        self.inner.start_request_tracking();
    }

    /// Stops recording requests and deletes those recorded. Call [`requests`](Self::requests)
    /// first.
    pub fn stop_request_tracking(&self) {
        self.inner.stop_request_tracking();
    }

    /// Returns the requests since [`start_request_tracking`](Self::start_request_tracking), in the
    /// order of their arrival. Without that call the list is empty.
    ///
    /// A request is recorded before it is answered. Once a record has been delivered, the list
    /// contains its Produce request.
    pub fn requests(&self) -> Vec<MockRequest> {
        let requests = self.inner.requests();
        requests.into_iter().map(MockRequest).collect()
    }

    /// Returns the records that a topic contains now, ordered by partition, then by offset.
    ///
    /// The result includes the records of open and aborted transactions. It lacks those that the
    /// cluster no longer retains.
    ///
    /// Each call creates a consumer on a thread of its own and takes some milliseconds. The
    /// consumer's requests (ApiVersion, Metadata, ListOffsets, Fetch) are treated as any others:
    /// they are recorded by request tracking, and get pushed errors and delays.
    ///
    /// # Errors
    ///
    /// - [`RDKafkaErrorCode::UnknownTopicOrPartition`] if the topic does not exist. It is not
    ///   created.
    /// - The error that [`topic_error`](Self::topic_error) has set.
    /// - [`RDKafkaErrorCode::LeaderNotAvailable`] if a partition has no leader, or its leader is
    ///   down.
    /// - [`RDKafkaErrorCode::OperationTimedOut`] or a similar code if the call takes more than 30
    ///   seconds.
    /// - [`RDKafkaErrorCode::InvalidArgument`] if the name is not valid.
    /// - Any other error that a consumer does not retry.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing, and its thread ends by itself.
    pub async fn records(&self, topic: &str) -> Result<Vec<OwnedMessage>, KafkaError> {
        let (sender, receiver) = oneshot::channel();
        let bootstrap_servers = self.bootstrap_servers();
        let topic = topic.to_owned();
        thread::Builder::new()
            .name("kafka-mock-read".to_owned())
            .spawn(move || {
                let is_cancelled = || sender.is_closed();
                let result =
                    records::read(&bootstrap_servers, &topic, RECORDS_LIMIT, &is_cancelled);
                // Fails if the future has been dropped.
                let _ = sender.send(result);
            })
            .map_err(KafkaError::no_thread)?;
        receiver.await.unwrap_or_else(|_| {
            Err(KafkaError::runtime(
                "the thread that reads the records panicked",
            ))
        })
    }
}

impl fmt::Debug for MockCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockCluster")
            .field("bootstrap_servers", &self.inner.bootstrap())
            .finish_non_exhaustive()
    }
}

/// Selects the coordinator that [`MockCluster::coordinator`] sets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MockCoordinator {
    /// The coordinator of a `transactional.id`.
    Transaction(String),
    /// The coordinator of a consumer group, by its `group.id`.
    Group(String),
}

const _: () = {
    const fn check<T: Send + Sync>() {}
    check::<MockCluster>();
};
