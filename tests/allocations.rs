//! Rust allocations of a message: what a benchmark would tell less exactly.
#![cfg(feature = "mock")]

mod common;

use std::alloc::System;
use std::collections::VecDeque;

use common::{cluster, config};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio_rdkafka::{Producer, ProducerRecord};

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

/// The queue's limit keeps the window.
async fn detached(producer: &Producer, messages: usize) {
    let payload = [7_u8; 100];
    for _ in 0..messages {
        let record = ProducerRecord::to("t").payload(&payload);
        producer.enqueue_detached(record).await.unwrap();
    }
    producer.flush().await.unwrap();
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
    let (awaited, detached) = (allocations(awaited).await, allocations(detached).await);
    assert!(
        awaited <= 0.01 && detached <= 0.01,
        "for each message: awaited {awaited}, detached {detached}"
    );
}
