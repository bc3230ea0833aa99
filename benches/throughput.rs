//! Our producer beside its peers: rates, CPU time, allocations, memory, latency and what an idle producer costs.
//!
//! ```text
//! cargo bench --bench throughput                               nine rounds of everything, about an hour
//! cargo bench --bench throughput -- --row 2 9                  what these rows of the list of goals need
//! cargo bench --bench throughput -- --work window --size 1024  one work, other messages
//! cargo bench --bench throughput -- --short                    guards in place of goals, about three minutes
//! tests/with-kafka cargo bench --bench throughput -- --work kafka transactions
//! ```
//!
//! `instructions` needs valgrind, and `kafka` and `transactions` a cluster: `--brokers` or `KAFKA_BOOTSTRAP_SERVERS` names it.
//! For everything else the broker is a mock cluster in a process of its own, unless `--brokers` names another.
//! Each run of a contender is a fresh process, and contenders alternate, so that ratios compare neighbours in time.
//! Started without `--bench`, as `cargo test` does, everything runs once with a handful of messages.
//!
//! The counting allocator is there in all runs. It costs whoever allocates some forty instructions
//! each time: it adds 2.7 % to the instructions of rdkafka's `FutureProducer`, 1 % to a contender
//! with one allocation per message, nothing to the C loop. Rates do not show it.

#[path = "common/mod.rs"]
mod common;

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() -> std::process::ExitCode {
    common::main(ALLOCATOR)
}
