//! What a mock cannot prove, on real Apache Kafka: run it by
//! `tests/with-kafka cargo test --features full --test kafka`.
//!
//! Without a cluster (`KAFKA_BOOTSTRAP_SERVERS`) all show as ignored; those that kill nodes also
//! without `KAFKA_NODECTL`. What was produced is read back by rdkafka's consumer, not by ours.

mod support;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::RwLock;
use std::time::Instant;

use futures::future::join_all;
use libtest_mimic::{Arguments, Trial};
use rdkafka::message::{Headers as _, Message as _};
use support::{Cluster, DEADLINE, Read};
use tokio_rdkafka::{Headers, Persistence, Producer, ProducerRecord, RDKafkaErrorCode, Timestamp};

/// A test that kills nodes must not run beside others.
static NODES: RwLock<()> = RwLock::new(());

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
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
        Trial::test("a_killed_leader_loses_and_duplicates_nothing", || {
            let _alone = NODES.write().unwrap_or_else(|poison| poison.into_inner());
            run(a_killed_leader_loses_and_duplicates_nothing);
            Ok(())
        })
        .with_ignored_flag(!Cluster::has_nodes_to_kill()),
    ];
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
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that only uses the cluster.
fn trial<F>(name: &str, test: impl FnOnce(Cluster) -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    Trial::test(name, || {
        let _beside_others = NODES.read().unwrap_or_else(|poison| poison.into_inner());
        run(test);
        Ok(())
    })
    .with_ignored_flag(!Cluster::is_there())
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Cluster) -> F) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(test(Cluster::from_env()));
}

fn payload(message: &Read) -> &[u8] {
    message.payload().expect("a payload")
}

async fn records_are_read_back_byte_for_byte(cluster: Cluster) {
    let topic = cluster.create_topic(3, 3).await;
    let producer: Producer = cluster.config().create().unwrap();
    let headers = Headers::new()
        .insert("h", Some("first"))
        .insert("h", Some(&[0xff, 0x00, 0xfe]))
        .insert("null", None::<&str>)
        .insert("empty", Some(""));
    let records = [
        ProducerRecord::to(&topic)
            .key("k")
            .payload("v")
            .partition(2),
        ProducerRecord::to(&topic),
        ProducerRecord::to(&topic).key("").payload(""),
        ProducerRecord::to(&topic)
            .payload(&[0, 159, 146, 150])
            .timestamp(1_600_000_000_123),
        ProducerRecord::to(&topic)
            .key(&[0xff])
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
            .map(|header| tokio_rdkafka::Header {
                name: header.key,
                value: header.value,
            })
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
    assert_eq!(cluster.read(&topic, 0, 0, 5_000).len(), 5_000);
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
