//! An idle producer costs nothing of ours: no thread, no wake-up.
//!
//! A binary of its own: it counts threads and context switches of the whole process.
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::task::Poll;
use std::time::Duration;

use support::mock::{cluster, config};
use tokio_rdkafka::{Health, Producer, ProducerRecord};

/// Context switches, voluntary and not, of the threads of this process by id, without librdkafka's
/// own and the harness's.
fn switches(of: &str) -> BTreeMap<String, u64> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if read("comm").trim() != of {
            continue;
        }
        let status = read("status");
        let count = status
            .lines()
            .filter(|line| line.contains("ctxt_switches"))
            .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
            .sum();
        threads.insert(task.file_name().to_string_lossy().into_owned(), count);
    }
    threads
}

fn threads_of_ours() -> usize {
    switches("rdkafka-block").len() + switches("rdkafka-timer").len()
}

#[test]
fn an_idle_producer_makes_no_wake_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("idle-worker")
        .enable_time()
        .build()
        .unwrap();
    let cluster = cluster("t", 1);
    let producer = Producer::builder(&config(&cluster))
        .runtime(runtime.handle().clone())
        .create()
        .unwrap();
    // Connected, with everything done that a first message brings.
    runtime
        .block_on(producer.send(ProducerRecord::to("t").payload("v")))
        .unwrap();
    runtime.block_on(producer.flush()).unwrap();
    let long = Duration::from_secs(60);
    runtime.block_on(producer.ready(long)).unwrap();
    // One that nobody waits for any more. On a busy machine the answer may come within the poll.
    runtime.block_on(async {
        while let Poll::Ready(ready) = futures::poll!(Box::pin(producer.ready(long))) {
            ready.unwrap();
        }
    });

    // Somebody looks at the health, which does not change.
    let mut health = producer.health();
    let up = runtime.block_on(health.wait_for(Health::is_ready));
    assert!(matches!(*up.unwrap(), Health::Up));

    // The worker goes to sleep, once.
    let settled = || {
        let before = switches("idle-worker");
        std::thread::sleep(Duration::from_millis(200));
        // A thread of ours that ends wakes it once more.
        let is_settled = switches("idle-worker") == before && threads_of_ours() == 0;
        is_settled.then_some(before)
    };
    let before = std::iter::repeat_with(settled).take(100).flatten().next();
    let before = before.expect("the worker never goes to sleep");
    assert_eq!(before.len(), 1, "{before:?}");

    // The one test that is about a time: nothing happens in it.
    std::thread::sleep(Duration::from_secs(20));
    assert_eq!(switches("idle-worker"), before);
    assert_eq!(threads_of_ours(), 0);
    assert_eq!(producer.in_flight_count(), 0);
    assert!(!health.has_changed().unwrap());
}
