//! The drop of the last handle blocks nobody and leaves nothing behind.
//!
//! A binary of its own: its global allocator and its look at threads cover the whole process.
#![cfg(target_os = "linux")]

mod support;

use std::alloc::System;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::mock::DEADLINE;
use tokio::runtime::Handle;
use tokio_rdkafka::{
    ClientConfig, ClientContext, DeliveryFuture, DeliveryResult, Producer, ProducerContext,
    ProducerRecord, RDKafkaErrorCode, RDKafkaLogLevel,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MESSAGES: usize = 10_000;

/// Counts callbacks without allocating, and logs nothing.
#[derive(Debug, Default)]
struct Quiet {
    timed_out: AtomicUsize,
    others: AtomicUsize,
}

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: &tokio_rdkafka::KafkaError) {}
}

impl ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = match result {
            Err(error) if error.code() == RDKafkaErrorCode::MessageTimedOut => &self.timed_out,
            _ => &self.others,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// How often this thread went to sleep so far.
fn voluntary_switches() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// Whether a client of librdkafka or a thread of ours is alive, by the names of threads.
fn is_any_client_alive() -> bool {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks.flatten().any(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.starts_with("rdk:") || name.starts_with("rdkafka-block")
    })
}

/// How many threads the process has. A walk through the list of threads may miss one while another
/// ends; this count is exact.
fn threads() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"));
    line.unwrap().trim().parse().unwrap()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "never: {what}");
        thread::yield_now();
    }
}

/// Drops a producer with messages that nobody can take, and waits until all is over. Returns how
/// often the drop slept.
fn drop_and_wait(runtime: &Handle) -> u64 {
    // A port that nobody listens on.
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", "127.0.0.1:1")
        .set("message.timeout.ms", "1000")
        .set("linger.ms", "0");
    let context = Arc::new(Quiet::default());
    let producer = Producer::builder(&config)
        .context(Arc::clone(&context))
        .runtime(runtime.clone())
        .create()
        .unwrap();
    let futures: Vec<DeliveryFuture> = (0..MESSAGES)
        .map(|_| {
            let record = ProducerRecord::to("t").payload("v");
            producer.try_enqueue(record).unwrap()
        })
        .collect();
    assert!(is_any_client_alive());

    let before = voluntary_switches();
    drop(producer);
    let slept = voluntary_switches() - before;

    for future in futures {
        let error = futures::executor::block_on(future).unwrap_err();
        assert_eq!(error.code(), Some(RDKafkaErrorCode::MessageTimedOut));
    }
    assert_eq!(context.timed_out.load(Ordering::SeqCst), MESSAGES);
    assert_eq!(context.others.load(Ordering::SeqCst), 0);
    wait_for("the end of the client", || !is_any_client_alive());
    wait_for("the end of the driver", || Arc::strong_count(&context) == 1);
    slept
}

/// One test in this binary: the allocator counts for all threads.
#[test]
fn the_drop_neither_sleeps_nor_leaves_anything_behind() {
    // One worker: what is created once in a process or a thread is created in the first round.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let before = threads();
    drop_and_wait(runtime.handle());
    // What the last thread of the first round frees must not count.
    wait_for("the end of all threads", || threads() == before);
    let region = Region::new(ALLOCATOR);
    // A lock that another thread has for a moment is one, too.
    let slept = (0..3).map(|_| drop_and_wait(runtime.handle())).min();
    assert_eq!(slept, Some(0), "each drop slept");
    // The last thread gives its own memory back after it has left the list of threads.
    wait_for("all bytes are freed", || {
        let change = region.change();
        change.bytes_allocated == change.bytes_deallocated
    });
}
