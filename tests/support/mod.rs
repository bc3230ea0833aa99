//! A real cluster: topics, and reading back by rdkafka's consumer.

use std::env;
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedMessage;
use rdkafka::topic_partition_list::Offset;
use tokio_rdkafka::ClientConfig;

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// A message that was read back.
pub type Read = OwnedMessage;

/// The cluster that `tests/with-kafka` started, or that the user named.
#[derive(Debug)]
pub struct Cluster {
    bootstrap_servers: String,
}

impl Cluster {
    pub fn is_there() -> bool {
        env::var_os("KAFKA_BOOTSTRAP_SERVERS").is_some()
    }

    pub fn has_nodes_to_kill() -> bool {
        Self::is_there() && env::var_os("KAFKA_NODECTL").is_some()
    }

    pub fn from_env() -> Self {
        let bootstrap_servers = env::var("KAFKA_BOOTSTRAP_SERVERS").expect("a cluster");
        Self { bootstrap_servers }
    }

    /// Stops, kills or starts a node; returns when that is done.
    pub fn node(action: &str, id: i32) {
        let nodectl = env::var_os("KAFKA_NODECTL").expect("a cluster of our own");
        let status = Command::new(nodectl)
            .arg(action)
            .arg(id.to_string())
            .status();
        assert!(
            status.expect("nodectl runs").success(),
            "nodectl {action} {id}"
        );
    }

    /// The configuration of a producer.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("linger.ms", "0");
        config
    }

    /// A new topic with a name of its own.
    pub async fn create_topic(&self, partitions: i32, replicas: i32) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let topic = format!("test-{}-{number}", process::id());
        let admin: AdminClient<DefaultClientContext> =
            self.rdkafka().create().expect("an admin client");
        let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(replicas));
        let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
        let created = admin
            .create_topics(&[new], &options)
            .await
            .expect("an answer");
        created
            .into_iter()
            .for_each(|result| drop(result.expect("a topic")));
        topic
    }

    /// So many messages of a partition, from an offset on.
    pub fn read(&self, topic: &str, partition: i32, offset: i64, count: usize) -> Vec<Read> {
        let consumer = self.consumer();
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, partition, Offset::Offset(offset))
            .expect("a valid offset");
        consumer.assign(&assignment).expect("an assignment");
        let started = Instant::now();
        let mut read = Vec::with_capacity(count);
        while read.len() < count {
            assert!(
                started.elapsed() < DEADLINE,
                "{} of {count} messages in time",
                read.len()
            );
            // Errors are of connections, for instance to a node that was killed: it goes on.
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                read.push(message.detach());
            }
        }
        read
    }

    /// The offset behind the last message.
    pub fn end(&self, topic: &str, partition: i32) -> i64 {
        let (_, end) = self
            .consumer()
            .fetch_watermarks(topic, partition, DEADLINE)
            .expect("the partition's offsets");
        end
    }

    pub fn leader(&self, topic: &str, partition: i32) -> i32 {
        self.partition(topic, partition).0
    }

    /// How many replicas are in sync.
    pub fn in_sync(&self, topic: &str, partition: i32) -> usize {
        self.partition(topic, partition).1
    }

    fn partition(&self, topic: &str, partition: i32) -> (i32, usize) {
        let metadata = self
            .consumer()
            .fetch_metadata(Some(topic), DEADLINE)
            .expect("metadata");
        let mut partitions = metadata.topics()[0].partitions().iter();
        let found = partitions
            .find(|found| found.id() == partition)
            .expect("the partition");
        (found.leader(), found.isr().len())
    }

    fn consumer(&self) -> BaseConsumer {
        self.rdkafka()
            .set("group.id", "tests")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .create()
            .expect("a consumer")
    }

    fn rdkafka(&self) -> rdkafka::ClientConfig {
        let mut config = rdkafka::ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("log_level", "3");
        config
    }
}
