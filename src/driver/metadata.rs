//! Asking for metadata: by admin requests, and by blocking calls that are shared.

use std::ffi::CString;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::coop::unconstrained;

use super::blocking::{BlockingCall, NotBegun, UnderWay};
use super::lookup::{Answering, Lookup, Waiters};
use super::refresh::{self, Refreshed, TopicRefresh};
use super::requests::Answered;
use super::shared::Shared;
use crate::client::ProducerContext;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::{AdminRequest, Answer, Client, Description};
use crate::sync::lock;
use crate::values::{Broker, TopicInfo, topic_name};

/// How long a broker has for its answer before another one is asked.
const PATIENCE: Duration = Duration::from_millis(500);

/// The time limit of the first call. If it is too short, the next one may take as long as the
/// longest wait so far. So a close need not wait for longer than that.
const FIRST_SLICE: Duration = Duration::from_secs(1);

/// The least time between two calls.
const PAUSE: Duration = Duration::from_millis(50);

/// A blocking call with a time limit.
type Call<T> = fn(&Client, Duration) -> Result<T, i32>;

impl<C: ProducerContext> Shared<C> {
    /// Passes an answer from the queue to the request that waits for it.
    pub(super) fn answer(&self, answer: Answer) {
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

    /// Sends a request and waits for its answer.
    ///
    /// librdkafka asks the controller, and waits for it if it cannot be reached. (A mock cluster
    /// has none.) Then a blocking call finds another broker, which is asked instead.
    pub(crate) async fn request(
        self: &Arc<Self>,
        ask: impl Fn(&Arc<Client>, AdminRequest),
        timeout: Duration,
    ) -> Answered {
        let started = Instant::now();
        match self.request_once(&ask, timeout.min(PATIENCE)).await {
            Err(error) if error.is_timed_out() && timeout > PATIENCE => {}
            // The broker was asked, and went away.
            Err(error) if error.code() == Some(RDKafkaErrorCode::BrokerTransportFailure) => {}
            answer => return answer,
        }
        let left = timeout.saturating_sub(started.elapsed());
        let broker = self.find_broker(left).await?;
        *lock(&self.requests.broker) = broker;
        let left = timeout.saturating_sub(started.elapsed());
        self.request_once(&ask, left).await
    }

    async fn request_once(
        &self,
        ask: impl Fn(&Arc<Client>, AdminRequest),
        timeout: Duration,
    ) -> Answered {
        let broker = *lock(&self.requests.broker);
        self.request_of(broker, ask, timeout).await
    }

    /// Asks that broker, or the one that librdkafka chooses.
    async fn request_of(
        &self,
        broker: Option<i32>,
        ask: impl Fn(&Arc<Client>, AdminRequest),
        timeout: Duration,
    ) -> Answered {
        let request = self.requests.begin();
        let ticket = request.ticket;
        // The request is on the list before the client is asked: the client is destroyed only
        // after all clones of it are dropped.
        match self.core.client().filter(|_| !self.core.is_closed()) {
            Some(client) => ask(
                &client,
                AdminRequest {
                    ticket,
                    timeout,
                    broker,
                },
            ),
            None => return Err(self.core.closed_error()),
        }
        let answer = request.answered().await;
        answer.unwrap_or_else(|| Err(self.core.closed_error()))
    }

    /// Returns the brokers that the cluster lists, if `broker` answers, or any if there is none.
    pub(super) async fn list_brokers(
        self: &Arc<Self>,
        broker: Option<i32>,
        timeout: Duration,
    ) -> Option<Vec<Broker>> {
        let ask = Client::describe_cluster;
        let answer = match broker {
            None => self.request(ask, timeout).await,
            broker => self.request_of(broker, ask, timeout).await,
        };
        match answer.ok()? {
            Description::Cluster(cluster) => Some(cluster.brokers),
            Description::Topics(_) => unreachable!("the answer is of the request's own kind"),
        }
    }
}

impl<C: ProducerContext> Shared<C> {
    /// Returns the id of a broker that answers, or `None` if its id is not known.
    pub(super) async fn find_broker(
        self: &Arc<Self>,
        timeout: Duration,
    ) -> Result<Option<i32>, KafkaError> {
        fn lookup<C: ProducerContext>(shared: &Shared<C>) -> &Lookup<Option<i32>> {
            &shared.lookups.broker
        }
        let kind = BlockingCall::FindBroker;
        self.look_up(kind, lookup, Client::any_broker, timeout)
            .await
    }

    /// Returns all topics that the client may see.
    pub(crate) async fn all_topics(
        self: &Arc<Self>,
        timeout: Duration,
    ) -> Result<Vec<TopicInfo>, KafkaError> {
        fn lookup<C: ProducerContext>(shared: &Shared<C>) -> &Lookup<Vec<TopicInfo>> {
            &shared.lookups.topics
        }
        let kind = BlockingCall::AllTopics;
        self.look_up(kind, lookup, Client::all_topics, timeout)
            .await
    }

    async fn look_up<T: Clone + Send + 'static>(
        self: &Arc<Self>,
        kind: BlockingCall,
        lookup: fn(&Self) -> &Lookup<T>,
        call: Call<T>,
        timeout: Duration,
    ) -> Result<T, KafkaError> {
        self.core.check_served()?;
        let (waiter, begun) = lookup(self).wait(timeout, || self.calls.begin(kind));
        match begun {
            Ok(under_way) => {
                let shared = Arc::clone(self);
                let spawned = under_way
                    .spawn(move |under_way| shared.answer_waiters(under_way, lookup, call));
                if let Err(error) = spawned {
                    // Others have relied on this thread.
                    lookup(self).answer(u64::MAX, &Err(KafkaError::no_thread(error)));
                }
            }
            Err(NotBegun::UnderWay) => {}
            Err(NotBegun::Stopped) => return Err(self.core.closed_error()),
        }
        let answer = waiter.answered().await;
        answer.unwrap_or_else(|| Err(self.core.closed_error()))
    }

    fn answer_waiters<T: Clone + Send + 'static>(
        &self,
        under_way: UnderWay,
        lookup: fn(&Self) -> &Lookup<T>,
        call: Call<T>,
    ) {
        let lookup = lookup(self);
        let mut answering = Answering { lookup, under_way };
        loop {
            let client = self.core.client().filter(|_| !self.core.is_closed());
            if client.is_none() {
                lookup.answer(u64::MAX, &Err(self.core.closed_error()));
            }
            lookup.answer_late();
            // Those who come later may ask for what has changed meanwhile.
            let waiters = lookup.waiting_or(|| answering.under_way.leave());
            let Some(Waiters { last, left, waited }) = waiters else {
                return;
            };
            let Some(client) = client else {
                continue;
            };
            let called = Instant::now();
            let result = call(&client, left.min(waited.max(FIRST_SLICE)));
            drop(client);
            match result.map_err(RDKafkaErrorCode::from) {
                Ok(found) => lookup.answer(last, &Ok(found)),
                // Also if no broker could be reached within the time limit.
                Err(
                    RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::BrokerTransportFailure,
                ) => {
                    // It returns early if a connection breaks.
                    thread::sleep(PAUSE.saturating_sub(called.elapsed()).min(left));
                }
                Err(code) => lookup.answer(last, &Err(KafkaError::from_code(code))),
            }
        }
    }
}

impl<C: ProducerContext> Shared<C> {
    /// Asks for a topic's partitions, unless another caller has done so just now. Returns their
    /// number. With the answer librdkafka updates what it knows of the topic.
    ///
    /// # Cancel safety
    ///
    /// If the caller that asks goes away, the next one asks.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        refresh: &TopicRefresh,
        topic: &str,
    ) -> Result<usize, KafkaError> {
        let arrived = Instant::now();
        // A foreign executor never renews the budget of the task that it blocks.
        let mut last = unconstrained(refresh.last.lock()).await;
        if let Some(last) = &*last {
            // Counted from the arrival: all that waited for a slow answer share the next one.
            let age = arrived.saturating_duration_since(last.asked);
            if age < refresh.fresh() {
                return last.partitions.clone();
            }
        }
        let asked = Instant::now();
        let partitions = self.count_partitions(topic).await;
        *last = Some(Refreshed {
            asked,
            partitions: partitions.clone(),
        });
        partitions
    }

    async fn count_partitions(self: &Arc<Self>, topic: &str) -> Result<usize, KafkaError> {
        topic_name::check_name(topic)?;
        let name = CString::new(topic).expect("the check finds a NUL byte");
        let describe = |client: &Arc<Client>, ask| client.describe_topic(&name, ask);
        let Description::Topics(topics) = self.request(describe, refresh::PATIENCE).await? else {
            unreachable!("the answer is of the request's own kind");
        };
        let found = topics.into_iter().find(|found| found.name == topic);
        let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
        let found = found.ok_or_else(|| KafkaError::from_code(unknown))?;
        found.error.map_or(Ok(found.partitions.len()), Err)
    }
}
