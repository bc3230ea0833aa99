//! A partition's leader that is frozen (`SIGSTOP`): it keeps its connections and answers nothing.
//!
//! The cluster soon has another leader. A producer at its default settings learns so once a request
//! has waited for `socket.timeout.ms`, which is 31 s. If it has no other connection, it learns so
//! another 10 s later (`api.version.request.timeout.ms`): librdkafka connects to another broker, but
//! its request for metadata is skipped there ("already being requested"), and is not repeated while
//! the attempt to reconnect to the frozen broker waits for an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use libtest_mimic::Trial;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time;
use tokio_rdkafka::{Producer, ProducerRecord};

use crate::support::kafka::{Cluster, DEADLINE};
use crate::support::trials::{Module, many_threads};

/// How long sends may stand still: with librdkafka's `socket.timeout.ms` it would be longer.
const BOUND: Duration = Duration::from_secs(60);

const PARTITIONS: i32 = 3;

pub fn trials() -> Vec<Trial> {
    vec![Module("frozen").trial_alone(
        many_threads,
        "sends_go_on_before_a_frozen_leader_has_cost_a_minute",
        sends_go_on,
    )]
}

/// Thaws the node, also if the test fails.
struct Frozen(i32);

impl Frozen {
    fn new(node: i32) -> Self {
        Cluster::node("pause", node);
        Self(node)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        Cluster::node("resume", self.0);
    }
}

async fn sends_go_on(cluster: Cluster) {
    let cluster = Arc::new(cluster);
    let topic = cluster.create_topic(PARTITIONS, 3).await;
    // They share the freeze, to save time.
    let cases: [(_, &[i32], _); 4] = [
        ("one partition", &[0], "false"),
        ("one partition, idempotent", &[0], "true"),
        ("all partitions", &[0, 1, 2], "false"),
        ("all partitions, idempotent", &[0, 1, 2], "true"),
    ];
    let mut producers = Vec::new();
    for (name, partitions, is_idempotent) in cases {
        let producer: Producer = cluster
            .config()
            .set("enable.idempotence", is_idempotent)
            .create()
            .unwrap();
        // Connected to the leaders.
        for partition in partitions {
            let record = ProducerRecord::to(&topic).partition(*partition);
            producer.send(record.payload("first")).await.unwrap();
        }
        producers.push((name, partitions, producer));
    }
    let leader = cluster.leader(&topic, 0);
    let frozen = Frozen::new(leader);
    let started = Instant::now();

    let mut loads = JoinSet::new();
    for (name, partitions, producer) in producers {
        let topic = topic.clone();
        loads.spawn(async move {
            let delivered = go_on(&producer, &topic, partitions);
            let waited = time::timeout(DEADLINE, delivered).await;
            waited.unwrap_or_else(|_| panic!("{name}: sends do not go on"));
            (name, started.elapsed())
        });
    }
    let mut times = Vec::new();
    while let Some(load) = loads.join_next().await {
        let (name, waited) = load.expect("a load");
        println!("  {name}: sends went on after {waited:.1?}");
        times.push((name, waited));
    }
    drop(frozen);
    await_whole(&cluster, leader, &topic).await;
    for (name, waited) in times {
        assert!(waited < BOUND, "{name}: sends went on after {waited:?}");
    }
}

/// Sends more than is in flight at a time, so that new records follow those that the frozen leader
/// was given. All of them are delivered.
async fn go_on(producer: &Producer, topic: &str, partitions: &[i32]) {
    const RECORDS: usize = 1_000;
    const AT_A_TIME: usize = 100;
    let partitions = partitions.iter().copied().cycle().take(RECORDS);
    let sends = partitions.map(|partition| {
        let record = ProducerRecord::to(topic).partition(partition);
        producer.send(record.payload("x"))
    });
    let mut results = stream::iter(sends).buffer_unordered(AT_A_TIME);
    while let Some(result) = results.next().await {
        result.expect("a producer with time gets everything delivered");
    }
}

/// Waits until all nodes are back, for the trials that follow.
async fn await_whole(cluster: &Arc<Cluster>, node: i32, topic: &str) {
    let started = Instant::now();
    loop {
        let (cluster, topic) = (Arc::clone(cluster), topic.to_owned());
        let is_whole = spawn_blocking(move || cluster.is_whole_for(node, &topic));
        if is_whole.await.expect("metadata") {
            return;
        }
        assert!(
            started.elapsed() < DEADLINE,
            "node {node} was thawed and is not back in every in-sync set"
        );
    }
}
