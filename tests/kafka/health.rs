//! Health and counts, with nodes that are killed and started, and with logins.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::future::join_all;
use libtest_mimic::Trial;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_rdkafka::{ConnectFailure, Health, Metrics, Producer, ProducerRecord, RDKafkaErrorCode};

use crate::support::kafka::{Cluster, DEADLINE};
use crate::support::logins::{Locked, WRITER};
use crate::support::trials::{Module, many_threads};

const MODULE: Module = Module("health");

pub fn trials() -> Vec<Trial> {
    let locked = |trial: Trial| trial.with_ignored_flag(!Locked::is_there());
    vec![
        MODULE.trial("an_idle_producer_is_up", idle),
        locked(MODULE.trial("a_wrong_password_fails_until_it_is_right", wrong_password)),
        locked(MODULE.trial("an_unknown_ca_fails", unknown_ca)),
        MODULE.trial_alone(
            many_threads,
            "killed_nodes_are_named_until_they_are_back",
            killed,
        ),
        MODULE.trial_alone(many_threads, "an_outage_of_all_nodes_passes", outage),
    ]
}

async fn until(
    health: &mut watch::Receiver<Health>,
    is_wanted: impl Fn(&Health) -> bool,
) -> Health {
    let found = timeout(DEADLINE, health.wait_for(|it| is_wanted(it))).await;
    let found = found.map(|it| it.expect("the producer is open").clone());
    found.unwrap_or_else(|_| panic!("it stays {}", *health.borrow()))
}

fn is_up(health: &Health) -> bool {
    matches!(health, Health::Up)
}

async fn node(action: &'static str, id: i32) {
    spawn_blocking(move || Cluster::node(action, id))
        .await
        .expect("nodectl");
}

async fn idle(cluster: Cluster) {
    let producer: Producer = cluster.config().create().unwrap();
    let mut health = producer.health();
    until(&mut health, is_up).await;
    producer.close().await;
    until(&mut health, |it| matches!(it, Health::Terminated)).await;
}

async fn wrong_password(_: Cluster) {
    const WRONG: &str = "not-the-password";
    let locked = Locked::from_env();
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let mut config = locked.sasl_ssl(mechanism);
        config
            .set("sasl.username", WRITER)
            .set("sasl.password", WRONG)
            .set("reconnect.backoff.max.ms", "500");
        let producer: Producer = config.create().unwrap();
        let mut health = producer.health();
        let failing = until(&mut health, |it| matches!(it, Health::Failing(_))).await;
        let reason = failing.error().unwrap();
        assert_eq!(
            reason.connect_failure(),
            Some(ConnectFailure::Authentication)
        );
        println!("  {mechanism}: {failing}");
        let shown = format!("{failing} {failing:?}");
        assert!(!shown.contains(WRONG), "{shown}");
        let right = env::var("KAFKA_WRITER_PASSWORD").unwrap();
        producer.set_sasl_credentials(WRITER, &right).unwrap();
        until(&mut health, is_up).await;
        assert!(!format!("{:?}", *health.borrow()).contains(&right));
    }
}

async fn unknown_ca(_: Cluster) {
    let locked = Locked::from_env();
    let producer: Producer = locked.ssl_unknown_ca().create().unwrap();
    let failing = until(&mut producer.health(), |it| {
        matches!(it, Health::Failing(_))
    })
    .await;
    let failure = failing.error().unwrap().connect_failure();
    assert_eq!(failure, Some(ConnectFailure::UnknownCa));
}

/// Sends to all partitions until it is stopped, and checks each sample of the counts.
struct Load {
    producer: Producer,
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
}

impl Load {
    fn start(producer: &Producer, topic: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for partition in 0..3 {
            let (producer, topic) = (producer.clone(), topic.to_owned());
            let is_over = Arc::clone(&is_over);
            tasks.push(tokio::spawn(async move {
                let mut sent = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let record = ProducerRecord::to(&*topic).partition(partition);
                    producer.send(record.payload("payload")).await.unwrap();
                    sent += 1;
                }
                sent
            }));
        }
        let (sampled, over) = (producer.clone(), Arc::clone(&is_over));
        tasks.push(spawn_blocking(move || {
            while !over.load(Ordering::SeqCst) {
                assert_adds_up(&sampled.metrics());
            }
            0
        }));
        Self {
            producer: producer.clone(),
            is_over,
            tasks,
        }
    }

    async fn stop(self) {
        self.is_over.store(true, Ordering::SeqCst);
        let mut sent = 0;
        for task in self.tasks {
            sent += task.await.expect("a task");
        }
        let metrics = self.producer.metrics();
        assert_adds_up(&metrics);
        // The three of the set-up.
        assert_eq!(metrics.delivered.records, sent + 3);
        assert_eq!((metrics.failed.records, metrics.in_flight.records), (0, 0));
        assert_eq!(metrics.delivered.bytes, 7 * sent);
        let latency = &metrics.delivery_latency;
        println!(
            "  {sent} delivered, retries {:?}, {latency:?}",
            metrics.retries
        );
    }
}

fn assert_adds_up(metrics: &Metrics) {
    let Metrics {
        enqueued,
        delivered,
        failed,
        in_flight,
        ..
    } = metrics;
    let records = delivered.records + failed.records + in_flight.records;
    let bytes = delivered.bytes + failed.bytes + in_flight.bytes;
    assert_eq!((enqueued.records, enqueued.bytes), (records, bytes));
}

/// A producer that has used all three nodes.
async fn connected(cluster: &Cluster) -> (Producer, String) {
    let topic = cluster.create_topic(3, 3).await;
    let producer: Producer = cluster
        .config()
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    for partition in 0..3 {
        let record = ProducerRecord::to(&*topic).partition(partition);
        producer.send(record).await.unwrap();
    }
    (producer, topic)
}

async fn killed(cluster: Cluster) {
    let (producer, topic) = connected(&cluster).await;
    let mut health = producer.health();
    until(&mut health, is_up).await;
    let load = Load::start(&producer, &topic);
    for (action, id) in [("kill", 1), ("stop", 2), ("kill", 3)] {
        let began = Instant::now();
        let gone = spawn_blocking(move || Cluster::node(action, id));
        let degraded = until(&mut health, |it| !it.failures().is_empty()).await;
        println!("  {action} {id}: after {:?}: {degraded}", began.elapsed());
        gone.await.unwrap();
        let failure = &degraded.failures()[0];
        assert_eq!((degraded.failures().len(), failure.id), (1, id));
        let code = failure.error.code();
        assert_eq!(code, Some(RDKafkaErrorCode::BrokerTransportFailure));
        // The others lead its partitions, and it is not forgotten.
        let before = producer.metrics().delivered.records;
        let passed = async {
            while producer.metrics().delivered.records < before + 300 {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, passed).await.expect("records go on");
        assert_eq!(health.borrow().failures().len(), 1, "{}", *health.borrow());
        let began = Instant::now();
        node("start", id).await;
        until(&mut health, is_up).await;
        println!("  start {id}: up after {:?}", began.elapsed());
    }
    load.stop().await;
}

async fn outage(cluster: Cluster) {
    let (producer, topic) = connected(&cluster).await;
    let mut health = producer.health();
    until(&mut health, is_up).await;
    let load = Load::start(&producer, &topic);
    for id in 1..=3 {
        node("kill", id).await;
    }
    let failing = until(&mut health, |it| matches!(it, Health::Failing(_))).await;
    println!("  {failing}");
    // None of them is ready alone.
    join_all((1..=3).map(|id| node("start", id))).await;
    until(&mut health, is_up).await;
    load.stop().await;
}
