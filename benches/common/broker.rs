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
use super::job::Work;
use super::meter::process_cpu;

/// The topic of all runs.
pub(crate) const TOPIC: &str = "tokio-rdkafka-bench";

/// The role of a mock broker: one broker, one topic.
///
/// It prints its bootstrap servers, then for each line on stdin the CPU seconds it has used; it ends with stdin.
#[derive(Args, Debug)]
pub(crate) struct MockBroker {
    /// Partitions of the topic
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
        cluster
            .create_topic(TOPIC, self.partitions, 1)
            .expect("the topic is new");
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

/// A cluster with the topic.
pub(crate) enum Cluster {
    Mock(MockProcess),
    Given(String),
}

impl Cluster {
    /// The cluster that the options or the environment name, or else a new mock cluster.
    pub(crate) fn open(options: &Options, work: Work) -> Self {
        let given = options
            .brokers
            .clone()
            .or_else(|| std::env::var("KAFKA_BOOTSTRAP_SERVERS").ok());
        match given {
            Some(brokers) => {
                create_topic(&brokers, options.partitions);
                Self::Given(brokers)
            }
            None => Self::Mock(MockProcess::start(
                options.partitions,
                options.round_trip_ms(work),
            )),
        }
    }

    pub(crate) fn bootstrap_servers(&self) -> &str {
        match self {
            Self::Mock(process) => &process.bootstrap_servers,
            Self::Given(brokers) => brokers,
        }
    }

    /// CPU seconds that the mock broker has used so far.
    pub(crate) fn cpu_seconds(&mut self) -> Option<f64> {
        match self {
            Self::Mock(process) => Some(process.cpu_seconds()),
            Self::Given(_) => None,
        }
    }
}

/// The process of a mock broker; it ends when this is dropped.
pub(crate) struct MockProcess {
    child: Child,
    /// `None` once closed.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    bootstrap_servers: String,
}

impl MockProcess {
    fn start(partitions: i32, round_trip_ms: u64) -> Self {
        let executable = std::env::current_exe().expect("this executable has a path");
        let mut child = Command::new(executable)
            .args([
                "broker",
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

/// Creates the topic unless it exists.
fn create_topic(brokers: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("the brokers' names are valid");
    // −1: as many replicas as the cluster makes by default.
    let topic = NewTopic::new(TOPIC, partitions, TopicReplication::Fixed(-1));
    let created = futures::executor::block_on(admin.create_topics([&topic], &AdminOptions::new()));
    match created.expect("the cluster answers").remove(0) {
        Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
        Err((_, code)) => panic!("the topic cannot be created: {code}"),
    }
}
