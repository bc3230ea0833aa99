//! Our producer beside its peers: rates, CPU time, allocations, memory, latency and what an idle producer costs.
//!
//! ```text
//! cargo bench --bench throughput                               nine rounds of everything
//! cargo bench --bench throughput -- --short                    three shorter rounds, under two minutes
//! cargo bench --bench throughput -- --work window --size 1024  one work, other messages
//! cargo bench --bench throughput -- --work instructions        exact, but needs valgrind
//! ```
//!
//! The broker is a mock cluster in a process of its own, unless `--brokers` or `KAFKA_BOOTSTRAP_SERVERS` names a cluster.
//! Each run of a contender is a fresh process, and contenders alternate, so that ratios compare neighbours in time.
//! Started without `--bench`, as `cargo test` does, everything runs once with a handful of messages.
//!
//! All contenders pay for the counting allocator: a few nanoseconds per allocation, so those that allocate pay more.

#[path = "common/mod.rs"]
mod common;

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() -> std::process::ExitCode {
    common::main(ALLOCATOR)
}
