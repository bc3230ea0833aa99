//! A million records through a sink on real Apache Kafka, in memory that does not grow with them;
//! run it by `tests/with-kafka cargo test --features full --test forward`.
//!
//! A binary of its own: it measures the peak memory of the whole process. Without a cluster
//! (`KAFKA_BOOTSTRAP_SERVERS`) it shows as ignored.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::process::ExitCode;

use futures::{StreamExt, stream};
use libtest_mimic::{Arguments, Trial};
use rdkafka::message::Message as _;
use support::kafka::Cluster;
use tokio_rdkafka::{Producer, ProducerRecord};

const PARTITIONS: usize = 6;
const FEW: usize = 100_000;
const MANY: usize = 1_000_000;

/// How much more memory many may take than few.
const MARGIN_KIB: u64 = 8 * 1024;

fn main() -> ExitCode {
    let trial = Trial::test("memory_does_not_grow_with_the_stream", || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(memory_does_not_grow_with_the_stream(Cluster::from_env()));
        Ok(())
    });
    let trial = trial.with_ignored_flag(!Cluster::is_there());
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

async fn memory_does_not_grow_with_the_stream(cluster: Cluster) {
    let partitions = i32::try_from(PARTITIONS).unwrap();
    let (few, many) = (
        cluster.create_topic(partitions, 1).await,
        cluster.create_topic(partitions, 1).await,
    );
    let producer: Producer = cluster
        .config()
        .set("queue.buffering.max.messages", "1000")
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .create()
        .unwrap();
    forward(&producer, &few, FEW).await;
    let of_few = peak_kib();
    forward(&producer, &many, MANY).await;
    let of_many = peak_kib();
    println!("peak RSS: {of_few} KiB with {FEW} records, {of_many} KiB with {MANY}");
    assert!(
        of_many <= of_few + MARGIN_KIB,
        "{of_few}, then {of_many} KiB"
    );
    assert_eq!(producer.close().await.failed, 0);

    let mut arrived = 0;
    for partition in 0..PARTITIONS {
        let read = cluster.read_all(&many, i32::try_from(partition).unwrap());
        for (index, message) in read.iter().enumerate() {
            let expected = (partition + index * PARTITIONS).to_string();
            let payload = message.payload().expect("a payload");
            assert!(payload.starts_with(expected.as_bytes()), "not {expected}");
            assert_eq!(payload[expected.len()], b' ');
        }
        arrived += read.len();
    }
    assert_eq!(arrived, MANY);
}

/// Sends numbered records, to one partition after the other.
async fn forward(producer: &Producer, topic: &str, count: usize) {
    let topic = producer.topic(topic).unwrap();
    let sink = producer.sink();
    let statistics = sink.statistics();
    let records = stream::iter(0..count).map(|number| {
        let partition = i32::try_from(number % PARTITIONS).unwrap();
        let payload = format!("{number} {:100}", "");
        Ok(ProducerRecord::to(&topic)
            .partition(partition)
            .payload(payload)
            .into_owned())
    });
    records.forward(sink).await.unwrap();
    assert_eq!(statistics.delivered(), count as u64);
}

/// The most memory that the process has had so far.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    peak.expect("a peak").parse().unwrap()
}
