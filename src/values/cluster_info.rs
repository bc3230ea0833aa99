//! What a producer knows of its cluster: brokers, topics and partitions.

use std::fmt;

use crate::error::KafkaError;

/// A cluster: its id and its brokers. Made by [`Producer::cluster`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    pub(crate) id: String,
    pub(crate) controller: Option<i32>,
    pub(crate) brokers: Vec<Broker>,
}

impl ClusterInfo {
    /// The cluster's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The broker that is the controller, where one is known; with KRaft, any broker that takes the
    /// requests for it.
    pub fn controller(&self) -> Option<&Broker> {
        self.broker(self.controller?)
    }

    /// The brokers that are up.
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// The broker of that id, if it is up.
    pub fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.id == id)
    }
}

/// A broker of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
}

impl Broker {
    /// Its number: what partitions name as leader and replicas.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Where it advertises itself.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where it advertises itself.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its rack (`broker.rack`), where it has one.
    pub fn rack(&self) -> Option<&str> {
        self.rack.as_deref()
    }
}

/// A topic and its partitions. Made by [`Producer::topics`].
#[derive(Clone)]
pub struct TopicInfo {
    pub(crate) name: String,
    pub(crate) partitions: Vec<PartitionInfo>,
    pub(crate) error: Option<KafkaError>,
}

impl TopicInfo {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its partitions, in the order of their numbers.
    pub fn partitions(&self) -> &[PartitionInfo] {
        &self.partitions
    }

    /// Why nothing more is known of it, where that is so.
    pub fn error(&self) -> Option<&KafkaError> {
        self.error.as_ref()
    }
}

impl fmt::Debug for TopicInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicInfo")
            .field("name", &self.name)
            .field("partitions", &self.partitions)
            .field("error", &self.error)
            .finish()
    }
}

/// A partition of a topic. Made by [`Producer::partitions_for`]; brokers are named by their
/// [id](Broker::id).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    pub(crate) id: i32,
    pub(crate) leader: Option<i32>,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
}

impl PartitionInfo {
    /// Its number.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The broker that leads it, where one does.
    pub fn leader(&self) -> Option<i32> {
        self.leader
    }

    /// The brokers that have a replica, or should.
    pub fn replicas(&self) -> &[i32] {
        &self.replicas
    }

    /// The brokers whose replica is in sync.
    pub fn isr(&self) -> &[i32] {
        &self.isr
    }
}
