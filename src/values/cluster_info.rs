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
use crate::ffi::{Answer, Ask, Client, Description, catch_panic};
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

/// How long a broker has for its answer before another is looked for.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a blocking call has at first.
const SLICE: Duration = Duration::from_secs(1);

type Answered = Result<Description, KafkaError>;

/// The requests of a producer that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: Mutex<Waiting>,
    /// Whom to ask, where the controller did not answer.
    broker: Mutex<Option<i32>>,
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
    ///
    /// librdkafka asks the controller, and waits for it where it cannot be reached. (That of a mock
    /// cluster never can: it does not exist.) Any other broker would do, but it takes a blocking call
    /// to find one.
    async fn answer_to(
        self: &Arc<Self>,
        ask: impl Fn(&Arc<Client>, Ask),
        timeout: Duration,
    ) -> Answered {
        let started = Instant::now();
        match self.ask_once(&ask, timeout.min(PATIENCE)).await {
            Err(error) if error.is_timed_out() && timeout > PATIENCE => {}
            // It was asked, and went away.
            Err(error) if error.code() == Some(RDKafkaErrorCode::BrokerTransportFailure) => {}
            answer => return answer,
        }
        let left = timeout.saturating_sub(started.elapsed());
        let broker = self.call_blocking(Client::any_broker, left).await?;
        *lock(&self.requests.broker) = broker;
        let left = timeout.saturating_sub(started.elapsed());
        self.ask_once(&ask, left).await
    }

    async fn ask_once(&self, ask: impl Fn(&Arc<Client>, Ask), timeout: Duration) -> Answered {
        let request = self.requests.begin();
        let broker = *lock(&self.requests.broker);
        let ticket = request.ticket;
        // The request is known first: the client's end comes after that of all that had it.
        match self.core.client().filter(|_| !self.core.is_closed()) {
            Some(client) => ask(
                &client,
                Ask {
                    ticket,
                    timeout,
                    broker,
                },
            ),
            None => return Err(KafkaError::closed()),
        }
        request.answered().await
    }

    /// Makes a blocking call on a thread of its own; again, with more time, where that was too short:
    /// so a close need not wait for longer than the call has already taken.
    async fn call_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl Fn(&Client, Duration) -> Result<T, i32> + Send + 'static,
        timeout: Duration,
    ) -> Result<T, KafkaError> {
        // The call is counted first: whoever ends the client looks at both the other way round.
        let blocking = Call::begin(self);
        let (sender, result) = oneshot::channel();
        let started = Instant::now();
        lane::spawn(move || {
            let core = &blocking.0.core;
            let mut slice = SLICE;
            let result = loop {
                let left = timeout.saturating_sub(started.elapsed());
                let client = core.client().filter(|_| !core.is_closed());
                let Some(client) = client.filter(|_| !sender.is_closed()) else {
                    break Err(KafkaError::closed());
                };
                let code = match call(&client, left.min(slice)) {
                    Ok(found) => break Ok(found),
                    Err(code) => RDKafkaErrorCode::from(code),
                };
                let is_slow = matches!(
                    code,
                    RDKafkaErrorCode::OperationTimedOut
                        // Also where no broker could be reached, for as long as that.
                        | RDKafkaErrorCode::BrokerTransportFailure
                );
                if is_slow && left > slice {
                    slice *= 2;
                } else if is_slow && started.elapsed() >= timeout {
                    break Err(KafkaError::no_answer());
                } else {
                    break Err(KafkaError::from_code(code));
                }
            };
            drop(blocking);
            // Nobody may be waiting any more. It calls a waker, which may panic.
            let _ = catch_panic(|| sender.send(result));
        })
        .map_err(KafkaError::no_thread)?;
        result.await.unwrap_or_else(|_| Err(KafkaError::closed()))
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
            .answer_to(Client::describe_cluster, timeout)
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
        topic::check_name(topic)?;
        let name = CString::new(topic).expect("the check finds a NUL byte");
        let describe = |client: &Arc<Client>, ask| client.describe_topic(&name, ask);
        let Description::Topics(topics) = self.shared().answer_to(describe, timeout).await? else {
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
        let mut topics = self
            .shared()
            .call_blocking(Client::all_topics, timeout)
            .await?;
        topics.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        for topic in &mut topics {
            topic.partitions.sort_unstable_by_key(PartitionInfo::id);
        }
        Ok(topics)
    }
}
