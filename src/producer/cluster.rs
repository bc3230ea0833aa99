//! Asking for brokers, topics and partitions.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use super::producer::Producer;
use crate::client::ProducerContext;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::{Client, Description};
use crate::values::{ClusterInfo, PartitionInfo, TopicInfo, topic_name};

impl<C: ProducerContext> Producer<C> {
    /// Asks for the id and the brokers of the cluster. The limit of time is an hour at the most.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tokio_rdkafka::{KafkaError, Producer};
    /// # async fn run(producer: Producer) -> Result<(), KafkaError> {
    /// let cluster = producer.cluster(Duration::from_secs(10)).await?;
    /// for broker in cluster.brokers() {
    ///     println!("{}: {}:{}", broker.id(), broker.host(), broker.port());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Source: `rd_kafka_DescribeCluster`, whose answer comes as an event: a `Metadata` request to the
    /// controller, which must be of Kafka 0.10.1 or later. Where that does not answer within half a
    /// second, another broker is looked for, by `rd_kafka_metadata` on a thread of its own, and
    /// asked.
    ///
    /// # Errors
    ///
    /// - [Timed out](KafkaError::is_timed_out) where there is no answer within `timeout`, for instance
    ///   because no broker can be reached.
    /// - [Closed](KafkaError::is_closed), also where the producer is closed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops the waiting, and changes nothing else.
    pub async fn cluster(&self, timeout: Duration) -> Result<ClusterInfo, KafkaError> {
        match self
            .shared()
            .request(Client::describe_cluster, timeout)
            .await?
        {
            Description::Cluster(cluster) => Ok(cluster),
            Description::Topics(_) => unreachable!("a ticket is of one request"),
        }
    }

    /// Asks for the partitions of a topic, with their leaders, in the order of their numbers. It does
    /// not make the topic, whatever the brokers' `auto.create.topics.enable` says. The limit of time is
    /// an hour at the most.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tokio_rdkafka::{KafkaError, Producer};
    /// # async fn run(producer: Producer) -> Result<(), KafkaError> {
    /// for partition in producer.partitions_for("orders", Duration::from_secs(10)).await? {
    ///     println!("{}: {:?}", partition.id(), partition.leader());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Source: `rd_kafka_DescribeTopics`, whose answer comes as an event; otherwise as
    /// [`cluster`](Self::cluster).
    ///
    /// # Errors
    ///
    /// - [`UnknownTopicOrPartition`](RDKafkaErrorCode::UnknownTopicOrPartition) where there is no such
    ///   topic; also for a moment after it was made, until all brokers know of it.
    /// - [`TopicAuthorizationFailed`](RDKafkaErrorCode::TopicAuthorizationFailed) where the user may
    ///   not see it, be it there or not.
    /// - Another code, where a broker gave that; an error that names the field `topic` where it cannot
    ///   be a topic's name.
    /// - As [`cluster`](Self::cluster).
    ///
    /// # Cancel safety
    ///
    /// As [`cluster`](Self::cluster).
    pub async fn partitions_for(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<Vec<PartitionInfo>, KafkaError> {
        topic_name::check_name(topic)?;
        let name = CString::new(topic).expect("the check finds a NUL byte");
        let describe = |client: &Arc<Client>, ask| client.describe_topic(&name, ask);
        let Description::Topics(topics) = self.shared().request(describe, timeout).await? else {
            unreachable!("a ticket is of one request");
        };
        let found = topics.into_iter().find(|found| found.name == topic);
        let Some(mut found) = found else {
            let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
            return Err(KafkaError::from_code(unknown));
        };
        match found.error {
            Some(error) => Err(error),
            None => {
                found.partitions.sort_unstable_by_key(PartitionInfo::id);
                Ok(found.partitions)
            }
        }
    }

    /// Asks for all topics of the cluster that the user may see, the internal ones too, with their
    /// partitions, by name. The limit of time is an hour at the most.
    ///
    /// librdkafka has no event for it, only a call that blocks, which this makes on a thread of its
    /// own. A [`close`](Self::close) waits for it, for a second or as long as it has taken until then.
    ///
    /// Source: `rd_kafka_metadata`.
    ///
    /// # Errors
    ///
    /// As [`cluster`](Self::cluster); and where the system has no thread for it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops the waiting; the thread ends with its call.
    pub async fn topics(&self, timeout: Duration) -> Result<Vec<TopicInfo>, KafkaError> {
        let mut topics = self.shared().all_topics(timeout).await?;
        topics.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        for topic in &mut topics {
            topic.partitions.sort_unstable_by_key(PartitionInfo::id);
        }
        Ok(topics)
    }
}
