//! What a producer can tell of its cluster: brokers, topics and partitions.

use std::collections::HashMap;
use std::ffi::CString;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::context::ProducerContext;
use crate::driver::Shared;
use crate::error::KafkaError;
use crate::error_code::RDKafkaErrorCode;
use crate::ffi::{Answer, Client, Description, catch_panic};
use crate::lane;
use crate::producer::Producer;
use crate::sync::lock;
use crate::topic;

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

type Answered = Result<Description, KafkaError>;

/// The requests of a producer that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: Mutex<Waiting>,
    /// How many threads are in a blocking call.
    calls: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    last_ticket: usize,
    by_ticket: HashMap<usize, oneshot::Sender<Answered>>,
}

/// A request that waits; dropping it ends the waiting.
struct Request<'r> {
    requests: &'r Requests,
    ticket: usize,
    answer: oneshot::Receiver<Answered>,
}

impl Requests {
    fn begin(&self) -> Request<'_> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        waiting.last_ticket += 1;
        let ticket = waiting.last_ticket;
        waiting.by_ticket.insert(ticket, sender);
        Request {
            requests: self,
            ticket,
            answer,
        }
    }

    /// Gives an answer to whoever waits for it, if anybody does.
    pub(crate) fn answer(&self, ticket: usize, answer: Answered) {
        let sender = lock(&self.waiting).by_ticket.remove(&ticket);
        if let Some(sender) = sender {
            // It calls a waker, which may panic; see `sync::wake`.
            let _ = catch_panic(|| sender.send(answer));
        }
    }

    /// No more answers come: those who wait learn that the producer is closed.
    pub(crate) fn end(&self) {
        let left = std::mem::take(&mut lock(&self.waiting).by_ticket);
        for sender in left.into_values() {
            let _ = catch_panic(|| drop(sender));
        }
    }

    /// Whether a thread is in a blocking call, with the client that it needs.
    pub(crate) fn is_calling(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > 0
    }
}

impl Request<'_> {
    async fn answered(mut self) -> Answered {
        let answer = (&mut self.answer).await;
        answer.unwrap_or_else(|_| Err(KafkaError::closed()))
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        // The sender, which goes under the lock, must not call a waker there.
        self.answer.close();
        lock(&self.requests.waiting).by_ticket.remove(&self.ticket);
    }
}

/// A blocking call: the client is not destroyed meanwhile.
struct Call<C: ProducerContext>(Arc<Shared<C>>);

impl<C: ProducerContext> Call<C> {
    fn begin(shared: &Arc<Shared<C>>) -> Self {
        shared.requests.calls.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl<C: ProducerContext> Drop for Call<C> {
    fn drop(&mut self) {
        self.0.requests.calls.fetch_sub(1, Ordering::SeqCst);
        // It may have been what the end waits for.
        self.0.wake();
    }
}

impl<C: ProducerContext> Shared<C> {
    /// Gives an answer from the queue to whoever waits for it.
    pub(crate) fn answer(&self, answer: Answer) {
        let result = answer.result.map_err(|(code, text)| {
            let code = code.into();
            if code == RDKafkaErrorCode::OperationTimedOut {
                KafkaError::no_answer()
            } else {
                self.core.error_with_text(code, &text)
            }
        });
        self.requests.answer(answer.ticket, result);
    }

    /// Asks, and waits for the answer, which comes through the queue.
    async fn ask(&self, ask: impl FnOnce(&Arc<Client>, usize)) -> Answered {
        let request = self.requests.begin();
        // The request is known first: the client's end comes after that of all that had it.
        match self.core.client().filter(|_| !self.core.is_closed()) {
            Some(client) => ask(&client, request.ticket),
            None => return Err(KafkaError::closed()),
        }
        request.answered().await
    }

    /// As [`ask`](Self::ask), of what there is a blocking call for.
    async fn ask_blocking(
        self: &Arc<Self>,
        call: impl FnOnce(&Client) -> Answered + Send + 'static,
    ) -> Answered {
        let request = self.requests.begin();
        // The call is counted first: whoever ends the client looks at both the other way round.
        let blocking = Call::begin(self);
        if self.core.is_closed() {
            return Err(KafkaError::closed());
        }
        let ticket = request.ticket;
        lane::spawn(move || {
            let shared = &blocking.0;
            if let Some(client) = shared.core.client() {
                shared.requests.answer(ticket, call(&client));
            }
        })
        .map_err(KafkaError::no_thread)?;
        request.answered().await
    }
}

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
    /// Source: `rd_kafka_DescribeCluster`, whose answer comes as an event; a `Metadata` request to the
    /// controller, of Kafka 0.10.1 or later.
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
        let ask = |client: &Arc<Client>, ticket| client.describe_cluster(ticket, timeout);
        match self.shared().ask(ask).await? {
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
    /// Source: `rd_kafka_DescribeTopics`, whose answer comes as an event; a `Metadata` request to the
    /// controller.
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
        topic::check_name(topic)?;
        let name = CString::new(topic).expect("the check finds a NUL byte");
        let ask = |client: &Arc<Client>, ticket| client.describe_topic(&name, ticket, timeout);
        let Description::Topics(topics) = self.shared().ask(ask).await? else {
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
    /// own; a [`close`](Self::close) waits for it.
    ///
    /// Source: `rd_kafka_metadata`.
    ///
    /// # Errors
    ///
    /// As [`cluster`](Self::cluster); and where the system has no thread for it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops the waiting; the thread is there until the answer is, or the time is over.
    pub async fn topics(&self, timeout: Duration) -> Result<Vec<TopicInfo>, KafkaError> {
        let call = move |client: &Client| {
            let started = Instant::now();
            client
                .all_topics(timeout)
                .map(Description::Topics)
                .map_err(|code| match RDKafkaErrorCode::from(code) {
                    RDKafkaErrorCode::OperationTimedOut => KafkaError::no_answer(),
                    // No broker could be reached.
                    RDKafkaErrorCode::BrokerTransportFailure if started.elapsed() >= timeout => {
                        KafkaError::no_answer()
                    }
                    code => KafkaError::from_code(code),
                })
        };
        let Description::Topics(mut topics) = self.shared().ask_blocking(call).await? else {
            unreachable!("a ticket is of one request");
        };
        topics.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        for topic in &mut topics {
            topic.partitions.sort_unstable_by_key(PartitionInfo::id);
        }
        Ok(topics)
    }
}
