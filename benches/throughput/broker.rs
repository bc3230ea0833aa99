//! The cluster that contenders send to: a mock cluster in a process of its own, or a given one.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::Args;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaErrorCode;

use super::cli::Options;
use super::job;
use super::meter::process_cpu;
use super::work::Work;

/// What the topics of all runs are called, before their numbers.
const PREFIX: &str = "tokio-rdkafka-bench";

/// The role of a mock broker.
///
/// It prints its bootstrap servers, then for each line on stdin the CPU seconds it has used; it ends with stdin.
#[derive(Args, Debug)]
pub(crate) struct MockBroker {
    /// Topics to create
    #[arg(long)]
    topics: usize,
    /// Partitions of each
    #[arg(long)]
    partitions: i32,
    /// Milliseconds before each answer
    #[arg(long)]
    round_trip_ms: u64,
}

impl MockBroker {
    /// Plays the role until stdin closes.
    pub(crate) fn serve(&self) {
        let cluster = MockCluster::new(1).expect("a mock cluster starts");
        for topic in job::topics(PREFIX, self.topics) {
            cluster
                .create_topic(&topic, self.partitions, 1)
                .expect("the topic is new");
        }
        cluster
            .broker_round_trip_time(1, Duration::from_millis(self.round_trip_ms))
            .expect("broker 1 exists");
        println!("{}", cluster.bootstrap_servers());
        for line in io::stdin().lines() {
            line.expect("stdin is readable");
            println!("{}", process_cpu().as_secs_f64());
        }
    }
}

/// A cluster with the topics of a work.
pub(crate) struct Cluster {
    broker: Broker,
    /// What the topics' names begin with.
    pub(crate) prefix: String,
}

enum Broker {
    Mock(MockProcess),
    Given(String),
}

/// The cluster that the options name, or where it has to be a real one the environment.
pub(crate) fn given(options: &Options, work: Work) -> Option<String> {
    let environment = || {
        std::env::var("KAFKA_BOOTSTRAP_SERVERS")
            .ok()
            .filter(|brokers| !brokers.is_empty())
    };
    let brokers = options.brokers.clone();
    brokers.or_else(|| work.needs_kafka().then(environment).flatten())
}

impl Cluster {
    /// The given cluster, or a new mock cluster: also where the broker should take its time, which only a mock does.
    pub(crate) fn open(options: &Options, work: Work, topics: usize, round_trip_ms: u64) -> Self {
        let default = if work.needs_kafka() { 3 } else { 1 };
        let partitions = options.partitions.unwrap_or(default);
        match given(options, work).filter(|_| round_trip_ms == 0) {
            Some(brokers) => {
                // The cluster keeps them: another number of partitions needs other topics.
                let prefix = format!("{PREFIX}-{partitions}");
                create_topics(&brokers, &prefix, topics, partitions);
                Self {
                    broker: Broker::Given(brokers),
                    prefix,
                }
            }
            None => Self {
                broker: Broker::Mock(MockProcess::start(topics, partitions, round_trip_ms)),
                prefix: PREFIX.to_owned(),
            },
        }
    }

    pub(crate) fn bootstrap_servers(&self) -> &str {
        match &self.broker {
            Broker::Mock(process) => &process.bootstrap_servers,
            Broker::Given(brokers) => brokers,
        }
    }

    /// CPU seconds that the mock broker has used so far.
    pub(crate) fn cpu_seconds(&mut self) -> Option<f64> {
        match &mut self.broker {
            Broker::Mock(process) => Some(process.cpu_seconds()),
            Broker::Given(_) => None,
        }
    }
}

/// The process of a mock broker; it ends when this is dropped.
struct MockProcess {
    child: Child,
    /// `None` once closed.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    bootstrap_servers: String,
}

impl MockProcess {
    fn start(topics: usize, partitions: i32, round_trip_ms: u64) -> Self {
        let executable = std::env::current_exe().expect("this executable has a path");
        let mut child = Command::new(executable)
            .args([
                "broker",
                &format!("--topics={topics}"),
                &format!("--partitions={partitions}"),
                &format!("--round-trip-ms={round_trip_ms}"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this executable runs");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut process = Self {
            child,
            stdin,
            stdout,
            bootstrap_servers: String::new(),
        };
        process.bootstrap_servers = process.read_line();
        process
    }

    fn cpu_seconds(&mut self) -> f64 {
        let stdin = self.stdin.as_mut().expect("open until dropped");
        stdin.write_all(b"\n").expect("the broker lives");
        self.read_line()
            .parse()
            .expect("the broker answers with a number")
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the broker lives");
        line.trim().to_owned()
    }
}

impl Drop for MockProcess {
    fn drop(&mut self) {
        self.stdin = None;
        if let Err(error) = self.child.wait() {
            eprintln!("the mock broker: {error}");
        }
    }
}

/// Creates those topics that do not exist.
fn create_topics(brokers: &str, prefix: &str, count: usize, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("the brokers' names are valid");
    let names: Vec<_> = job::topics(prefix, count).collect();
    // −1: as many replicas as the cluster makes by default.
    let replicas = || TopicReplication::Fixed(-1);
    let topics: Vec<_> = names
        .iter()
        .map(|name| NewTopic::new(name, partitions, replicas()))
        .collect();
    let created = futures::executor::block_on(admin.create_topics(&topics, &AdminOptions::new()));
    for result in created.expect("the cluster answers") {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => panic!("{topic} cannot be created: {code}"),
        }
    }
}
