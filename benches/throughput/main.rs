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

mod awaited;
mod broker;
mod c_loop;
mod callback;
mod cases;
mod cli;
mod config;
mod contender;
mod detached;
mod flush;
mod full;
mod future;
mod goals;
mod guards;
mod instructions;
mod job;
mod meter;
mod ours;
mod report;
mod results;
mod runner;
mod sample;
mod streams;
mod tasks;
mod threaded;
mod threads;
mod transactions;
mod window;
mod work;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command, Options};

/// The global allocator: it counts.
pub(crate) type Allocator = &'static stats_alloc::StatsAlloc<std::alloc::System>;

#[global_allocator]
static ALLOCATOR: Allocator = &stats_alloc::INSTRUMENTED_SYSTEM;

/// Does what the command line asks for, in one of the three roles: runner, broker, contender.
fn main() -> ExitCode {
    let has = |names: &[&str]| {
        std::env::args()
            .skip(1)
            .any(|argument| names.contains(&argument.as_str()))
    };
    let role = std::env::args().nth(1).unwrap_or_default();
    if role != "run" && role != "broker" && !has(&["--bench"]) {
        // `cargo test`: its arguments are for libtest and mean nothing here.
        return runner::run(&Options::smoke());
    }
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Broker(broker)) => broker.serve(),
        Some(Command::Run(job)) => println!("{}", job.contender.run(&job, ALLOCATOR)),
        None => return runner::run(&cli.options),
    }
    ExitCode::SUCCESS
}
