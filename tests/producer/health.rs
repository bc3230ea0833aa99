//! `health`: whether brokers answer, as it changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rdkafka::{
    ApiKey, ClientConfig, ConnectFailure, Health, MockCluster, Producer, ProducerRecord,
    RDKafkaErrorCode,
};

use crate::support::mock::{DEADLINE, cluster, config};

/// Waits for a health with that property, and returns it.
async fn until(
    health: &mut watch::Receiver<Health>,
    is_wanted: impl Fn(&Health) -> bool,
) -> Health {
    let found = timeout(DEADLINE, health.wait_for(|it| is_wanted(it))).await;
    let found = found.expect("in time").map(|it| it.clone());
    found.expect("the producer is open")
}

fn is_up(health: &Health) -> bool {
    matches!(health, Health::Up)
}

/// Three brokers, each of which leads a partition, and a producer that has used all of them.
async fn three(config_of: impl Fn(&mut ClientConfig)) -> (MockCluster, Producer) {
    let cluster = MockCluster::new(3).unwrap();
    cluster.create_topic("t", 3, 1).unwrap();
    for (partition, broker) in [(0, 1), (1, 2), (2, 3)] {
        cluster
            .partition_leader("t", partition, Some(broker))
            .unwrap();
    }
    let mut config = config(&cluster);
    config_of(config.set("reconnect.backoff.max.ms", "200"));
    let producer: Producer = config.create().unwrap();
    for partition in 0..3 {
        let record = ProducerRecord::to("t").partition(partition);
        producer.send(record).await.unwrap();
    }
    (cluster, producer)
}

#[tokio::test]
async fn an_idle_producer_comes_up_and_terminates() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let mut health = producer.health();
    assert!(matches!(*health.borrow(), Health::Connecting | Health::Up));
    let up = until(&mut health, is_up).await;
    assert!(up.is_ready() && up.error().is_none());
    // All receivers see the same.
    assert!(producer.clone().health().borrow().is_ready());
    producer.close().await;
    let end = until(&mut health, |it| matches!(it, Health::Terminated)).await;
    assert!(!end.is_ready());
    timeout(DEADLINE, health.changed())
        .await
        .unwrap()
        .unwrap_err();
    let mut late = producer.health();
    assert!(matches!(*late.borrow_and_update(), Health::Terminated));
    timeout(DEADLINE, late.changed())
        .await
        .unwrap()
        .unwrap_err();
}

/// As in a handler that asks anew for each request.
#[tokio::test]
async fn a_new_receiver_starts_with_what_is_known() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    assert!(!producer.health().borrow().is_ready());
    producer.send(ProducerRecord::to("t")).await.unwrap();
    for _ in 0..3 {
        assert!(producer.health().borrow().is_ready());
        tokio::task::yield_now().await;
    }
    cluster.broker_down(1).unwrap();
    let failed = |health: &Health| matches!(health, Health::Failing(_));
    until(&mut producer.health(), failed).await;
    // Nobody holds a receiver any more, and the watch ends.
    timeout(DEADLINE, async {
        while producer.health().borrow().is_ready() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    producer.close_timeout(Duration::ZERO).await;
}

#[tokio::test]
async fn a_broker_that_goes_is_named_until_it_comes_back() {
    let (cluster, producer) = three(|_| {}).await;
    let mut health = producer.health();
    until(&mut health, is_up).await;
    for broker in [2, 3] {
        cluster.broker_down(broker).unwrap();
        let gone = Instant::now();
        let degraded = until(&mut health, |it| matches!(it, Health::Degraded(_))).await;
        let failure = &degraded.failures()[0];
        assert_eq!((degraded.failures().len(), failure.id), (1, broker));
        assert!(cluster.bootstrap_servers().contains(&failure.address));
        assert!(degraded.is_ready() && degraded.to_string().contains(&failure.address));
        println!("degraded after {:?}: {degraded}", gone.elapsed());
        // Others deliver meanwhile.
        let record = ProducerRecord::to("t").partition(0);
        producer.send(record).await.unwrap();
        assert_eq!(health.borrow().failures().len(), 1);
        cluster.broker_up(broker).unwrap();
        until(&mut health, is_up).await;
    }
}

#[tokio::test]
async fn an_outage_of_all_brokers_passes() {
    let (cluster, producer) = three(|_| {}).await;
    let mut health = producer.health();
    until(&mut health, is_up).await;
    (1..=3).for_each(|broker| cluster.broker_down(broker).unwrap());
    let failing = until(&mut health, |it| matches!(it, Health::Failing(_))).await;
    let reason = failing.error().unwrap();
    assert_eq!(
        reason.code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure)
    );
    assert!(!failing.is_ready());
    cluster.broker_up(1).unwrap();
    let degraded = until(&mut health, Health::is_ready).await;
    let ids: Vec<_> = degraded.failures().iter().map(|it| it.id).collect();
    assert_eq!(ids, [2, 3]);
    cluster.broker_up(2).unwrap();
    until(&mut health, |it| it.failures().len() == 1).await;
    cluster.broker_up(3).unwrap();
    until(&mut health, is_up).await;
}

/// One broker, which the producer loses and finds again.
#[tokio::test]
async fn the_only_broker_goes_and_comes() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    let mut health = producer.health();
    for _ in 0..2 {
        until(&mut health, is_up).await;
        cluster.broker_down(1).unwrap();
        until(&mut health, |it| matches!(it, Health::Failing(_))).await;
        cluster.broker_up(1).unwrap();
    }
    until(&mut health, is_up).await;
}

#[tokio::test]
async fn an_address_where_nobody_listens_fails_with_the_reason() {
    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", "127.0.0.1:1")
        .create()
        .unwrap();
    let mut health = producer.health();
    assert!(matches!(*health.borrow(), Health::Connecting));
    let failing = until(&mut health, |it| matches!(it, Health::Failing(_))).await;
    let reason = failing.error().unwrap();
    assert_eq!(reason.connect_failure(), Some(ConnectFailure::Refused));
    assert!(failing.to_string().contains("127.0.0.1:1"), "{failing}");
    producer.close().await;
    until(&mut health, |it| matches!(it, Health::Terminated)).await;
}

/// One of two bootstrap servers is none: no broker fails.
#[tokio::test]
async fn a_bootstrap_server_that_is_no_broker_is_none_of_the_names() {
    let cluster = cluster("t", 1);
    let servers = format!("127.0.0.1:1,{}", cluster.bootstrap_servers());
    let producer: Producer = config(&cluster)
        .set("bootstrap.servers", servers)
        .create()
        .unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    let health = until(&mut producer.health(), Health::is_ready).await;
    assert!(is_up(&health), "{health}");
}

#[tokio::test]
async fn a_fatal_error_is_told() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    let mut health = producer.health();
    until(&mut health, is_up).await;
    cluster.request_errors(
        ApiKey::Produce,
        &[RDKafkaErrorCode::OutOfOrderSequenceNumber],
    );
    producer.send(ProducerRecord::to("t")).await.unwrap_err();
    let fatal = until(&mut health, |it| matches!(it, Health::Fatal(_))).await;
    assert!(fatal.error().unwrap().is_fatal() && !fatal.is_ready());
    let late = producer.health().borrow().clone();
    assert!(matches!(late, Health::Fatal(_)), "{late}");
    producer.close().await;
    until(&mut health, |it| matches!(it, Health::Terminated)).await;
}

/// Nobody watches a producer whose receivers are gone; another receiver begins anew.
#[tokio::test]
async fn a_watch_ends_with_its_receivers() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    for _ in 0..3 {
        let mut health = producer.health();
        until(&mut health, is_up).await;
        let tasks = || runtime::Handle::current().metrics().num_alive_tasks();
        let watched = tasks();
        drop(health);
        crate::support::mock::until(|| tasks() < watched).await;
    }
}

#[test]
fn the_end_of_the_runtime_terminates() {
    let cluster = Arc::new(cluster("t", 1));
    let runtime = runtime::Runtime::new().unwrap();
    let (producer, mut health) = runtime.block_on(async {
        let producer: Producer = config(&cluster).create().unwrap();
        let mut health = producer.health();
        until(&mut health, is_up).await;
        (producer, health)
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    let other = runtime::Runtime::new().unwrap();
    other.block_on(until_terminated(&mut health));
    drop(producer);
}

async fn until_terminated(health: &mut watch::Receiver<Health>) {
    until(health, |it| matches!(it, Health::Terminated)).await;
}

/// No change is published for a broker that closes a connection and answers again in time.
#[tokio::test]
async fn a_connection_that_is_only_closed_changes_nothing() {
    /// The time that it has.
    const IN_TIME: Duration = Duration::from_millis(400);
    let (cluster, producer) = three(|config| {
        config.set("reconnect.backoff.ms", "1");
    })
    .await;
    let mut health = producer.health();
    let started = Instant::now();
    loop {
        until(&mut health, is_up).await;
        health.mark_unchanged();
        let closed = Instant::now();
        cluster.request_errors(
            ApiKey::Metadata,
            &[RDKafkaErrorCode::BrokerTransportFailure],
        );
        producer.partitions_for("t", DEADLINE).await.unwrap();
        for partition in 0..3 {
            let record = ProducerRecord::to("t").partition(partition);
            producer.send(record).await.unwrap();
        }
        let has_changed = health.has_changed().unwrap();
        // Only a machine that was quick enough tells anything.
        if closed.elapsed() < IN_TIME {
            assert!(!has_changed, "{:?}", *health.borrow());
            break;
        }
        assert!(started.elapsed() < DEADLINE, "the machine is too slow");
    }
}
