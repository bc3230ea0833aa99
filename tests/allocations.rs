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

async fn window(producer: &Producer, messages: usize) {
    let payload = [7_u8; 100];
    let mut futures = VecDeque::with_capacity(WINDOW);
    for _ in 0..messages {
        if futures.len() == WINDOW {
            let oldest: tokio_rdkafka::DeliveryFuture = futures.pop_front().unwrap();
            oldest.await.unwrap();
        }
        futures.push_back(
            producer
                .enqueue(ProducerRecord::to("t").payload(&payload))
                .await
                .unwrap(),
        );
    }
    for future in futures {
        future.await.unwrap();
    }
}

/// One test in this binary: the allocator counts for all threads.
#[tokio::test(flavor = "current_thread")]
async fn a_message_takes_one_allocation() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    window(&producer, WINDOW * 2).await;
    let region = Region::new(ALLOCATOR);
    window(&producer, MESSAGES).await;
    let allocations = region.change().allocations as f64 / MESSAGES as f64;
    assert!(
        allocations <= 1.1,
        "{allocations} allocations for each message"
    );
}
