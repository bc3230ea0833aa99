//! Producers on the mock cluster.

use std::future::Future;
use std::sync::Mutex;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio_rdkafka::{
    Access, ApiKey, ClientConfig, ClientContext, DeliveryResult, KafkaError, MockCluster,
    Persistence, Producer, ProducerContext, ProducerRecord, RDKafkaErrorCode, SendError,
};

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A cluster of one broker with a topic.
pub fn cluster(topic: &str, partitions: i32) -> MockCluster {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic(topic, partitions, 1).expect("a topic");
    cluster
}

/// The configuration of a producer at that cluster.
pub fn config(cluster: &MockCluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("linger.ms", "0")
        // With the default of 1, a request of another kind would keep records back for as long as a
        // test delays its answer.
        .set("max.in.flight", "5");
    config
}

/// The payloads that have arrived, as text.
pub async fn payloads(cluster: &MockCluster, topic: &str) -> Vec<String> {
    let records = cluster.records(topic).await.expect("the records");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a text");
    records
        .iter()
        .map(|record| text(record.payload().expect("a payload")))
        .collect()
}

/// How many produce requests have come in since the tracking was started.
pub fn produce_requests(cluster: &MockCluster) -> usize {
    let requests = cluster.requests().into_iter();
    requests
        .filter(|request| request.api_key() == ApiKey::Produce)
        .count()
}

/// Waits for a condition.
pub async fn until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "the condition never came");
        tokio::task::yield_now().await;
    }
}

/// The same, holding the thread. It pauses: a condition may take a lock that others need.
pub fn blocking_until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "the condition never came");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Waits until `count` records have arrived.
pub async fn until_records(cluster: &MockCluster, topic: &str, count: usize) {
    let started = Instant::now();
    while cluster.records(topic).await.expect("the records").len() != count {
        assert!(started.elapsed() < DEADLINE, "the records never came");
    }
}

/// A context that keeps the errors of the client.
#[derive(Debug, Default)]
pub struct Errors(Mutex<Vec<KafkaError>>);

impl Errors {
    pub fn all(&self) -> Vec<KafkaError> {
        self.0.lock().unwrap().clone()
    }

    pub fn fatal(&self) -> Vec<KafkaError> {
        let fatal = self.all().into_iter().filter(KafkaError::is_fatal);
        fatal.collect()
    }
}

impl ClientContext for Errors {
    fn error(&self, error: &KafkaError) {
        self.0.lock().unwrap().push(error.clone());
    }
}

impl ProducerContext for Errors {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// A context that keeps the opaques it has seen, and counts failures.
#[derive(Debug, Default)]
pub struct Counting {
    seen: Mutex<Vec<usize>>,
    failed: Mutex<usize>,
}

impl Counting {
    pub fn seen(&self) -> Vec<usize> {
        self.seen.lock().unwrap().clone()
    }

    pub fn failed(&self) -> usize {
        *self.failed.lock().unwrap()
    }
}

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        self.seen.lock().unwrap().push(opaque);
        if result.is_err() {
            *self.failed.lock().unwrap() += 1;
        }
    }
}

/// What is wrong with one record among others.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    TooLarge,
    UnknownPartition,
    /// The broker refuses it.
    Injected,
}

impl Fault {
    pub const ALL: [Fault; 3] = [Fault::TooLarge, Fault::UnknownPartition, Fault::Injected];

    /// How many records there are.
    pub const RECORDS: usize = 10;

    /// The one that fails.
    pub const MIDDLE: usize = 5;

    /// A cluster, and a producer whose records go out one by one.
    pub fn setting(self) -> (MockCluster, Producer) {
        let cluster = cluster("t", 1);
        if let Fault::Injected = self {
            let mut errors = [RDKafkaErrorCode::NoError; Self::MIDDLE + 1];
            errors[Self::MIDDLE] = self.code();
            cluster.request_errors(ApiKey::Produce, &errors);
        }
        let producer = config(&cluster)
            .set("batch.num.messages", "1")
            .set("max.in.flight", "1")
            .set("message.max.bytes", "2000")
            .create()
            .expect("a producer");
        (cluster, producer)
    }

    /// The records: numbers as payloads, but for one that is too large.
    pub fn record(self, index: usize) -> ProducerRecord<'static> {
        let record = ProducerRecord::to("t").payload(index.to_string());
        match self {
            Fault::TooLarge if index == Self::MIDDLE => record.payload(vec![b'5'; 5_000]),
            Fault::UnknownPartition if index == Self::MIDDLE => record.partition(9),
            _ => record,
        }
    }

    pub fn records(self) -> impl Iterator<Item = ProducerRecord<'static>> {
        (0..Self::RECORDS).map(move |index| self.record(index))
    }

    fn code(self) -> RDKafkaErrorCode {
        match self {
            Fault::TooLarge => RDKafkaErrorCode::MessageSizeTooLarge,
            Fault::UnknownPartition => RDKafkaErrorCode::UnknownPartition,
            Fault::Injected => RDKafkaErrorCode::InvalidRecord,
        }
    }

    /// It is the middle one's error, with the record as it was.
    pub fn assert_error<D>(self, error: &SendError<D>) {
        assert_eq!(error.code(), Some(self.code()), "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        let expected = self.record(Self::MIDDLE);
        assert_eq!(error.record().get_payload(), expected.get_payload());
        assert_eq!(error.record().get_partition(), expected.get_partition());
    }

    /// All but the middle one have arrived, in order.
    pub async fn assert_others_arrived(self, cluster: &MockCluster) {
        let others = (0..Self::RECORDS).filter(|&index| index != Self::MIDDLE);
        let others: Vec<_> = others.map(|index| index.to_string()).collect();
        assert_eq!(payloads(cluster, "t").await, others, "{self:?}");
    }
}

/// All capacity is there again, neither less nor more.
pub fn assert_capacity_is_whole<C: ProducerContext, A: Access>(
    producer: &Producer<C, A>,
    messages: usize,
) {
    let permits: Vec<_> = (0..messages)
        .map(|index| {
            let permit = producer.try_reserve();
            permit.unwrap_or_else(|error| panic!("capacity for {index} of {messages}: {error}"))
        })
        .collect();
    let error = producer
        .try_reserve()
        .expect_err("more capacity than there is");
    assert!(error.is_queue_full(), "{error:?}");
    drop(permits);
}

/// When a future is dropped.
#[derive(Clone, Copy, Debug)]
pub enum Drop {
    AtOnce,
    /// When it has been woken again, and has not looked why.
    WhenWoken,
}

/// Polls a future `polls` times, each time when it has been woken, and drops it if it is still not
/// done.
pub async fn poll_then_drop<F: Future>(future: F, polls: usize, drop: Drop) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match (future.as_mut().poll(cx), drop) {
            (Poll::Ready(output), _) => Poll::Ready(Some(output)),
            (Poll::Pending, Drop::AtOnce) if left == 0 => Poll::Ready(None),
            (Poll::Pending, _) => Poll::Pending,
        }
    })
    .await
}
