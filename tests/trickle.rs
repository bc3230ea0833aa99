//! A stream that trickles into a sink: the sink batches as a hand-written loop does.
//!
//! A binary of its own: no thread of the whole process may be one for blocking calls.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::time::Duration;

use futures::{StreamExt, stream};
use support::mock::{cluster, config, produce_requests};
use tokio::sync::mpsc;
use tokio_rdkafka::{MockCluster, Producer, ProducerRecord};

const RECORDS: usize = 800;

fn has_threads_of_ours() -> bool {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks.flatten().any(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.starts_with("rdkafka-block")
    })
}

/// A cluster whose requests count, and a producer that is connected.
async fn setting() -> (MockCluster, Producer) {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "200").create().unwrap();
    producer.send(record()).await.unwrap();
    cluster.start_request_tracking();
    (cluster, producer)
}

fn record() -> ProducerRecord<'static> {
    ProducerRecord::to("t").payload("v")
}

/// The same ticks go to both.
#[tokio::test]
async fn a_stream_that_trickles_is_batched_as_by_hand() {
    let (of_sink, forwarding) = setting().await;
    let (of_loop, by_hand) = setting().await;
    let (to_sink, mut sinks) = mpsc::unbounded_channel();
    let (to_loop, mut loops) = mpsc::unbounded_channel();

    // Its source is pending after every item, and so its sink is flushed.
    let sink = forwarding.sink();
    let statistics = sink.statistics();
    let source = stream::poll_fn(move |cx| sinks.poll_recv(cx));
    let forward = tokio::spawn(source.map(|()| Ok(record())).forward(sink));
    let enqueue = tokio::spawn(async move {
        let mut futures = Vec::new();
        while let Some(()) = loops.recv().await {
            futures.push(by_hand.enqueue(record()).await.unwrap());
        }
        for future in futures {
            future.await.unwrap();
        }
        by_hand
    });
    for _ in 0..RECORDS {
        to_sink.send(()).unwrap();
        to_loop.send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!has_threads_of_ours());
    }
    let requests = (produce_requests(&of_sink), produce_requests(&of_loop));
    println!(
        "requests: {} of the sink, {} by hand",
        requests.0, requests.1
    );
    // By hand it is one for 40 records, if the machine is not busy. A sink that sent at each of its
    // flushes would have one for each record.
    assert!(requests.0 <= requests.1 * 3 / 2, "{requests:?}");
    assert!(requests.1 < RECORDS / 2, "{requests:?}");
    // A close flushes, on a thread.
    drop((to_sink, to_loop));
    forward.await.unwrap().unwrap();
    enqueue.await.unwrap();
    assert_eq!(statistics.delivered(), RECORDS as u64);
}
