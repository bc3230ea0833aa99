//! Metadata requests: brokers, topics and partitions.

use std::ffi::CString;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::producer::Producer;
use super::timer::Timer;
use crate::client::ProducerContext;
use crate::driver::served;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::{Client, Description};
use crate::values::{ClusterInfo, PartitionInfo, TopicInfo, topic_name};

impl<C: ProducerContext> Producer<C> {
    /// Returns the id and the brokers of the cluster.
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
    /// The request goes to the controller, which must run Kafka 0.10.1 or later. If the controller
    /// does not answer within 500 ms, the request goes to another broker. Finding that broker takes
    /// a blocking call: see [threads](Self#threads). librdkafka gives one request at most one hour.
    ///
    /// Source: `rd_kafka_DescribeCluster`, whose answer arrives as an event; `rd_kafka_metadata`
    /// finds the other broker.
    ///
    /// # Errors
    ///
    /// - [Timed out](KafkaError::is_timed_out) if no answer arrives within `timeout`. If no broker
    ///   can be reached, the source of the error says why.
    /// - [Closed](KafkaError::is_closed) if the producer is closed before the answer arrives.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait and has no other effect.
    pub async fn cluster(&self, timeout: Duration) -> Result<ClusterInfo, KafkaError> {
        let answer = self.shared().request(Client::describe_cluster, timeout);
        match self.answer_within(timeout, answer).await? {
            Description::Cluster(cluster) => Ok(cluster),
            Description::Topics(_) => unreachable!("the answer is of the request's own kind"),
        }
    }

    /// Returns the partitions of a topic with their leaders, sorted by number.
    ///
    /// It does not create the topic, whatever `auto.create.topics.enable` of the brokers says.
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
    /// Source: `rd_kafka_DescribeTopics`, whose answer arrives as an event. The broker is chosen as
    /// in [`cluster`](Self::cluster).
    ///
    /// # Errors
    ///
    /// - [`UnknownTopicOrPartition`](RDKafkaErrorCode::UnknownTopicOrPartition) if the topic does
    ///   not exist, or was created a moment ago and not all brokers know it yet.
    /// - [`TopicAuthorizationFailed`](RDKafkaErrorCode::TopicAuthorizationFailed) if the user may
    ///   not describe the topic, whether it exists or not.
    /// - An error that [names](KafkaError::field) the field `topic` if `topic` is not a valid name.
    /// - Any other code that the broker returned.
    /// - The errors of [`cluster`](Self::cluster).
    ///
    /// # Cancel safety
    ///
    /// Same as [`cluster`](Self::cluster).
    pub async fn partitions_for(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<Vec<PartitionInfo>, KafkaError> {
        topic_name::check_name(topic)?;
        let name = CString::new(topic).expect("the check finds a NUL byte");
        let describe = |client: &Arc<Client>, ask| client.describe_topic(&name, ask);
        let answer = self.shared().request(describe, timeout);
        let answer = self.answer_within(timeout, answer).await?;
        let Description::Topics(topics) = answer else {
            unreachable!("the answer is of the request's own kind");
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

    /// Returns all topics that the user may describe, with their partitions, sorted by name.
    ///
    /// Internal topics are included.
    ///
    /// librdkafka has only a blocking call for this, which concurrent callers share: see
    /// [threads](Self#threads). A [`close`](Self::close) waits until the call returns. That takes
    /// up to 1 s, or as long as a caller has already waited if that is more.
    ///
    /// Source: `rd_kafka_metadata`.
    ///
    /// # Errors
    ///
    /// The errors of [`cluster`](Self::cluster), or the system cannot start a thread for the call.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait. The thread ends when its call returns.
    pub async fn topics(&self, timeout: Duration) -> Result<Vec<TopicInfo>, KafkaError> {
        let topics = self.shared().all_topics(timeout);
        let mut topics = self.answer_within(timeout, topics).await?;
        topics.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        for topic in &mut topics {
            topic.partitions.sort_unstable_by_key(PartitionInfo::id);
        }
        Ok(topics)
    }

    async fn answer_within<T>(
        &self,
        timeout: Duration,
        answer: impl Future<Output = Result<T, KafkaError>>,
    ) -> Result<T, KafkaError> {
        let answer = served(self.shared(), answer);
        let answer = Timer::limit_answer(self.runtime(), timeout, answer).await;
        match answer {
            Err(elapsed) => {
                let error = KafkaError::no_answer().caused_by(self.shared().metadata_failure());
                Err(elapsed.explain(self.shared(), error))
            }
            Ok(Err(error)) if error.is_timed_out() => {
                Err(error.caused_by(self.shared().metadata_failure()))
            }
            Ok(answer) => answer.inspect(|_| self.shared().brokers.metadata_answered()),
        }
    }
}
