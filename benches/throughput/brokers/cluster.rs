//! The cluster that contenders send to: a mock cluster in its own process, or an existing one.

use clap::Args;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;

use crate::brokers::mock_broker::{MockBroker, PREFIX};
use crate::brokers::mock_process::MockProcess;
use crate::jobs::job::topic_names;
use crate::jobs::work::Work;

/// What the command line says about the cluster.
#[derive(Args, Debug)]
pub(crate) struct ClusterOptions {
    /// Partitions of each topic [default: 1, and 3 for `kafka` and `transactions`]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// An existing cluster (host:port,…) in place of the mock cluster [default: $KAFKA_BOOTSTRAP_SERVERS, for `kafka` and `transactions` alone]
    #[arg(long)]
    brokers: Option<String>,
}

impl ClusterOptions {
    /// Returns the existing cluster for `work`, if one is named.
    ///
    /// Only works that need a real cluster look at the environment.
    pub(crate) fn existing(&self, work: Work) -> Option<String> {
        let environment = || {
            std::env::var("KAFKA_BOOTSTRAP_SERVERS")
                .ok()
                .filter(|brokers| !brokers.is_empty())
        };
        let brokers = self.brokers.clone();
        brokers.or_else(|| work.needs_kafka().then(environment).flatten())
    }
}

/// A cluster with the topics of a work.
pub(crate) struct Cluster {
    broker: Broker,
    /// The prefix of the topics' names.
    pub(crate) prefix: String,
}

enum Broker {
    Mock(MockProcess),
    Existing(String),
}

impl Cluster {
    /// Opens the existing cluster, or starts a mock cluster.
    ///
    /// A round trip other than 0 always starts a mock cluster, because only that delays answers.
    pub(crate) fn open(
        options: &ClusterOptions,
        work: Work,
        topics: usize,
        round_trip_ms: u64,
    ) -> Self {
        let default = if work.needs_kafka() { 3 } else { 1 };
        let partitions = options.partitions.unwrap_or(default);
        match options.existing(work).filter(|_| round_trip_ms == 0) {
            Some(brokers) => {
                // The cluster keeps its topics: another number of partitions needs other topics.
                let prefix = format!("{PREFIX}-{partitions}");
                create_topics(&brokers, &prefix, topics, partitions);
                Self {
                    broker: Broker::Existing(brokers),
                    prefix,
                }
            }
            None => Self {
                broker: Broker::Mock(MockProcess::start(&MockBroker {
                    topics,
                    partitions,
                    round_trip_ms,
                })),
                prefix: PREFIX.to_owned(),
            },
        }
    }

    /// Returns the addresses of the brokers.
    pub(crate) fn bootstrap_servers(&self) -> &str {
        match &self.broker {
            Broker::Mock(process) => process.bootstrap_servers(),
            Broker::Existing(brokers) => brokers,
        }
    }

    /// Returns the CPU seconds that a mock broker has used so far.
    pub(crate) fn cpu_seconds(&mut self) -> Option<f64> {
        match &mut self.broker {
            Broker::Mock(process) => Some(process.cpu_seconds()),
            Broker::Existing(_) => None,
        }
    }
}

/// Creates the topics that do not exist yet.
fn create_topics(brokers: &str, prefix: &str, count: usize, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("the brokers' names are valid");
    let names: Vec<_> = topic_names(prefix, count).collect();
    // -1: the cluster's default.
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
