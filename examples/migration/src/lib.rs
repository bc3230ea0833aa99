//! What the programs of this package share: the cluster, and reading back what is in its log.
//!
//! Each program in `src/bin` runs an example of rust-rdkafka (`theirs.rs`) and its counterpart
//! (`ours.rs`), each with topics of its own, and fails if the logs differ. Without an argument it
//! uses a mock cluster; its argument is the `bootstrap.servers` of another one:
//!
//! ```sh
//! cargo run -p tokio-rdkafka-migration --bin simple_producer
//! cargo run -p tokio-rdkafka-migration --bin simple_producer localhost:9092
//! ```
//!
//! Where an example of rust-rdkafka runs without an end or for some time, it processes a fixed number
//! of messages here, and where it takes arguments, it has constants. All else is as it stands there.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Debug;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio_rdkafka::{BoxError, Headers, MockCluster, Producer, ProducerRecord};

/// The number of partitions of each topic.
pub const PARTITIONS: i32 = 3;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A mock cluster, or the one that the program's argument names.
pub struct Cluster {
    brokers: String,
    /// `None` for a real cluster.
    mock: Option<MockCluster>,
}

/// What a consumer sees of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Headers,
}

/// The records of each partition, in the order of the log.
pub type Log = BTreeMap<i32, Vec<Record>>;

impl Cluster {
    /// The cluster of the program's first argument, or a mock cluster.
    pub fn from_arguments() -> Result<Self, BoxError> {
        let mock = match env::args().nth(1) {
            Some(brokers) => {
                return Ok(Self {
                    brokers,
                    mock: None,
                });
            }
            None => MockCluster::new(3)?,
        };
        let brokers = mock.bootstrap_servers();
        Ok(Self {
            brokers,
            mock: Some(mock),
        })
    }

    /// The `bootstrap.servers`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Returns true if transactions have an effect on consumers. A mock cluster writes no markers of
    /// their ends.
    pub fn has_transactions(&self) -> bool {
        self.mock.is_none()
    }

    /// A name that nobody has used before.
    pub fn unique(&self, name: &str) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = now.map_or(0, |now| now.as_millis());
        format!("migration-{name}-{millis}-{}-{number}", process::id())
    }

    /// Creates a topic and returns its name.
    pub async fn topic(&self, name: &str) -> Result<String, BoxError> {
        let name = self.unique(name);
        if let Some(mock) = &self.mock {
            mock.create_topic(&name, PARTITIONS, 1)?;
            return Ok(name);
        }
        let admin: AdminClient<DefaultClientContext> = self.their_config().create()?;
        // −1: as many replicas as the brokers' default says.
        let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(-1));
        for result in admin.create_topics([&topic], &AdminOptions::new()).await? {
            result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
        }
        Ok(name)
    }

    /// Writes a topic of `count` records, "row 0" and so on, to partition 0.
    pub async fn filled_topic(&self, name: &str, count: usize) -> Result<String, BoxError> {
        let topic = self.topic(name).await?;
        let producer: Producer = tokio_rdkafka::ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("enable.idempotence", "true")
            .create()?;
        for number in 0..count {
            let record = ProducerRecord::to(&topic)
                .key(format!("key {number}"))
                .payload(format!("row {number}"))
                .partition(0);
            producer.enqueue_detached(record).await?;
        }
        let report = producer.close_timeout(DEADLINE).await;
        match report.failed + report.undelivered {
            0 => Ok(topic),
            _ => Err(format!("{topic} was not filled: {report:?}").into()),
        }
    }

    /// Reads what committed transactions, and records without any, have left in a topic.
    pub fn log(&self, topic: &str) -> Result<Log, BoxError> {
        let consumer: BaseConsumer = self
            .their_config()
            .set("group.id", self.unique("reader"))
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .create()?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        let mut log: Log = (0..PARTITIONS)
            .map(|partition| (partition, Vec::new()))
            .collect();
        let started = Instant::now();
        let mut left = PARTITIONS;
        while left > 0 {
            if started.elapsed() > DEADLINE {
                return Err(format!("{topic} was not read in {DEADLINE:?}").into());
            }
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let headers = message.headers().map(Headers::from);
                    let record = Record {
                        key: message.key().map(<[u8]>::to_vec),
                        payload: message.payload().map(<[u8]>::to_vec),
                        headers: headers.unwrap_or_default(),
                    };
                    log.entry(message.partition()).or_default().push(record);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
                Some(Err(error)) => eprintln!("{topic}: {error}"),
                None => {}
            }
        }
        Ok(log)
    }

    /// Reads the offset that a group has committed for partition 0 of a topic.
    pub fn committed(&self, group: &str, topic: &str) -> Result<Offset, BoxError> {
        let consumer: BaseConsumer = self.their_config().set("group.id", group).create()?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition(topic, 0);
        let committed = consumer.committed_offsets(partitions, DEADLINE)?;
        let partition = committed.find_partition(topic, 0);
        Ok(partition
            .ok_or("the group knows no such partition")?
            .offset())
    }

    fn their_config(&self) -> rdkafka::ClientConfig {
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// Compares the logs of two topics, and returns the number of their records.
    pub fn same_logs(&self, theirs: &str, ours: &str) -> Result<usize, BoxError> {
        let theirs = self.log(theirs)?;
        same("log", &theirs, &self.log(ours)?)?;
        Ok(theirs.values().map(Vec::len).sum())
    }

    /// Compares two topics whose records were sent concurrently, and so in any order.
    pub fn same_records(&self, theirs: &str, ours: &str) -> Result<usize, BoxError> {
        let sorted = |topic| {
            let mut log = self.log(topic)?;
            for records in log.values_mut() {
                records.sort_by(|a, b| (&a.key, &a.payload).cmp(&(&b.key, &b.payload)));
            }
            Ok::<_, BoxError>(log)
        };
        let theirs = sorted(theirs)?;
        same("log", &theirs, &sorted(ours)?)?;
        Ok(theirs.values().map(Vec::len).sum())
    }
}

/// Fails if two results differ.
pub fn same<T: PartialEq + Debug>(what: &str, theirs: &T, ours: &T) -> Result<(), BoxError> {
    if theirs == ours {
        return Ok(());
    }
    Err(format!("{what}:\n  rdkafka       {theirs:?}\n  tokio-rdkafka {ours:?}").into())
}

/// Fails if a program has done something else than it should, or less.
pub fn expect(what: &str, expected: usize, found: usize) -> Result<(), BoxError> {
    if found != expected {
        return Err(format!("{what}: expected {expected}, found {found}").into());
    }
    println!("{found} {what}, the same with both");
    Ok(())
}
