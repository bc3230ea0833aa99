//! A Kafka cluster inside the process, for tests and examples.

use std::fmt;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::api_key::ApiKey;
use super::conf::conf;
use super::records;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi;
use crate::message::OwnedMessage;

/// How long [`MockCluster::records`] may take.
const RECORDS_LIMIT: Duration = Duration::from_secs(30);

/// Of the client that the mock runs on, which connects to nothing.
const CONFIG: &[(&str, &str)] = &[
    ("client.id", "tokio-rdkafka-mock"),
    ("enable.metrics.push", "false"),
    // Errors: requests that the mock cannot parse or does not know, sockets that it does not get.
    ("log_level", "3"),
];

/// A Kafka cluster inside the process: librdkafka's mock brokers, which listen on ports of the
/// loopback interface.
///
/// Any client can use it by its [`bootstrap_servers`](Self::bootstrap_servers). It can be shared
/// between threads. Topics come into being when a producer asks for them, with four partitions, or
/// by [`create_topic`](Self::create_topic). Brokers have the ids 1, 2, and so on.
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
/// // For the `bootstrap.servers` of a producer.
/// println!("listening on {}", cluster.bootstrap_servers());
///
/// // What has arrived.
/// assert!(cluster.records("events").await?.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// Its methods wait for the mock's thread to take its turn. That takes a millisecond or two, and
/// rarely, on a machine under load, a second, as librdkafka may miss a wake-up.
///
/// # Dropping it
///
/// Dropping the cluster closes all connections to it and blocks while librdkafka's threads end. It
/// does not matter whether clients are still connected; they find that all brokers are down.
///
/// # What it does not do
///
/// It is a stand-in for the protocol, not for a broker (librdkafka 2.12.1):
///
/// - It has one thread, and takes the processor time from the code under test.
/// - A partition keeps its newest 5 MiB or 100 000 batches, whichever is less; older batches go.
/// - There is one log for each partition, whatever the replication factor. `acks` is ignored: an
///   appended batch is acknowledged at once, and `min.insync.replicas` and the like do not exist.
/// - A delivery report's timestamp is always
///   [`LogAppendTime(1234)`](crate::Timestamp::LogAppendTime); the record in the log keeps the
///   producer's.
/// - Sequence numbers are checked of transactional producers only: idempotence alone is not.
/// - Committing or aborting a transaction writes no markers, so readers see the records of open and
///   aborted transactions, whatever their isolation level; offsets committed in one are dropped.
/// - It does not fence: each init gets a producer id of its own, so where a second producer with
///   the same `transactional.id` has inited, the first one still commits. As a substitute,
///   `request_errors(ApiKey::EndTxn, &[RDKafkaErrorCode::ProducerFenced])` has the next commit or
///   abort of a transaction with records fail as [fenced](KafkaError::is_fenced).
/// - It creates, changes and describes nothing on a client's request, except topics that a producer
///   asks for: no admin requests. It knows neither TLS nor SASL, nor batches older than version 2.
/// - It offers Produce up to version 9 and Fetch up to 11, so "not the leader" does not tell who is
///   (KIP-951): a client asks for it. Of newer versions librdkafka's handlers follow the null
///   pointer of a partition that has no leader.
///
/// Source: `rd_kafka_mock_cluster_new` and what is beside it in rdkafka_mock.h, which librdkafka
/// calls experimental.
pub struct MockCluster {
    inner: ffi::mock::Cluster,
}

impl MockCluster {
    /// Starts a cluster of that many brokers, at most 100.
    ///
    /// # Errors
    ///
    /// Where `brokers` is not between 1 and 100 ([`RDKafkaErrorCode::InvalidArgument`]), or
    /// librdkafka cannot make a client. Where the process has no sockets left, librdkafka aborts it.
    pub fn new(brokers: i32) -> Result<Self, KafkaError> {
        let inner = ffi::mock::Cluster::new(brokers, conf(CONFIG)?)?;
        Ok(Self { inner })
    }

    /// The brokers' addresses, for a client's `bootstrap.servers`. They never change.
    pub fn bootstrap_servers(&self) -> String {
        self.inner.bootstrap().to_owned()
    }

    /// Creates a topic.
    ///
    /// Only as many replicas are made as there are brokers. Each partition's leader is one of its
    /// replicas, chosen at random; see [`partition_leader`](Self::partition_leader).
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::TopicAlreadyExists`], or [`RDKafkaErrorCode::InvalidArgument`] where the
    /// name is not one, `partitions` is not between 1 and 100 000, or `replication_factor` is less
    /// than 1.
    pub fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        replication_factor: i32,
    ) -> Result<(), KafkaError> {
        self.inner
            .create_topic(topic, partitions, replication_factor)
    }

    /// Has the topic reported with an error in metadata, and when partitions of it are added to a
    /// transaction; [`RDKafkaErrorCode::NoError`] ends that. Creates the topic where there is none.
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::InvalidArgument`] where the name is not one.
    pub fn topic_error(&self, topic: &str, error: RDKafkaErrorCode) -> Result<(), KafkaError> {
        self.inner.set_topic_error(topic, error.raw())
    }

    /// Has the next requests of a kind answered with these errors, in this order, by whichever
    /// broker gets them; later ones are served. Calling it again adds to what is left.
    ///
    /// [`RDKafkaErrorCode::NoError`] lets a request pass;
    /// [`RDKafkaErrorCode::BrokerTransportFailure`] closes the connection instead of an answer. A
    /// Produce request that gets an error appends nothing. The mock looks here for all kinds but
    /// [`ApiKey::Metadata`], which [`topic_error`](Self::topic_error) is for. A broker that has had
    /// [`broker_request_errors`](Self::broker_request_errors) for that kind does not.
    pub fn request_errors(&self, api_key: ApiKey, errors: &[RDKafkaErrorCode]) {
        let codes: Vec<i32> = errors.iter().map(|error| error.raw()).collect();
        self.inner.push_request_errors(api_key.raw(), &codes);
    }

    /// Forgets what is left of [`request_errors`](Self::request_errors) for that kind of request.
    pub fn clear_request_errors(&self, api_key: ApiKey) {
        self.inner.clear_request_errors(api_key.raw());
    }

    /// Has the next requests of a kind to one broker answered with these errors, each after the time
    /// given, or at once; later ones are served.
    ///
    /// From the first call on, [`request_errors`](Self::request_errors) does not concern this broker
    /// for that kind of request any more. With [`RDKafkaErrorCode::NoError`] the request is served,
    /// and only its answer delayed. The times are in addition to the
    /// [`broker_round_trip_time`](Self::broker_round_trip_time), and hold back what else the broker
    /// has to say on that connection.
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::BrokerNotAvailable`] where there is no such broker.
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

    /// Has a broker, or all with −1, answer every request only after that time, in milliseconds
    /// rounded up.
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::BrokerNotAvailable`] where there is no such broker.
    pub fn broker_round_trip_time(
        &self,
        broker_id: i32,
        delay: Duration,
    ) -> Result<(), KafkaError> {
        self.inner.set_broker_rtt(broker_id, delay)
    }

    /// Closes the connections of a broker, or of all with −1, and has new ones refused. Partitions
    /// keep their leader.
    ///
    /// The broker's port is bound anew, to keep it for [`broker_up`](Self::broker_up). librdkafka
    /// aborts the process should another one have taken it meanwhile.
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::BrokerNotAvailable`] where there is no such broker.
    pub fn broker_down(&self, broker_id: i32) -> Result<(), KafkaError> {
        self.inner.set_broker_up(broker_id, false)
    }

    /// Has a broker, or all with −1, accept connections again.
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::BrokerNotAvailable`] where there is no such broker.
    pub fn broker_up(&self, broker_id: i32) -> Result<(), KafkaError> {
        self.inner.set_broker_up(broker_id, true)
    }

    /// Removes a broker for good: it is not in the metadata any more, others lead its partitions, and
    /// what it coordinated has another coordinator.
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::BrokerNotAvailable`] where there is no such broker, and
    /// [`RDKafkaErrorCode::InvalidArgument`] where it is the last one.
    pub fn broker_decommission(&self, broker_id: i32) -> Result<(), KafkaError> {
        self.inner.remove_broker(broker_id)
    }

    /// Sets the rack of a broker, or of all with −1, that metadata tells.
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::BrokerNotAvailable`] where there is no such broker, and
    /// [`RDKafkaErrorCode::InvalidArgument`] where the rack contains a NUL byte.
    pub fn broker_rack(&self, broker_id: i32, rack: &str) -> Result<(), KafkaError> {
        self.inner.set_broker_rack(broker_id, rack)
    }

    /// Makes a broker the leader of a partition; `None` leaves it without one. A topic that does not
    /// exist is created with partitions up to this one.
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::UnknownTopicOrPartition`] where the topic has no such partition,
    /// [`RDKafkaErrorCode::BrokerNotAvailable`] where there is no such broker, and
    /// [`RDKafkaErrorCode::InvalidArgument`] where the name is not one or the partition not between
    /// 0 and 99 999.
    pub fn partition_leader(
        &self,
        topic: &str,
        partition: i32,
        broker_id: Option<i32>,
    ) -> Result<(), KafkaError> {
        self.inner.set_partition_leader(topic, partition, broker_id)
    }

    /// Has the leader of a partition send consumers to that broker; −1 ends that. A topic that does
    /// not exist is created with partitions up to this one.
    ///
    /// The broker need not exist, but then consumers are sent nowhere, and
    /// [`records`](Self::records) times out.
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::UnknownTopicOrPartition`] where the topic has no such partition, and
    /// [`RDKafkaErrorCode::InvalidArgument`] where the name is not one or the partition not between
    /// 0 and 99 999.
    pub fn partition_follower(
        &self,
        topic: &str,
        partition: i32,
        broker_id: i32,
    ) -> Result<(), KafkaError> {
        self.inner
            .set_partition_follower(topic, partition, broker_id)
    }

    /// Makes a broker the coordinator of a group or transactional id; otherwise a hash of its name
    /// decides.
    ///
    /// # Errors
    ///
    /// [`RDKafkaErrorCode::BrokerNotAvailable`] where there is no such broker, and
    /// [`RDKafkaErrorCode::InvalidArgument`] where the name contains a NUL byte.
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

    /// Keeps account of the requests that arrive from now on, until they are stopped; those before
    /// are forgotten.
    pub fn start_request_tracking(&self) {
        self.inner.start_request_tracking();
    }

    /// Keeps no account any more, and forgets what there is: call [`requests`](Self::requests)
    /// before.
    pub fn stop_request_tracking(&self) {
        self.inner.stop_request_tracking();
    }

    /// The requests since [`start_request_tracking`](Self::start_request_tracking), in the order in
    /// which they arrived; none without it.
    ///
    /// A request is in the list before its answer is on the way: once a record's delivery is known,
    /// so is its Produce request.
    pub fn requests(&self) -> Vec<MockRequest> {
        let requests = self.inner.requests();
        requests.into_iter().map(MockRequest).collect()
    }

    /// The records that are in a topic at the time of the call, by partition, then offset: those
    /// that the cluster still keeps, also of transactions that are open or were aborted.
    ///
    /// Each call makes a consumer, on a thread of its own, so it takes some milliseconds. The
    /// consumer's requests (ApiVersion, Metadata, ListOffsets, Fetch) are as everybody's: they are
    /// tracked, and get pushed errors and round-trip times.
    ///
    /// Dropping the future loses nothing; the thread ends by itself.
    ///
    /// # Errors
    ///
    /// - [`RDKafkaErrorCode::UnknownTopicOrPartition`] where there is no such topic; none is created.
    /// - The topic's [`topic_error`](Self::topic_error).
    /// - [`RDKafkaErrorCode::LeaderNotAvailable`] where a partition has no leader, or a broker that
    ///   is down.
    /// - [`RDKafkaErrorCode::OperationTimedOut`] or the like where it is not done in 30 seconds.
    /// - [`RDKafkaErrorCode::InvalidArgument`] where the name is not one.
    /// - Whatever a consumer does not try again.
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
                // Nobody may be waiting any more.
                let _ = sender.send(result);
            })
            .map_err(KafkaError::no_thread)?;
        receiver
            .await
            .unwrap_or_else(|_| Err(KafkaError::runtime("the thread that reads has panicked")))
    }
}

impl fmt::Debug for MockCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockCluster")
            .field("bootstrap_servers", &self.inner.bootstrap())
            .finish_non_exhaustive()
    }
}

/// What [`MockCluster::coordinator`] sets the coordinator of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MockCoordinator {
    /// A `transactional.id`.
    Transaction(String),
    /// A `group.id`.
    Group(String),
}

/// A request that a [`MockCluster`] got.
#[derive(Clone, Copy)]
pub struct MockRequest(ffi::mock::Request);

impl MockRequest {
    /// The broker that got it.
    pub fn broker_id(&self) -> i32 {
        self.0.broker
    }

    /// The kind of request.
    pub fn api_key(&self) -> ApiKey {
        self.0.api_key.into()
    }

    /// When it arrived, by a monotonic clock with an arbitrary start: only the time between two
    /// requests means something.
    pub fn timestamp(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.micros).unwrap_or(0))
    }
}

impl fmt::Debug for MockRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockRequest")
            .field("broker_id", &self.broker_id())
            .field("api_key", &self.api_key())
            .field("timestamp", &self.timestamp())
            .finish()
    }
}

const _: () = {
    const fn check<T: Send + Sync>() {}
    check::<MockCluster>();
};
