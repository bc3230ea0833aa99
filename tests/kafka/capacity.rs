//! The limit of the queue, on a runtime of many threads and a cluster that takes its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use futures::StreamExt as _;
use futures::stream;
use libtest_mimic::Trial;
use tokio::task::JoinSet;
use tokio_rdkafka::{Producer, ProducerRecord};

use crate::support::kafka::Cluster;
use crate::support::trials::{Module, many_threads};

const LIMIT: usize = 100;

pub fn trials() -> Vec<Trial> {
    vec![Module("capacity").trial_on(
        many_threads,
        "no_more_than_the_queue_takes_is_ever_in_flight",
        the_limit,
    )]
}

/// The most that is in flight at any time, as far as somebody looks.
#[derive(Default)]
struct Most(AtomicUsize);

impl Most {
    fn look(&self, producer: &Producer) {
        self.0
            .fetch_max(producer.in_flight_count(), Ordering::Relaxed);
    }
}

async fn the_limit(cluster: Cluster) {
    for permits in [0, LIMIT / 5] {
        let most = most_in_flight(&cluster, permits).await;
        let allowed = LIMIT - permits;
        assert!(most <= allowed, "{most} in flight beside {permits} permits");
        // The limit was what the senders met.
        assert_eq!(most, allowed, "{permits} permits");
    }
}

/// What is in flight at most while many more sends are polled than the queue takes, from one task
/// and from several, and so many permits are held.
async fn most_in_flight(cluster: &Cluster, permits: usize) -> usize {
    const SENDS: usize = 20_000;
    const AT_A_TIME: usize = 5_000;
    const TASKS: usize = 4;
    let topic = cluster.create_topic(3, 3).await;
    let producer: Producer = cluster
        .config()
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", LIMIT.to_string())
        .create()
        .unwrap();
    let mut held = Vec::new();
    for _ in 0..permits {
        held.push(producer.reserve().await.unwrap());
    }

    let most = Arc::new(Most::default());
    let is_over = Arc::new(AtomicBool::new(false));
    let sampler = thread::spawn({
        let (producer, most, is_over) = (producer.clone(), Arc::clone(&most), Arc::clone(&is_over));
        move || {
            while !is_over.load(Ordering::Relaxed) {
                most.look(&producer);
                thread::yield_now();
            }
        }
    });
    let record = || ProducerRecord::to(&topic).payload(vec![b'x'; 2_000]);

    let sends = stream::iter(0..SENDS).map(|_| producer.send(record()));
    let mut results = sends.buffer_unordered(AT_A_TIME);
    while let Some(result) = results.next().await {
        most.look(&producer);
        result.unwrap();
    }
    drop(results);

    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (producer, most, topic) = (producer.clone(), Arc::clone(&most), topic.clone());
        tasks.spawn(async move {
            let enqueue = async |_| {
                let record = ProducerRecord::to(&topic).payload(vec![b'x'; 2_000]);
                let future = producer.enqueue(record).await.unwrap();
                most.look(&producer);
                future.await.unwrap();
            };
            let sends = stream::iter(0..SENDS / TASKS).map(enqueue);
            sends.buffer_unordered(AT_A_TIME).count().await
        });
    }
    assert_eq!(tasks.join_all().await, [SENDS / TASKS; TASKS]);
    is_over.store(true, Ordering::Relaxed);
    sampler.join().unwrap();
    drop(held);
    producer.close().await;
    most.0.load(Ordering::Relaxed)
}
