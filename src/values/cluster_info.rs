//! What the cluster's metadata says of brokers, topics and partitions.

use crate::error::KafkaError;

/// A cluster's id and its brokers: [`Producer::cluster`](crate::Producer::cluster).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    pub(crate) id: String,
    pub(crate) controller: Option<i32>,
    pub(crate) brokers: Vec<Broker>,
}

impl ClusterInfo {
    /// Returns the cluster's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the controller if it is known.
    ///
    /// With KRaft this is any broker that takes the requests for the controller.
    pub fn controller(&self) -> Option<&Broker> {
        self.broker(self.controller?)
    }

    /// Returns the brokers that are up.
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// Returns the broker with that id if it is up.
    pub fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.id == id)
    }
}

/// A broker: its id, the address that it advertises, and its rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
}

impl Broker {
    /// Returns the broker's id (`node.id` or `broker.id` of its configuration), by which partitions
    /// name their leader and replicas.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Returns the host that the broker advertises (`advertised.listeners`).
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port that the broker advertises (`advertised.listeners`).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the broker's rack (`broker.rack`) if it has one.
    pub fn rack(&self) -> Option<&str> {
        self.rack.as_deref()
    }
}

/// A topic and its partitions: [`Producer::topics`](crate::Producer::topics).
#[derive(Clone, Debug)]
pub struct TopicInfo {
    pub(crate) name: String,
    pub(crate) partitions: Vec<PartitionInfo>,
    pub(crate) error: Option<KafkaError>,
}

impl TopicInfo {
    /// Returns the topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the topic's partitions, ordered by their numbers.
    pub fn partitions(&self) -> &[PartitionInfo] {
        &self.partitions
    }

    /// Returns why the topic's partitions are not known, or `None` if they are.
    pub fn error(&self) -> Option<&KafkaError> {
        self.error.as_ref()
    }
}

/// A partition of a topic: [`Producer::partitions_for`](crate::Producer::partitions_for).
///
/// Brokers are named by their [id](Broker::id).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    pub(crate) id: i32,
    pub(crate) leader: Option<i32>,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
}

impl PartitionInfo {
    /// Returns the partition's number.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Returns the broker that leads the partition if there is a leader.
    pub fn leader(&self) -> Option<i32> {
        self.leader
    }

    /// Returns the brokers that the partition is assigned to, whether they are up or not.
    pub fn replicas(&self) -> &[i32] {
        &self.replicas
    }

    /// Returns the brokers whose replica is in sync with the leader's.
    pub fn isr(&self) -> &[i32] {
        &self.isr
    }
}
