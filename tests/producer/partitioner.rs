//! Partitioners: the context's own, and librdkafka's by configuration.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;
use tokio_rdkafka::{
    BaseProducer, ClientConfig, ClientContext, DefaultProducerContext, DeliveryResult, Headers,
    MockCluster, PartitionRequest, Partitioner, Persistence, Producer, ProducerContext,
    ProducerRecord, PurgeConfig, RDKafkaErrorCode, TransactionalProducer,
};

use crate::support::mock::{DEADLINE, cluster, config, until};

/// A context with that partitioner, whose records carry a `D`.
struct Routed<P, D = ()> {
    partitioner: P,
    failed: AtomicUsize,
    opaque: PhantomData<fn(D)>,
}

impl<P: Partitioner, D> Routed<P, D> {
    fn by(partitioner: P) -> Self {
        Self {
            partitioner,
            failed: AtomicUsize::new(0),
            opaque: PhantomData,
        }
    }
}

impl<P: Partitioner + 'static, D: 'static> ClientContext for Routed<P, D> {}

impl<P: Partitioner + 'static, D: Send + Sync + 'static> ProducerContext for Routed<P, D> {
    type DeliveryOpaque = D;

    fn delivery(&self, result: &DeliveryResult<'_>, _: D) {
        if let Err(error) = result {
            assert_eq!(error.code(), RDKafkaErrorCode::UnknownPartition);
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn partitioner(&self) -> Option<&dyn Partitioner> {
        Some(&self.partitioner)
    }
}

/// What a partitioner was asked, and on which thread.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    topic: String,
    key: Option<Vec<u8>>,
    payload_len: usize,
    count: i32,
    thread: ThreadId,
}

/// Chooses the partitions in turn, and keeps what it was asked.
#[derive(Clone, Default)]
struct InTurn(Arc<Mutex<Vec<Asked>>>);

impl InTurn {
    fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }
}

impl Partitioner for InTurn {
    fn partition(&self, record: &PartitionRequest<'_>) -> i32 {
        let mut asked = self.0.lock().unwrap();
        asked.push(Asked {
            topic: record.topic().to_owned(),
            key: record.key().map(<[u8]>::to_vec),
            payload_len: record.payload_len(),
            count: record.partition_count(),
            thread: thread::current().id(),
        });
        (asked.len() as i32 - 1) % record.partition_count()
    }
}

/// Records with and without keys, payloads and headers, one of them borrowed by librdkafka, and
/// what the partitioner has to see of each.
fn records() -> Vec<(ProducerRecord<'static>, Option<&'static str>, usize)> {
    let headers = || Headers::new().append("h", Some("v"));
    let to = || ProducerRecord::to("t");
    vec![
        (to().key("k").payload("value"), Some("k"), 5),
        (to().payload("no key"), None, 6),
        (to().key("").payload("empty key"), Some(""), 9),
        (to().key("tombstone"), Some("tombstone"), 0),
        (to().payload(""), None, 0),
        (to().payload(vec![b'v'; 5_000]), None, 5_000),
        (to().key("k").payload("v").headers(headers()), Some("k"), 1),
        (to().payload("now").timestamp(1_000), None, 3),
    ]
}

/// Metadata of the topic is there: a record to a partition says so.
async fn know_the_topic<C: ProducerContext<DeliveryOpaque = ()>>(producer: &Producer<C>) {
    let record = ProducerRecord::to("t").partition(0).payload("first");
    producer.send(record).await.unwrap();
}

fn unknown() -> Option<RDKafkaErrorCode> {
    Some(RDKafkaErrorCode::UnknownPartition)
}

#[tokio::test]
async fn it_is_asked_for_every_record_without_a_partition() {
    let cluster = cluster("t", 3);
    let partitioner = InTurn::default();
    // With librdkafka's default for sticky partitions, null keys would go by.
    let producer: Producer<_> = config(&cluster)
        .set("linger.ms", "5")
        .create_with_context(Routed::<_>::by(partitioner.clone()))
        .unwrap();
    know_the_topic(&producer).await;
    assert_eq!(partitioner.asked(), []);
    for (index, (record, key, payload_len)) in records().into_iter().enumerate() {
        let delivery = producer.send(record).await.unwrap();
        assert_eq!(delivery.partition(), index as i32 % 3);
        let expected = Asked {
            topic: "t".to_owned(),
            key: key.map(|key| key.as_bytes().to_vec()),
            payload_len,
            count: 3,
            thread: thread::current().id(),
        };
        assert_eq!(partitioner.asked()[index..], [expected]);
    }
    assert_eq!(producer.callback_panics(), 0);
}

#[tokio::test]
async fn what_was_enqueued_before_the_partitions_are_known_is_asked_for_later() {
    let cluster = cluster("t", 3);
    cluster.broker_down(-1).unwrap();
    let partitioner = InTurn::default();
    let producer: Producer<_> = config(&cluster)
        .set("enable.idempotence", "true")
        .create_with_context(Routed::<_>::by(partitioner.clone()))
        .unwrap();
    let mut futures = Vec::new();
    for (record, _, _) in records() {
        futures.push(producer.enqueue(record).await.unwrap());
    }
    let to_two = ProducerRecord::to("t").partition(2).payload("v");
    let to_two = producer.enqueue(to_two).await.unwrap();
    assert_eq!(partitioner.asked(), []);
    cluster.broker_up(-1).unwrap();
    for (index, delivery) in join_all(futures).await.into_iter().enumerate() {
        assert_eq!(delivery.unwrap().partition(), index as i32 % 3);
    }
    assert_eq!(to_two.await.unwrap().partition(), 2);
    let asked = partitioner.asked();
    assert_eq!(asked.len(), records().len());
    for (asked, (_, key, payload_len)) in asked.iter().zip(records()) {
        assert_eq!(asked.key.as_deref(), key.map(str::as_bytes));
        assert_eq!((asked.payload_len, asked.count), (payload_len, 3));
        assert_ne!(asked.thread, thread::current().id());
    }
}

#[tokio::test]
async fn what_is_purged_before_the_partitions_are_known_is_not_asked_for() {
    let cluster = cluster("t", 3);
    cluster.broker_down(-1).unwrap();
    let partitioner = InTurn::default();
    let context = PurgedOnly(partitioner.clone());
    let producer: Producer<_> = config(&cluster).create_with_context(context).unwrap();
    let mut futures = Vec::new();
    for (record, _, _) in records() {
        futures.push(producer.enqueue(record).await.unwrap());
    }
    let purged = producer.purge(PurgeConfig::default().queue()).await;
    assert_eq!(purged, records().len());
    for failed in join_all(futures).await {
        assert_eq!(
            failed.unwrap_err().code(),
            Some(RDKafkaErrorCode::PurgeQueue)
        );
    }
    cluster.broker_up(-1).unwrap();
    let delivery = producer.send(ProducerRecord::to("t").payload("v")).await;
    assert_eq!(delivery.unwrap().partition(), 0);
    assert_eq!(partitioner.asked().len(), 1);
}

struct PurgedOnly(InTurn);

impl ClientContext for PurgedOnly {}

impl ProducerContext for PurgedOnly {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}

    fn partitioner(&self) -> Option<&dyn Partitioner> {
        Some(&self.0)
    }
}

/// Fails as the key says.
fn as_the_key_says(record: &PartitionRequest<'_>) -> i32 {
    match record.key() {
        Some(b"panic") => panic!("cannot choose"),
        Some(b"none") => -1,
        Some(b"negative") => -2,
        Some(b"least") => i32::MIN,
        Some(b"count") => record.partition_count(),
        Some(b"most") => i32::MAX,
        _ => record.partition_count() - 1,
    }
}

const FAILING: [&str; 6] = ["panic", "none", "negative", "least", "count", "most"];

#[tokio::test]
async fn a_panic_or_a_partition_that_is_none_fails_the_record_alone() {
    let cluster = cluster("t", 3);
    let producer: Producer<_> = config(&cluster)
        .create_with_context(Routed::<_>::by(as_the_key_says))
        .unwrap();
    know_the_topic(&producer).await;
    for key in FAILING {
        let record = || ProducerRecord::to("t").key(key).payload("v");
        let error = producer.try_enqueue(record()).unwrap_err();
        assert_eq!(error.code(), unknown());
        assert_eq!(error.record().get_key(), Some(key.as_bytes()));
        let text = error.to_string();
        assert!(text.contains("the partitioner chose none"), "{text}");
        let error = producer.send(record()).await.unwrap_err();
        assert_eq!(error.code(), unknown());
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert_eq!(error.record().get_partition(), None);

        let good = producer.send(ProducerRecord::to("t").payload("v")).await;
        assert_eq!(good.unwrap().partition(), 2);
    }
    assert_eq!(producer.callback_panics(), 2);
    // Of a partition that the caller asked for, it is not the partitioner's fault.
    let record = ProducerRecord::to("t").partition(9).payload("v");
    let text = producer.send(record).await.unwrap_err().to_string();
    assert!(!text.contains("partitioner"), "{text}");
    assert_eq!(producer.in_flight_count(), 0);
    producer.close().await;
}

#[tokio::test]
async fn it_fails_records_on_librdkafkas_thread_too() {
    let cluster = cluster("t", 3);
    cluster.broker_down(-1).unwrap();
    let context = Arc::new(Routed::<_>::by(as_the_key_says));
    let producer: Producer<_> = config(&cluster)
        .create_with_context(Arc::clone(&context))
        .unwrap();
    let mut futures = Vec::new();
    for key in FAILING.into_iter().chain(["good"]) {
        // A payload that is borrowed comes back, too.
        let record = ProducerRecord::to("t").key(key).payload(vec![b'v'; 5_000]);
        futures.push(producer.enqueue(record).await.unwrap());
    }
    cluster.broker_up(-1).unwrap();
    let good = futures.pop().unwrap();
    for (failed, key) in join_all(futures).await.into_iter().zip(FAILING) {
        let error = failed.unwrap_err();
        assert_eq!(error.code(), unknown());
        let text = error.to_string();
        assert!(text.contains("the partitioner chose none"), "{text}");
        let record = error.into_record();
        assert_eq!(record.get_key(), Some(key.as_bytes()));
        assert_eq!(record.get_payload(), Some(&[b'v'; 5_000][..]));
        assert_eq!(record.get_partition(), None);
    }
    assert_eq!(good.await.unwrap().partition(), 2);
    assert_eq!(producer.callback_panics(), 1);
    assert_eq!(context.failed.load(Ordering::Relaxed), FAILING.len());
}

/// What a partitioner has learned of a topic may be out of date.
#[tokio::test]
async fn a_count_that_has_changed_fails_the_record() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("five", 5, 1).unwrap();
    cluster.create_topic("t", 2, 1).unwrap();
    let count = AtomicI32::new(0);
    let producer: Producer<_> = config(&cluster)
        .create_with_context(Routed::<_>::by(move |record: &PartitionRequest<'_>| {
            let first = count.compare_exchange(
                0,
                record.partition_count(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            first.map_or_else(|known| known, |_| record.partition_count()) - 1
        }))
        .unwrap();
    let delivery = producer.send(ProducerRecord::to("five").payload("v")).await;
    assert_eq!(delivery.unwrap().partition(), 4);
    let error = producer.send(ProducerRecord::to("t").payload("v")).await;
    assert_eq!(error.unwrap_err().code(), unknown());
}

#[tokio::test]
async fn it_knows_which_partitions_are_available() {
    let cluster = cluster("t", 3);
    cluster.partition_leader("t", 0, None).unwrap();
    cluster.partition_leader("t", 2, None).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    let partitioner = move |record: &PartitionRequest<'_>| {
        let are: Vec<_> = (-2..5).filter(|&id| record.is_available(id)).collect();
        let first = are.first().copied().unwrap_or(-1);
        seeing.lock().unwrap().push(are);
        first
    };
    let producer: Producer<_> = config(&cluster)
        .create_with_context(Routed::<_>::by(partitioner))
        .unwrap();
    let record = ProducerRecord::to("t").partition(1).payload("v");
    producer.send(record).await.unwrap();
    let delivery = producer.send(ProducerRecord::to("t").payload("v")).await;
    assert_eq!(delivery.unwrap().partition(), 1);
    assert_eq!(*seen.lock().unwrap(), [[1]]);
}

#[tokio::test]
async fn what_would_choose_in_its_place_is_refused() {
    let cluster = cluster("t", 3);
    let refused = |property: &str, value: &str| {
        let mut config = config(&cluster);
        config.set(property, value);
        let error = config
            .create_with_context::<_, Producer<_>>(Routed::<_>::by(as_the_key_says))
            .unwrap_err();
        assert_eq!(error.field(), Some(property), "{error}");
        let error = config
            .create_with_context::<_, BaseProducer<_>>(Routed::<_>::by(as_the_key_says))
            .unwrap_err();
        assert_eq!(error.field(), Some(property), "{error}");
        // Without a partitioner it is taken.
        config.create::<Producer>().unwrap();
    };
    refused("sticky.partitioning.linger.ms", "10");
    refused("partitioner", "murmur2_random");
    refused("topic.partitioner", "murmur2_random");

    let producer: Producer<_> = config(&cluster)
        .set("linger.ms", "5")
        .set("sticky.partitioning.linger.ms", "0")
        .create_with_context(Routed::<_>::by(as_the_key_says))
        .unwrap();
    let delivery = producer.send(ProducerRecord::to("t").payload("v")).await;
    assert_eq!(delivery.unwrap().partition(), 2);
}

/// The topics' other properties stay.
#[tokio::test]
async fn properties_of_topics_hold_beside_it() {
    let cluster = cluster("t", 3);
    cluster
        .broker_round_trip_time(-1, Duration::from_millis(1_500))
        .unwrap();
    let producer: Producer<_> = config(&cluster)
        .set("message.timeout.ms", "1")
        .create_with_context(PurgedOnly(InTurn::default()))
        .unwrap();
    let error = producer.send(ProducerRecord::to("t").payload("v")).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::MessageTimedOut));
}

fn base_producer_asks<D: Clone + Send + Sync + 'static>(opaque: D) {
    let cluster = cluster("t", 3);
    let partitioner = InTurn::default();
    let producer: BaseProducer<_> = config(&cluster)
        .set("linger.ms", "5")
        .create_with_context(Routed::<_, D>::by(partitioner.clone()))
        .unwrap();
    // Once before the partitions are known, and once after that.
    for _ in 0..2 {
        for (record, _, _) in records() {
            producer.send(record.opaque(opaque.clone())).unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    }
    let asked = partitioner.asked();
    assert_eq!(asked.len(), 2 * records().len());
    for (asked, (_, key, payload_len)) in asked.iter().zip(records().into_iter().chain(records())) {
        assert_eq!(asked.key.as_deref(), key.map(str::as_bytes));
        assert_eq!((asked.payload_len, asked.count), (payload_len, 3));
    }
    assert_eq!(asked[records().len()].thread, thread::current().id());
    let arrived = block_on(cluster.records("t")).unwrap();
    assert_eq!(arrived.len(), 2 * records().len());
    let in_each = |partition| {
        let there = arrived
            .iter()
            .filter(|record| record.partition() == partition);
        there.count()
    };
    assert_eq!([in_each(0), in_each(1), in_each(2)], [6, 5, 5]);
}

#[test]
fn a_base_producer_asks_it_too() {
    base_producer_asks(());
    base_producer_asks(7_u8);
    base_producer_asks(Arc::new("counted".to_owned()));
}

#[test]
fn a_base_producer_gives_back_what_it_fails() {
    let cluster = cluster("t", 3);
    let context = Routed::<_, Arc<str>>::by(as_the_key_says);
    let producer: BaseProducer<_> = config(&cluster).create_with_context(context).unwrap();
    let opaque: Arc<str> = Arc::from("counted");
    let record = |key: &'static str| {
        ProducerRecord::to("t")
            .key(key)
            .payload("v")
            .opaque(Arc::clone(&opaque))
    };
    producer.send(record("good")).unwrap();
    for key in FAILING {
        // Now or later, as its topic's partitions are known or not.
        drop(producer.send(record(key)));
    }
    producer.flush(DEADLINE).unwrap();
    let context = producer.context();
    let failed_later = context.failed.load(Ordering::Relaxed);
    for key in FAILING {
        let error = producer.send(record(key)).unwrap_err();
        assert_eq!(error.code(), unknown());
        assert!(error.to_string().contains("the partitioner chose none"));
        assert!(Arc::ptr_eq(error.into_record().get_opaque(), &opaque));
    }
    assert_eq!(context.failed.load(Ordering::Relaxed), failed_later);
    assert_eq!(producer.callback_panics(), 2);
    drop(producer);
    assert_eq!(Arc::strong_count(&opaque), 1);
}

#[tokio::test]
async fn a_transactions_records_go_by_it() {
    let cluster = cluster("t", 3);
    let partitioner = InTurn::default();
    let mut producer: TransactionalProducer<_> = config(&cluster)
        .set("transactional.id", "tests")
        .create_with_context(Arc::new(PurgedOnly(partitioner.clone())))
        .unwrap();
    producer.init(DEADLINE).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    for partition in [0, 1, 2, 0] {
        let delivery = transaction.send(ProducerRecord::to("t").payload("v")).await;
        assert_eq!(delivery.unwrap().partition(), partition);
    }
    transaction.commit().await.unwrap();
    assert_eq!(partitioner.asked().len(), 4);
}

/// The context, and with it the partitioner, goes with the producer.
#[tokio::test]
async fn the_partitioner_is_dropped_with_its_producer() {
    let cluster = cluster("t", 3);
    let partitioner = InTurn::default();
    let producer: Producer<_> = config(&cluster)
        .create_with_context(PurgedOnly(partitioner.clone()))
        .unwrap();
    let delivery = producer.send(ProducerRecord::to("t").payload("v")).await;
    delivery.unwrap();
    producer.close().await;
    drop(producer);
    until(|| Arc::strong_count(&partitioner.0) == 1).await;
}

/// Without one, librdkafka's own choose, as the configuration says.
#[tokio::test]
async fn built_in_partitioners_are_chosen_by_configuration() {
    let cluster = cluster("t", 7);
    let partition_of = async |partitioner: &str, key: &str| {
        let producer: Producer<DefaultProducerContext> = config(&cluster)
            .set("partitioner", partitioner)
            .create()
            .unwrap();
        let record = ProducerRecord::to("t").key(key).payload("v");
        producer.send(record).await.unwrap().partition()
    };
    // The hashes of librdkafka's own tests (rdmurmur2.c, crc32c is another's, rdfnv1a.c).
    assert_eq!(partition_of("murmur2", "kafka").await, 0x5067cf64 % 7);
    assert_eq!(partition_of("fnv1a", "kafka").await, 0x0d33c4e1 % 7);
    // CRC-32 of "123456789", its usual check value.
    let crc = 0xcbf43926_u32 % 7;
    assert_eq!(partition_of("consistent", "123456789").await, crc as i32);

    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("partitioner", "best");
    let error = config.create::<Producer>().unwrap_err();
    assert_eq!(error.field(), Some("partitioner"));
}
