//! Producers without transactions: records, order, offsets, codecs, and a leader that is killed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::future::join_all;
use libtest_mimic::Trial;
use rdkafka::message::{Headers as _, Message as _};
use tokio_rdkafka::{
    BaseProducer, ClientConfig, ClientContext, DeliveryResult, Headers, Persistence, Producer,
    ProducerContext, ProducerRecord, RDKafkaErrorCode, Timestamp, Topic, TopicName,
};

use crate::support::kafka::{Cluster, DEADLINE, Read};
use crate::support::trials::{Module, many_threads};

const MODULE: Module = Module("records");

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "records_are_read_back_byte_for_byte",
            records_are_read_back_byte_for_byte,
        ),
        trial(
            "an_idempotent_producer_keeps_the_order",
            an_idempotent_producer_keeps_the_order,
        ),
        trial(
            "no_offset_is_invented_with_acks_0",
            no_offset_is_invented_with_acks_0,
        ),
        trial(
            "acks_1_and_all_tell_every_offset",
            acks_1_and_all_tell_every_offset,
        ),
        trial(
            "deliveries_come_from_three_nodes",
            deliveries_come_from_three_nodes,
        ),
        trial(
            "what_the_cluster_refuses_comes_back",
            what_the_cluster_refuses_comes_back,
        ),
        trial(
            "close_delivers_what_is_queued",
            close_delivers_what_is_queued,
        ),
        MODULE.trial_alone(
            many_threads,
            "a_killed_leader_loses_and_duplicates_nothing",
            a_killed_leader_loses_and_duplicates_nothing,
        ),
    ];
    for idempotence in [false, true] {
        let suffix = if idempotence { "_with_idempotence" } else { "" };
        let name = format!("a_topic_made_again_works{suffix}");
        trials.push(trial(&name, move |cluster| {
            a_topic_made_again_works(cluster, idempotence)
        }));
        let name = format!("a_topic_made_again_unnoticed_works{suffix}");
        trials.push(trial(&name, move |cluster| {
            a_topic_made_again_unnoticed_works(cluster, idempotence)
        }));
    }
    let mut codecs = vec!["none", "snappy", "lz4"];
    if cfg!(feature = "libz") {
        codecs.push("gzip");
    }
    if cfg!(feature = "zstd") {
        codecs.push("zstd");
    }
    for codec in codecs {
        let name = format!("codec_{codec}_is_read_back_byte_for_byte");
        trials.push(trial(&name, move |cluster| {
            codec_is_read_back(cluster, codec)
        }));
    }
    trials
}

/// A test that only uses the cluster.
fn trial<F>(name: &str, test: impl FnOnce(Cluster) -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    MODULE.trial_on(many_threads, name, test)
}

fn payload(message: &Read) -> &[u8] {
    message.payload().expect("a payload")
}

async fn records_are_read_back_byte_for_byte(cluster: Cluster) {
    let topic = cluster.create_topic(3, 3).await;
    let producer: Producer = cluster.config().create().unwrap();
    let headers = Headers::new()
        .append("h", Some("first"))
        .append("h", Some(&[0xff, 0x00, 0xfe]))
        .append("null", None::<&str>)
        .append("empty", Some(""));
    let records = [
        ProducerRecord::to(&topic)
            .key("k")
            .payload("v")
            .partition(2),
        ProducerRecord::to(&topic),
        ProducerRecord::to(&topic).key("").payload(""),
        ProducerRecord::to(&topic)
            .payload([0, 159, 146, 150])
            .timestamp(1_600_000_000_123),
        ProducerRecord::to(&topic)
            .key([0xff])
            .payload("with headers")
            .headers(headers),
    ];
    for record in records {
        let delivery = producer.send(record.clone()).await.unwrap();
        assert_eq!(delivery.persistence(), Persistence::Persisted);
        assert!(delivery.broker_id().is_some());
        let offset = delivery.offset().expect("an offset");
        let read = cluster
            .read(&topic, delivery.partition(), offset, 1)
            .remove(0);
        assert_eq!(
            (read.partition(), read.offset()),
            (delivery.partition(), offset)
        );
        if let Some(partition) = record.get_partition() {
            assert_eq!(read.partition(), partition);
        }
        assert_eq!(
            (read.key(), read.payload()),
            (record.get_key(), record.get_payload())
        );
        let created = read.timestamp().to_millis().expect("a timestamp");
        assert_eq!(delivery.timestamp(), Timestamp::CreateTime(created));
        assert_eq!(record.get_timestamp().unwrap_or(created), created);
        let read_headers: Headers = read
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .map(|header| (header.key, header.value))
            .collect();
        assert_eq!(&read_headers, record.get_headers());
    }
}

async fn codec_is_read_back(cluster: Cluster, codec: &str) {
    let topic = cluster.create_topic(1, 3).await;
    let mut config = cluster.config();
    let producer: Producer = config
        .set("compression.type", codec)
        .set("linger.ms", "20")
        .create()
        .unwrap();
    let text = |index: usize| format!("{index} {}", "compressible ".repeat(index % 50));
    let mut futures = Vec::new();
    for index in 0..500 {
        let record = ProducerRecord::to(&topic)
            .key(index.to_string())
            .payload(text(index));
        futures.push(producer.enqueue(record).await.unwrap());
    }
    for (index, delivery) in join_all(futures).await.into_iter().enumerate() {
        assert_eq!(delivery.unwrap().offset(), Some(index as i64));
    }
    for (index, read) in cluster.read(&topic, 0, 0, 500).iter().enumerate() {
        assert_eq!(payload(read), text(index).as_bytes());
        assert_eq!(read.key(), Some(index.to_string().as_bytes()));
    }
}

async fn an_idempotent_producer_keeps_the_order(cluster: Cluster) {
    let topic = cluster.create_topic(1, 3).await;
    let producer: Producer = cluster
        .config()
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    let mut futures = Vec::new();
    for index in 0..10_000 {
        let record = ProducerRecord::to(&topic).payload(index.to_string());
        futures.push(producer.enqueue(record).await.unwrap());
    }
    for (index, delivery) in join_all(futures).await.into_iter().enumerate() {
        assert_eq!(delivery.unwrap().offset(), Some(index as i64));
    }
    for (index, read) in cluster.read(&topic, 0, 0, 10_000).iter().enumerate() {
        assert_eq!(payload(read), index.to_string().as_bytes());
    }
}

async fn no_offset_is_invented_with_acks_0(cluster: Cluster) {
    let topic = cluster.create_topic(1, 3).await;
    let mut config = cluster.config();
    // A leader that does not know the topic yet would lose records without a word.
    let producer: Producer = config.create().unwrap();
    producer.send(ProducerRecord::to(&topic)).await.unwrap();
    let producer: Producer = config
        .set("acks", "0")
        .set("linger.ms", "50")
        .create()
        .unwrap();
    let mut futures = Vec::new();
    for index in 0..5_000 {
        let record = ProducerRecord::to(&topic).payload(index.to_string());
        futures.push(producer.enqueue(record).await.unwrap());
    }
    for delivery in join_all(futures).await {
        let delivery = delivery.unwrap();
        assert_eq!(delivery.offset(), None);
        assert_eq!(delivery.persistence(), Persistence::PossiblyPersisted);
    }
    assert_eq!(cluster.read(&topic, 0, 1, 5_000).len(), 5_000);
}

async fn acks_1_and_all_tell_every_offset(cluster: Cluster) {
    for acks in ["1", "all"] {
        let topic = cluster.create_topic(1, 3).await;
        let producer: Producer = cluster.config().set("acks", acks).create().unwrap();
        let mut futures = Vec::new();
        for _ in 0..2_000 {
            futures.push(
                producer
                    .enqueue(ProducerRecord::to(&topic).payload("v"))
                    .await
                    .unwrap(),
            );
        }
        let mut offsets = HashSet::new();
        for delivery in join_all(futures).await {
            let delivery = delivery.unwrap();
            assert_eq!(delivery.persistence(), Persistence::Persisted);
            offsets.insert(delivery.offset().expect("an offset"));
        }
        assert_eq!(offsets, (0..2_000).collect());
    }
}

async fn deliveries_come_from_three_nodes(cluster: Cluster) {
    let topic = cluster.create_topic(6, 3).await;
    let producer: Producer = cluster.config().create().unwrap();
    let sends = (0..6).map(|partition| {
        producer.send(ProducerRecord::to(&topic).payload("v").partition(partition))
    });
    let brokers: HashSet<_> = join_all(sends)
        .await
        .into_iter()
        .map(|sent| sent.unwrap().broker_id())
        .collect();
    assert_eq!(brokers, [Some(1), Some(2), Some(3)].into());
}

async fn what_the_cluster_refuses_comes_back(cluster: Cluster) {
    let topic = cluster.create_topic(1, 3).await;
    let producer: Producer = cluster
        .config()
        .set("allow.auto.create.topics", "false")
        .set("topic.metadata.propagation.max.ms", "1000")
        .set("message.max.bytes", "2000")
        .create()
        .unwrap();
    producer
        .send(ProducerRecord::to(&topic).payload("metadata is known"))
        .await
        .unwrap();

    let error = producer
        .send(ProducerRecord::to(&topic).partition(5))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::UnknownPartition));
    assert_eq!(error.into_record().get_partition(), Some(5));

    let large = vec![0; 3_000];
    let error = producer
        .send(ProducerRecord::to(&topic).payload(&large))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::MessageSizeTooLarge));
    assert_eq!(error.into_record().get_payload(), Some(&large[..]));

    for unknown in ["nobody-made-this-topic", "not/a/legal/name"] {
        let error = producer
            .send(ProducerRecord::to(unknown).key("k"))
            .await
            .unwrap_err();
        assert!(!error.is_retriable(), "{error:?}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert_eq!(error.into_record().get_key(), Some(&b"k"[..]));
    }
}

async fn close_delivers_what_is_queued(cluster: Cluster) {
    let topic = cluster.create_topic(1, 3).await;
    let producer: Producer = cluster.config().set("linger.ms", "60000").create().unwrap();
    for index in 0..1_000 {
        let record = ProducerRecord::to(&topic).payload(index.to_string());
        producer.enqueue_detached(record).await.unwrap();
    }
    let report = producer.close().await;
    assert_eq!(
        (report.delivered, report.failed, report.undelivered),
        (1_000, 0, 0)
    );
    assert_eq!(cluster.read(&topic, 0, 0, 1_000).len(), 1_000);
}

/// What became of the messages of a [`BaseProducer`], by number; a partition where all went well.
#[derive(Default)]
struct Ends(Mutex<BTreeMap<usize, End>>);

type End = Result<i32, (RDKafkaErrorCode, Persistence)>;

impl ClientContext for Ends {}

impl ProducerContext for Ends {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let end = match result {
            Ok(message) => Ok(message.partition()),
            Err(message) => {
                assert_eq!(message.payload(), Some(number.to_string().as_bytes()));
                Err((message.code(), message.persistence()))
            }
        };
        self.0.lock().unwrap().insert(number, end);
    }
}

/// Sends to one topic by both producers, by name and by handle: numbers, one after the other.
struct Senders<'a> {
    topic: &'a str,
    producer: Producer,
    handle: Topic,
    base: BaseProducer<Ends>,
    base_handle: Topic,
    /// How many numbers have been sent.
    count: usize,
    /// The numbers that are in the log, with their partitions.
    delivered: BTreeMap<usize, i32>,
    /// The numbers that may be in it.
    unclear: BTreeSet<usize>,
}

impl<'a> Senders<'a> {
    const WAYS: usize = 4;
    const ANY: i32 = -1;
    const MESSAGE_TIMEOUT: Duration = Duration::from_secs(3);

    fn new(topic: &'a str, mut config: ClientConfig) -> Self {
        config
            .set("allow.auto.create.topics", "false")
            .set(
                "message.timeout.ms",
                Self::MESSAGE_TIMEOUT.as_millis().to_string(),
            )
            // Until a topic has been known for so long, it is not taken for gone.
            .set("topic.metadata.propagation.max.ms", "1000");
        let producer: Producer = config.create().unwrap();
        let base: BaseProducer<Ends> = config.create_with_context(Ends::default()).unwrap();
        Self {
            topic,
            handle: producer.topic(topic).unwrap(),
            base_handle: base.topic(topic).unwrap(),
            producer,
            base,
            count: 0,
            delivered: BTreeMap::new(),
            unclear: BTreeSet::new(),
        }
    }

    /// Sends the next number; the error where it was not delivered.
    async fn send(&mut self, way: usize, partition: i32) -> Option<RDKafkaErrorCode> {
        let number = self.count;
        self.count += 1;
        let topic: TopicName<'_> = match way {
            0 | 1 => self.topic.into(),
            2 => (&self.handle).into(),
            _ => (&self.base_handle).into(),
        };
        let started = Instant::now();
        let end = if way % 2 == 0 {
            self.send_async(topic, partition, number).await
        } else {
            self.send_base(topic, partition, number)
        };
        // librdkafka looks at the limit once a second; the rest is for a busy machine.
        let took = started.elapsed();
        let limit = Self::MESSAGE_TIMEOUT + Duration::from_secs(10);
        assert!(took < limit, "way {way}: {end:?} after {took:?}");
        match end {
            Ok(delivered_to) => {
                self.delivered.insert(number, delivered_to);
                None
            }
            Err((code, persistence)) => {
                if persistence != Persistence::NotPersisted {
                    self.unclear.insert(number);
                }
                Some(code)
            }
        }
    }

    async fn send_async(&self, topic: TopicName<'_>, partition: i32, number: usize) -> End {
        let text = number.to_string();
        let record = ProducerRecord::to(topic)
            .partition(partition)
            .payload(&text);
        match self.producer.send(record).await {
            Ok(delivery) => Ok(delivery.partition()),
            Err(error) => {
                let end = (error.code().expect("a code"), error.persistence());
                let record = error.into_record();
                assert_eq!(record.get_topic(), self.topic);
                assert_eq!(record.get_payload(), Some(text.as_bytes()));
                Err(end)
            }
        }
    }

    fn send_base(&self, topic: TopicName<'_>, partition: i32, number: usize) -> End {
        let text = number.to_string();
        let record = ProducerRecord::with_opaque_to(topic, number)
            .partition(partition)
            .payload(&text);
        if let Err(error) = self.base.send(record) {
            let code = error.code().expect("a code");
            let record = error.into_record();
            assert_eq!(record.get_opaque(), &number);
            assert_eq!(record.get_payload(), Some(text.as_bytes()));
            return Err((code, Persistence::NotPersisted));
        }
        let started = Instant::now();
        loop {
            if let Some(end) = self.base.context().0.lock().unwrap().remove(&number) {
                return end;
            }
            assert!(started.elapsed() < DEADLINE, "no report of {number}");
            self.base.poll(Duration::from_millis(100));
        }
    }

    /// Sends until each way has ended as wanted. What else comes are deliveries, and the errors of
    /// a topic that is not there.
    async fn until(&mut self, partition: i32, wanted: impl Fn(Option<RDKafkaErrorCode>) -> bool) {
        for way in 0..Self::WAYS {
            let started = Instant::now();
            loop {
                let end = self.send(way, partition).await;
                if wanted(end) {
                    break;
                }
                assert!(
                    matches!(
                        end,
                        None | Some(
                            RDKafkaErrorCode::UnknownTopic
                                | RDKafkaErrorCode::UnknownPartition
                                | RDKafkaErrorCode::UnknownTopicOrPartition
                                | RDKafkaErrorCode::MessageTimedOut
                                // Of a partition that went as the message was to be tried again.
                                | RDKafkaErrorCode::BrokerDestroy
                        )
                    ),
                    "way {way}: {end:?}"
                );
                assert!(started.elapsed() < DEADLINE, "way {way}: still {end:?}");
                // What is refused is refused at once.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// The topic has that number of partitions, all of which take messages; what is in them is what
    /// was delivered to them.
    async fn assert_works(&mut self, cluster: &Cluster, partitions: i32) {
        for partition in 0..partitions {
            self.until(partition, |end| end.is_none()).await;
        }
        let mut read = BTreeMap::new();
        for partition in 0..partitions {
            for message in cluster.read_all(self.topic, partition) {
                let number = std::str::from_utf8(payload(&message)).unwrap();
                let twice = read.insert(number.parse().unwrap(), partition);
                assert_eq!(twice, None, "message {number} is there twice");
            }
        }
        read.retain(|number, _| !self.unclear.contains(number));
        assert_eq!(read, self.delivered);
        assert!(self.producer.fatal_error().is_none());
        assert!(self.base.fatal_error().is_none());
    }

    /// The log that it was in is gone.
    fn forget(&mut self) {
        self.delivered.clear();
        self.unclear.clear();
    }
}

/// While it is gone, sends fail as those to any topic that is not there.
async fn a_topic_made_again_works(cluster: Cluster, idempotence: bool) {
    for (before, after) in [(1, 3), (3, 1)] {
        let topic = cluster.create_topic(before, 3).await;
        let mut config = cluster.config();
        config.set("enable.idempotence", idempotence.to_string());
        let mut senders = Senders::new(&topic, config);
        senders.assert_works(&cluster, before).await;

        cluster.delete_topic(&topic).await;
        senders
            .until(Senders::ANY, |end| {
                end == Some(RDKafkaErrorCode::UnknownTopic)
            })
            .await;

        senders.forget();
        cluster.create_topic_named(&topic, after, 3).await;
        senders.until(Senders::ANY, |end| end.is_none()).await;
        senders.assert_works(&cluster, after).await;
    }
}

/// Nothing is sent in between, so the producers never see it gone.
async fn a_topic_made_again_unnoticed_works(cluster: Cluster, idempotence: bool) {
    for (before, after) in [(2, 2), (3, 1)] {
        let topic = cluster.create_topic(before, 3).await;
        let mut config = cluster.config();
        config.set("enable.idempotence", idempotence.to_string());
        let mut senders = Senders::new(&topic, config);
        senders.assert_works(&cluster, before).await;

        senders.forget();
        cluster.delete_topic(&topic).await;
        cluster.create_topic_named(&topic, after, 3).await;
        senders.until(Senders::ANY, |end| end.is_none()).await;
        senders.assert_works(&cluster, after).await;
    }
}

async fn a_killed_leader_loses_and_duplicates_nothing(cluster: Cluster) {
    const MESSAGES: usize = 100_000;
    let topic = cluster.create_topic(1, 3).await;
    let producer: Producer = cluster
        .config()
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    let text = |index: usize| format!("{index:0>100}");
    // Known to work, and the leader with it.
    producer
        .send(ProducerRecord::to(&topic).payload("first"))
        .await
        .unwrap();
    let leader = cluster.leader(&topic, 0);

    let mut futures = Vec::with_capacity(MESSAGES);
    for index in 0..MESSAGES {
        if index == MESSAGES / 4 {
            // From here on it answers nothing, so that what follows is in flight when it dies.
            Cluster::node("pause", leader);
        }
        let future = producer.enqueue(ProducerRecord::to(&topic).payload(text(index)));
        futures.push(future.await.unwrap());
    }
    let in_flight = producer.in_flight_count();
    assert!(in_flight >= 10_000, "{in_flight}");
    Cluster::node("kill", leader);

    let mut offsets = Vec::with_capacity(MESSAGES);
    for result in join_all(futures).await {
        let delivery = result.expect("an idempotent producer with time gets everything delivered");
        offsets.push(delivery.offset());
    }
    // Nothing lost, nothing twice, in order; each at the offset that its delivery named.
    let read = cluster.read(&topic, 0, 1, MESSAGES);
    for (index, (message, offset)) in read.iter().zip(&offsets).enumerate() {
        assert_eq!(payload(message), text(index).as_bytes());
        assert!(offset.is_none_or(|offset| offset == message.offset()));
    }
    assert_eq!(cluster.end(&topic, 0), 1 + MESSAGES as i64);

    tokio::task::spawn_blocking(move || Cluster::node("start", leader))
        .await
        .unwrap();
    let started = Instant::now();
    while cluster.in_sync(&topic, 0) != 3 {
        assert!(
            started.elapsed() < DEADLINE,
            "the node never came back in sync"
        );
    }
}
