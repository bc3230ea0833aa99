//! The threads on which librdkafka's blocking calls run: callers of one kind share one.
//!
//! A binary of its own: it counts the threads of the whole process.
#![cfg(target_os = "linux")]

mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use support::mock::{DEADLINE, cluster, config, until};
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

/// Those of ours by their ids.
fn blocking_threads() -> Vec<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let paths = tasks.flatten().map(|task| task.path());
    let is_ours = |path: &PathBuf| {
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        name.trim() == "rdkafka-block"
    };
    paths.filter(is_ours).collect()
}

/// One test in this binary: it counts the threads of the process.
#[tokio::test]
async fn callers_share_threads() {
    flushes_that_run_at_the_same_time_share_one_thread().await;
    questions_about_the_cluster_share_one_thread_for_each_kind().await;
    waiters_for_capacity_are_watched_by_one_thread().await;
    waiters_behind_unused_permits_are_watched().await;
}

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
    // The thread of the time limits has a name of its own by then.
    until(|| threads_of_ours() == 1).await;

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

/// Two thousand calls, and two thousand more that are given up, while no broker can be reached.
async fn questions_about_the_cluster_share_one_thread_for_each_kind() {
    const CALLS: usize = 500;
    const TIMEOUT: Duration = DEADLINE;
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    until(|| threads_of_ours() == 0).await;
    let is_over = AtomicBool::new(false);
    let watch = async {
        let mut most = 0;
        while !is_over.load(Ordering::SeqCst) {
            most = most.max(threads_of_ours());
            tokio::task::yield_now().await;
        }
        most
    };
    let calls = async {
        let each = (0..CALLS).map(|_| async {
            let (brokers, partitions, topics, ready) = futures::join!(
                producer.cluster(TIMEOUT),
                producer.partitions_for("t", TIMEOUT),
                producer.topics(TIMEOUT),
                producer.ready(TIMEOUT),
            );
            assert!(brokers.is_err() && partitions.is_err() && topics.is_err() && ready.is_err());
        });
        let given_up = async {
            for _ in 0..CALLS {
                assert!(futures::poll!(Box::pin(producer.cluster(TIMEOUT))).is_pending());
                assert!(futures::poll!(Box::pin(producer.topics(TIMEOUT))).is_pending());
                drop(futures::poll!(Box::pin(producer.ready(TIMEOUT))));
                tokio::task::yield_now().await;
            }
        };
        let given_up = async {
            given_up.await;
            is_over.store(true, Ordering::SeqCst);
            // Before: a thread that ends would count beside the next of its kind.
            producer.close().await;
        };
        futures::join!(join_all(each), given_up);
    };
    let (most, ()) = futures::join!(watch, calls);
    // The search for a broker, `topics`, and `ready`; see `Producer`'s documentation. For a moment
    // the thread of the time limits looks like one of these.
    assert!((1..=4).contains(&most), "{most} threads");
    until(|| threads_of_ours() == 0).await;
}

/// After each delivery, nothing is in flight for a moment while others wait.
async fn waiters_for_capacity_are_watched_by_one_thread() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .create()
        .unwrap();
    let unused = producer.reserve().await.unwrap();
    let watches = RefCell::new(BTreeSet::new());
    let is_seen = || {
        watches.borrow_mut().extend(blocking_threads());
        !watches.borrow().is_empty()
    };
    let sends = (0..500).map(|_| async {
        producer.send(ProducerRecord::to("t")).await.unwrap();
        is_seen();
    });
    let sends = join_all(sends);
    let begins = async {
        until(is_seen).await;
        drop(unused);
    };
    futures::join!(sends, begins);
    assert_eq!(watches.borrow().len(), 1);
    // It ends with them, and does not delay a close.
    producer.close().await;
    until(|| blocking_threads().is_empty()).await;
}

/// No delivery, and no permit that is dropped, tells the driver to look.
async fn waiters_behind_unused_permits_are_watched() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .create()
        .unwrap();
    let first = producer.reserve().await.unwrap();
    // The queue is overbooked because of the first one.
    let second = producer.reserve().await.unwrap();
    until(|| blocking_threads().is_empty()).await;
    let mut waits = pin!(producer.reserve());
    assert!(futures::poll!(&mut waits).is_pending());
    until(|| !blocking_threads().is_empty()).await;
    drop(first);
    // And now because of the second one.
    drop((waits.await.unwrap(), second));
}
