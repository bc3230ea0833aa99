//! Limits of time on runtimes without timers, and on executors that are not tokio's.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures::executor;
use tokio::runtime::{Builder, Runtime};
use tokio_rdkafka::{Producer, ProducerRecord};

use crate::support::mock::{DEADLINE, cluster, config, payloads};

fn record(payload: &str) -> ProducerRecord<'_> {
    ProducerRecord::to("t").payload(payload)
}

#[test]
fn timed_calls_work_on_a_foreign_executor() {
    let runtime = Runtime::new().unwrap();
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    config.set("queue.buffering.max.messages", "1");
    let producer = Producer::builder(&config)
        .runtime(runtime.handle().clone())
        .max_block(DEADLINE)
        .create()
        .unwrap();
    // This thread has no reactor.
    executor::block_on(async {
        producer.ready(DEADLINE).await.unwrap();
        let (first, second) = futures::join!(
            producer.send(record("1")),
            producer.send_timeout(record("2"), DEADLINE)
        );
        first.unwrap();
        second.unwrap();
        producer.flush_timeout(DEADLINE).await.unwrap();
        producer.cluster(DEADLINE).await.unwrap();
        producer.topics(DEADLINE).await.unwrap();

        let permit = producer.reserve().await.unwrap();
        let late = producer
            .send_timeout(record("3"), Duration::from_millis(1))
            .await;
        assert!(late.unwrap_err().is_timed_out());
        drop(permit);
        producer.close_timeout(DEADLINE).await;
    });
    assert_eq!(runtime.block_on(payloads(&cluster, "t")), ["1", "2"]);
}

#[test]
fn a_runtime_without_timers_is_reported_and_all_else_works() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let cluster = cluster("t", 1);
    runtime.block_on(async {
        let producer: Producer = config(&cluster)
            .set("queue.buffering.max.messages", "1")
            .create()
            .unwrap();
        producer.ready(DEADLINE).await.unwrap();
        let error = producer.flush_timeout(DEADLINE).await.unwrap_err();
        assert!(error.to_string().contains("enable_time"), "{error}");

        let permit = producer.reserve().await.unwrap();
        let error = producer.send_timeout(record("1"), DEADLINE).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains("enable_time"), "{error}");
        permit.send(error.into_record()).await.unwrap();

        producer.send_timeout(record("2"), DEADLINE).await.unwrap();
        producer.flush().await.unwrap();
        producer.cluster(DEADLINE).await.unwrap();
        producer.topics(DEADLINE).await.unwrap();
        producer.close_timeout(DEADLINE).await;
        assert_eq!(payloads(&cluster, "t").await, ["1", "2"]);
    });
}

/// tokio panics if it is asked for a timer then.
#[test]
fn a_runtime_without_timers_is_asked_for_one_once() {
    let (panics, here) = (Arc::new(AtomicUsize::new(0)), thread::current().id());
    let (counted, before) = (Arc::clone(&panics), panic::take_hook());
    // Other tests of the process go on meanwhile.
    panic::set_hook(Box::new(move |panic| {
        if thread::current().id() == here {
            counted.fetch_add(1, Ordering::SeqCst);
        } else {
            before(panic);
        }
    }));
    let runtime = Builder::new_current_thread().build().unwrap();
    let cluster = cluster("t", 1);
    runtime.block_on(async {
        let producer: Producer = config(&cluster).create().unwrap();
        for _ in 0..3 {
            producer.ready(DEADLINE).await.unwrap();
            producer.flush_timeout(DEADLINE).await.unwrap_err();
            producer.cluster(DEADLINE).await.unwrap();
            producer.topics(DEADLINE).await.unwrap();
        }
    });
    assert_eq!(panics.load(Ordering::SeqCst), 1);
}

/// A deadline of the caller's own, after which the delivery's future is still there.
#[tokio::test]
async fn a_delivery_is_awaited_on_after_a_deadline_of_its_own() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "10000").create().unwrap();
    let mut delivery = producer.enqueue(record("1")).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(1), &mut delivery).await;
    assert!(early.is_err());
    producer.flush().await.unwrap();
    assert_eq!(delivery.await.unwrap().offset(), Some(0));
}
