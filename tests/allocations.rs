//! Rust allocations of a message: what a benchmark would tell less exactly.
//!
//! A binary of its own: its global allocator counts the allocations of the whole process.
// By value an array of 100 bytes would be copied into an allocation.
#![allow(clippy::needless_borrows_for_generic_args)]

mod support;

use std::alloc::System;
use std::collections::VecDeque;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::mock::{cluster, config};
use tokio_rdkafka::{ProduceExt, Producer, ProducerRecord};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MESSAGES: usize = 20_000;
const WINDOW: usize = 1_000;

/// Awaits the oldest of a window.
async fn awaited(producer: &Producer, messages: usize) {
    let payload = [7_u8; 100];
    let mut futures = VecDeque::with_capacity(WINDOW);
    for _ in 0..messages {
        if futures.len() == WINDOW {
            let oldest: tokio_rdkafka::DeliveryFuture = futures.pop_front().unwrap();
            oldest.await.unwrap();
        }
        let record = ProducerRecord::to("t").payload(&payload);
        futures.push_back(producer.enqueue(record).await.unwrap());
    }
    for future in futures {
        future.await.unwrap();
    }
}

/// As above, one at a time and in a window, with payloads that librdkafka borrows.
async fn borrowed(producer: &Producer, messages: usize) {
    let payload = Bytes::from(vec![7_u8; 1024]);
    let record = || ProducerRecord::to("t").payload(payload.clone());
    let mut futures = VecDeque::with_capacity(WINDOW);
    for _ in 0..messages {
        if futures.len() == WINDOW {
            let oldest: tokio_rdkafka::DeliveryFuture = futures.pop_front().unwrap();
            oldest.await.unwrap();
        }
        futures.push_back(producer.enqueue(record()).await.unwrap());
    }
    for future in futures {
        future.await.unwrap();
    }
    for _ in 0..messages / 10 {
        producer.send(record()).await.unwrap();
    }
}

/// The queue's limit keeps the window.
async fn detached(producer: &Producer, messages: usize) {
    let payload = [7_u8; 100];
    for _ in 0..messages {
        let record = ProducerRecord::to("t").payload(&payload);
        producer.enqueue_detached(record).await.unwrap();
    }
    producer.flush().await.unwrap();
}

/// A sink, by `send` of its trait: the queue's limit keeps the window here too.
async fn sunk(producer: &Producer, messages: usize) {
    let mut sink = producer.sink();
    for _ in 0..messages {
        let record = ProducerRecord::to("t").payload(&[7_u8; 100]);
        sink.feed(record).await.unwrap();
    }
    sink.flush().await.unwrap();
}

/// Ordered results, each with its value.
async fn streamed(producer: &Producer, messages: usize) {
    let payload = [7_u8; 100];
    let mut results = stream::iter(0..messages)
        .map(|value| (value, ProducerRecord::to("t").payload(&payload)))
        .produce_each(producer)
        .max_in_flight(WINDOW);
    while let Some((_, result)) = results.next().await {
        result.unwrap();
    }
}

/// Ordered results of items with one record, or none.
async fn streamed_in_items(producer: &Producer, messages: usize) {
    let payload = [7_u8; 100];
    let mut results = stream::iter(0..messages)
        .map(|value| {
            let record = ProducerRecord::to("t").payload(&payload);
            (value, (value % 2 == 0).then_some(record))
        })
        .produce(producer)
        .max_in_flight(WINDOW);
    while let Some((value, result)) = results.next().await {
        assert_eq!(result.unwrap().len(), 1 - value % 2);
    }
}

async fn sent_all(producer: &Producer, messages: usize) {
    let payload = [7_u8; 100];
    let records = (0..messages).map(|_| ProducerRecord::to("t").payload(&payload));
    let mut results = producer.send_all(records).max_in_flight(WINDOW);
    while let Some(result) = results.next().await {
        result.unwrap();
    }
}

async fn allocations(work: impl AsyncFn(&Producer, usize)) -> f64 {
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    config.set("queue.buffering.max.messages", WINDOW.to_string());
    let producer: Producer = config.create().unwrap();
    // The most that will ever be in flight at once.
    work(&producer, WINDOW * 2).await;
    let region = Region::new(ALLOCATOR);
    work(&producer, MESSAGES).await;
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / MESSAGES as f64
}

/// One test in this binary: the allocator counts for all threads.
#[tokio::test(flavor = "current_thread")]
async fn a_message_takes_no_allocation() {
    for (name, allocations) in [
        ("awaited", allocations(awaited).await),
        ("borrowed", allocations(borrowed).await),
        ("detached", allocations(detached).await),
        ("by a sink", allocations(sunk).await),
        ("by a stream", allocations(streamed).await),
        ("by a stream of items", allocations(streamed_in_items).await),
        ("by send_all", allocations(sent_all).await),
    ] {
        assert!(allocations <= 0.01, "{allocations} for each message {name}");
    }
}
