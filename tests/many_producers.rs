//! Making, using and dropping many producers: what valgrind looks at in `.ci/run`.
//!
//! A binary of its own: it waits until no client is left in the process.

mod support;

use support::mock::{DEADLINE, cluster, config, until};
use tokio_rdkafka::{BaseProducer, Headers, Producer, ProducerRecord};

/// Half of them are closed, half dropped; each tenth has a message that fails.
#[tokio::test]
async fn a_hundred_producers_come_and_go() {
    let cluster = cluster("t", 1);
    let mut futures = Vec::new();
    for index in 0..100 {
        let mut config = config(&cluster);
        let producer: Producer = config
            .set("client.id", format!("p{index}"))
            .create()
            .unwrap();
        let headers = Headers::new()
            .append("index", Some(index.to_string()))
            .append("n", None::<&str>);
        let record = ProducerRecord::to("t")
            .payload(index.to_string())
            .headers(headers);
        producer.send(record.clone()).await.unwrap();
        futures.push(producer.enqueue(record.timestamp(1)).await.unwrap());
        producer
            .enqueue_detached(ProducerRecord::to("t").key("k"))
            .await
            .unwrap();
        if index % 10 == 0 {
            let record = ProducerRecord::to("t")
                .partition(9)
                .headers(Headers::new().append("h", "v"));
            producer.send(record).await.unwrap_err();
        }
        if index % 2 == 0 {
            assert_eq!(producer.close().await.failed, 0);
        }
    }
    for future in futures {
        future.await.unwrap();
    }
    // Teardown without a close ends on threads of its own: wait for what they leave.
    until(|| !has_clients()).await;
}

#[test]
fn base_producers_come_and_go() {
    let cluster = cluster("t", 1);
    for index in 0..10 {
        let producer: BaseProducer = config(&cluster).create().unwrap();
        for _ in 0..10 {
            producer
                .send(ProducerRecord::to("t").payload(index.to_string()))
                .unwrap();
        }
        if index % 2 == 0 {
            producer.flush(DEADLINE).unwrap();
        }
    }
}

/// Whether a client is alive whose id is one of those above: librdkafka's threads have its name.
fn has_clients() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.flatten().any(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.starts_with("rdkafka-block")
    })
}
