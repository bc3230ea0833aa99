//! A process of this executable that plays a mock broker.

use std::io;
use std::time::Duration;

use clap::Args;
use rdkafka::mocking::MockCluster;

use crate::jobs::job::topic_names;
use crate::measure::process;

/// The prefix of the names of a mock broker's topics.
pub(crate) const PREFIX: &str = "tokio-rdkafka-bench";

/// The mock broker that a process plays.
///
/// It prints its bootstrap servers. For each line on stdin it prints the CPU seconds it has used so
/// far. It ends when stdin closes.
#[derive(Args, Debug)]
pub(crate) struct MockBroker {
    /// Topics to create
    #[arg(long)]
    pub(crate) topics: usize,
    /// Partitions of each
    #[arg(long)]
    pub(crate) partitions: i32,
    /// Milliseconds before each answer
    #[arg(long)]
    pub(crate) round_trip_ms: u64,
}

impl MockBroker {
    /// Returns the arguments that make a process of this executable play this broker.
    pub(crate) fn to_args(&self) -> [String; 4] {
        let Self {
            topics,
            partitions,
            round_trip_ms,
        } = self;
        [
            "broker".to_owned(),
            format!("--topics={topics}"),
            format!("--partitions={partitions}"),
            format!("--round-trip-ms={round_trip_ms}"),
        ]
    }

    /// Plays the broker until stdin closes.
    pub(crate) fn serve(&self) {
        let cluster = MockCluster::new(1).expect("a mock cluster starts");
        for topic in topic_names(PREFIX, self.topics) {
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
            println!("{}", process::cpu_time().as_secs_f64());
        }
    }
}
