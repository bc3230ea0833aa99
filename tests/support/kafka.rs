//! A real cluster: topics, and reading back by rdkafka's consumer.

use std::env;
use std::io::Write as _;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::TopicPartitionList;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedMessage;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;
use tokio_rdkafka::ClientConfig;

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Which messages a consumer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    Committed,
    /// Whatever is in the log.
    Uncommitted,
}

/// A message that was read back.
pub type Read = OwnedMessage;

/// The cluster that `tests/with-kafka` started, or that the user named.
#[derive(Clone, Debug)]
pub struct Cluster {
    bootstrap_servers: String,
}

struct Partition {
    id: i32,
    leader: i32,
    in_sync: usize,
}

/// What a broker answers that may not know a new topic, or a new coordinator, yet.
fn until_known<T>(ask: impl Fn() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(started.elapsed() < DEADLINE, "{error}"),
        }
    }
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
        Self::nodectl(action, id);
    }

    /// Gives a user, also a new one, a password for SCRAM-SHA-512. Brokers know it a moment later.
    pub fn set_password(user: &str, password: &str) {
        let nodectl = env::var_os("KAFKA_NODECTL").expect("a cluster of our own");
        let mut child = Command::new(nodectl)
            .args(["password", "1", user])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nodectl runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        writeln!(stdin, "{password}").expect("nodectl reads");
        drop(stdin);
        let status = child.wait().expect("nodectl ends");
        assert!(status.success(), "nodectl password");
    }

    fn nodectl(action: &str, id: i32) -> String {
        let nodectl = env::var_os("KAFKA_NODECTL").expect("a cluster of our own");
        let output = Command::new(nodectl)
            .arg(action)
            .arg(id.to_string())
            .stderr(Stdio::inherit())
            .output()
            .expect("nodectl runs");
        assert!(output.status.success(), "nodectl {action} {id}");
        String::from_utf8(output.stdout).expect("text")
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
        let topic = Self::new_name();
        self.create_topic_named(&topic, partitions, replicas).await;
        topic
    }

    /// A name that no topic has.
    pub fn new_name() -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Ids of processes come again.
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().expect("a time");
        let (id, micros) = (process::id(), since_epoch.as_micros());
        format!("test-{id}-{micros}-{number}")
    }

    /// Makes a topic of that name.
    pub async fn create_topic_named(&self, topic: &str, partitions: i32, replicas: i32) {
        self.create_topic_with(topic, partitions, replicas, &[])
            .await;
    }

    /// Adds partitions to a topic, up to that number.
    pub async fn add_partitions(&self, topic: &str, partitions: usize) {
        let new = NewPartitions::new(topic, partitions);
        let added = self
            .admin()
            .create_partitions([&new], &Self::admin_options())
            .await
            .expect("an answer");
        for result in added {
            result.expect("partitions");
        }
    }

    /// Makes a topic of that name with configuration properties of its own.
    pub async fn create_topic_with(
        &self,
        topic: &str,
        partitions: i32,
        replicas: i32,
        properties: &[(&str, &str)],
    ) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
        for (property, value) in properties {
            new = new.set(property, value);
        }
        let created = self
            .admin()
            .create_topics(&[new], &Self::admin_options())
            .await
            .expect("an answer");
        for result in created {
            match result {
                // The request may have been sent twice.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// Sets a property of a topic, and clears its others.
    pub async fn set_property(&self, topic: &str, property: &str, value: &str) {
        let topic = ResourceSpecifier::Topic(topic);
        let change = AlterConfig::new(topic).set(property, value);
        let altered = self
            .admin()
            .alter_configs([&change], &Self::admin_options())
            .await
            .expect("an answer");
        for result in altered {
            result.expect("a property");
        }
    }

    /// Deletes a topic; brokers may take a moment longer to notice.
    pub async fn delete_topic(&self, topic: &str) {
        let deleted = self
            .admin()
            .delete_topics(&[topic], &Self::admin_options())
            .await
            .expect("an answer");
        deleted
            .into_iter()
            .for_each(|result| drop(result.expect("a topic to delete")));
    }

    /// Deletes a group, once it has no members any more.
    pub async fn delete_group(&self, group: &str) {
        let started = Instant::now();
        loop {
            let options = Self::admin_options();
            let deleted = self.admin().delete_groups(&[group], &options).await;
            match deleted.expect("an answer").remove(0) {
                Ok(_) => return,
                Err((_, RDKafkaErrorCode::NonEmptyGroup)) if started.elapsed() < DEADLINE => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.rdkafka().create().expect("an admin client")
    }

    fn admin_options() -> AdminOptions {
        AdminOptions::new().operation_timeout(Some(DEADLINE))
    }

    /// Reads `count` messages of a partition, from an offset on.
    pub fn read(&self, topic: &str, partition: i32, offset: i64, count: usize) -> Vec<Read> {
        let consumer = self.consumer(Isolation::Uncommitted, "tests");
        Self::read_while(&consumer, topic, partition, offset, |read| {
            read.len() < count
        })
    }

    /// The messages of a partition that are seen in that isolation, up to a last one.
    pub fn read_until(
        &self,
        topic: &str,
        partition: i32,
        isolation: Isolation,
        is_last: impl Fn(&Read) -> bool,
    ) -> Vec<Read> {
        let consumer = self.consumer(isolation, "tests");
        Self::read_while(&consumer, topic, partition, 0, |read| {
            !read.last().is_some_and(&is_last)
        })
    }

    fn read_while(
        consumer: &BaseConsumer,
        topic: &str,
        partition: i32,
        offset: i64,
        is_open: impl Fn(&[Read]) -> bool,
    ) -> Vec<Read> {
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, partition, Offset::Offset(offset))
            .expect("a valid offset");
        consumer.assign(&assignment).expect("an assignment");
        let started = Instant::now();
        let mut read = Vec::new();
        while is_open(&read) {
            assert!(
                started.elapsed() < DEADLINE,
                "{} messages in time",
                read.len()
            );
            // Errors are of connections, for instance to a node that was killed: it goes on.
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                read.push(message.detach());
            }
        }
        read
    }

    /// The offset and metadata that a group has committed for each partition of a topic.
    pub fn committed(
        &self,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> Vec<Option<(i64, String)>> {
        // In the other isolation it would wait for the end of open transactions.
        let consumer = self.consumer(Isolation::Uncommitted, group);
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        // The group's coordinator may move.
        let committed = until_known(|| {
            let offsets = consumer.committed_offsets(asked.clone(), DEADLINE);
            offsets.map_err(|error| error.to_string())
        });
        let mut found: Vec<_> = (0..partitions).map(|_| None).collect();
        for element in committed.elements() {
            if let Offset::Offset(offset) = element.offset() {
                let place = usize::try_from(element.partition()).expect("a partition");
                found[place] = Some((offset, element.metadata().to_owned()));
            }
        }
        found
    }

    /// Waits for what `committed` gives: the offsets of a transaction are seen behind its marker,
    /// which may be a moment behind the answer to the commit.
    pub fn until_committed(&self, group: &str, topic: &str, expected: &[Option<(i64, String)>]) {
        let partitions = i32::try_from(expected.len()).expect("partitions");
        let started = Instant::now();
        loop {
            let committed = self.committed(group, topic, partitions);
            if committed == expected {
                return;
            }
            assert!(
                started.elapsed() < DEADLINE,
                "{committed:?} in place of {expected:?}"
            );
        }
    }

    /// Everything that is in a partition.
    pub fn read_all(&self, topic: &str, partition: i32) -> Vec<Read> {
        let end = self.end(topic, partition);
        self.read(
            topic,
            partition,
            0,
            usize::try_from(end).expect("an offset"),
        )
    }

    /// The offset behind the last message.
    pub fn end(&self, topic: &str, partition: i32) -> i64 {
        let consumer = self.consumer(Isolation::Uncommitted, "tests");
        let (_, end) = until_known(|| {
            let offsets = consumer.fetch_watermarks(topic, partition, DEADLINE);
            offsets.map_err(|error| error.to_string())
        });
        end
    }

    /// The offset behind the last message that no open transaction keeps back.
    pub fn last_stable(&self, topic: &str, partition: i32) -> i64 {
        let consumer = self.consumer(Isolation::Committed, "tests");
        let (_, end) = until_known(|| {
            let offsets = consumer.fetch_watermarks(topic, partition, DEADLINE);
            offsets.map_err(|error| error.to_string())
        });
        end
    }

    pub fn leader(&self, topic: &str, partition: i32) -> i32 {
        self.partition(topic, partition).leader
    }

    /// The node that coordinates what has this key, by the topic of the coordinators' state.
    pub fn coordinator(&self, topic: &str, key: &str) -> i32 {
        let partitions = self.partitions(topic);
        // As Java's String::hashCode has it, of ASCII.
        let hash = key.bytes().fold(0_i32, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(i32::from(byte))
        });
        let count = i32::try_from(partitions.len()).expect("a count");
        let id = (hash & i32::MAX) % count;
        let mut found = partitions.into_iter().filter(|found| found.id == id);
        found.next().expect("the partition").leader
    }

    /// How many replicas are in sync.
    pub fn in_sync(&self, topic: &str, partition: i32) -> usize {
        self.partition(topic, partition).in_sync
    }

    /// The port of a node.
    pub fn port(node: i32) -> u16 {
        Self::nodectl("port", node).trim().parse().expect("a port")
    }

    /// Whether all replicas of every partition are in sync, as this node sees it: one that has just
    /// been started knows that it was out, where others may not know it yet.
    pub fn is_whole_for(&self, node: i32, topic: &str) -> bool {
        let port = Self::nodectl("port", node);
        let consumer: BaseConsumer = self
            .rdkafka()
            .set("bootstrap.servers", format!("127.0.0.1:{}", port.trim()))
            .create()
            .expect("a consumer");
        // An error is of the node, which may still be coming up: not whole yet.
        consumer
            .fetch_metadata(Some(topic), Duration::from_secs(5))
            .is_ok_and(|metadata| {
                let partitions = metadata.topics()[0].partitions();
                let mut in_sync = partitions
                    .iter()
                    .map(|found| found.isr().len() == found.replicas().len());
                !partitions.is_empty() && in_sync.all(|is_whole| is_whole)
            })
    }

    fn partition(&self, topic: &str, partition: i32) -> Partition {
        let mut partitions = self.partitions(topic).into_iter();
        let found = partitions.find(|found| found.id == partition);
        found.expect("the partition")
    }

    /// Those of a topic that is there.
    fn partitions(&self, topic: &str) -> Vec<Partition> {
        let consumer = self.consumer(Isolation::Uncommitted, "tests");
        until_known(|| {
            let metadata = consumer
                .fetch_metadata(Some(topic), DEADLINE)
                .map_err(|error| error.to_string())?;
            let partitions = metadata.topics()[0].partitions().iter();
            let partitions: Vec<_> = partitions
                .map(|found| Partition {
                    id: found.id(),
                    leader: found.leader(),
                    in_sync: found.isr().len(),
                })
                .collect();
            let is_known = !partitions.is_empty();
            is_known.then_some(partitions).ok_or("none yet".to_owned())
        })
    }

    fn consumer(&self, isolation: Isolation, group: &str) -> BaseConsumer {
        let isolation = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        self.rdkafka()
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", isolation)
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
