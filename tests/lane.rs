//! The thread on which librdkafka's blocking calls run.
//!
//! A binary of its own: it counts the threads of the whole process.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::path::PathBuf;

use futures::future::join_all;
use support::mock::{cluster, config, until};
use tokio_rdkafka::{Producer, ProducerRecord};

/// A thread that has just been made still has the name of the one that made it: this one.
fn threads_of_ours() -> usize {
    let name = |task: PathBuf| fs::read_to_string(task.join("comm")).unwrap_or_default();
    let this = name("/proc/thread-self".into());
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.flatten().map(|task| name(task.path()));
    let ours = names.filter(|name| name.trim() == "rdkafka-block" || *name == this);
    ours.count() - 1
}

/// One test in this binary: it counts the threads of the process.
#[tokio::test]
async fn flushes_that_run_at_the_same_time_share_one_thread() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    // librdkafka's threads have names of their own by then.
    until(|| threads_of_ours() == 0).await;
    let first = producer.try_enqueue(ProducerRecord::to("t")).unwrap();
    let mut flushes: Vec<_> = (0..50).map(|_| Box::pin(producer.flush())).collect();
    for flush in &mut flushes {
        assert!(futures::poll!(flush).is_pending());
    }
    let second = producer.try_enqueue(ProducerRecord::to("t")).unwrap();
    let mut later = Box::pin(producer.flush());
    assert!(futures::poll!(&mut later).is_pending());
    assert_eq!(producer.in_flight_count(), 2);
    assert_eq!(threads_of_ours(), 1);

    cluster.broker_up(1).unwrap();
    // Each counts what was in flight when it was called.
    for report in join_all(flushes).await {
        assert_eq!(report.unwrap().delivered, 1);
    }
    assert_eq!(later.await.unwrap().delivered, 2);
    first.await.unwrap();
    second.await.unwrap();
    // It ends with the last of them.
    until(|| threads_of_ours() == 0).await;
}
