//! Our producer beside its peers: rates, CPU time, allocations, memory, latency and what an idle
//! producer costs.
//!
//! ```text
//! cargo bench --bench throughput                               nine rounds of everything, about an hour
//! cargo bench --bench throughput -- --row 2 9                  what these rows of the list of goals need
//! cargo bench --bench throughput -- --work window --size 1024  one work, other messages
//! cargo bench --bench throughput -- --short                    guards in place of goals, about three minutes
//! cargo bench --bench throughput -- --work window --picture cpu.svg
//! tests/with-kafka cargo bench --bench throughput -- --work kafka transactions
//! ```
//!
//! `instructions` needs valgrind. `kafka` and `transactions` need a cluster, which `--brokers` or
//! `KAFKA_BOOTSTRAP_SERVERS` names. All other works use a mock cluster in its own process, unless
//! `--brokers` names another. Each run of a contender is a fresh process. Contenders alternate, so
//! that ratios compare neighbours in time. Without `--bench`, as under `cargo test`, everything runs
//! once with a handful of messages.
//!
//! The counting allocator is part of every run. It costs about forty instructions per allocation:
//! 2.7 % of the instructions of rdkafka's `FutureProducer`, 1 % of those of a contender with one
//! allocation per message, and nothing of the C loop's. Rates do not show it.
//!
//! The executable plays three roles, each in its own process:
//!
//! ```text
//! runner ── starts ─→ broker            `broker …`: a mock cluster
//!    │
//!    └───── starts ─→ run               `run CONTENDER …`: contender → producer → meter, one
//!                                       sample on stdout
//!
//! samples of all rounds → results → comparisons with goals or guards → tables, target/bench-report.json
//! ```
//!
//! The folders, from the roof to the ground. A file imports files of its own folder and of folders
//! below it, always by `use crate::folder::file…`. The imports between files have no circle.
//!
//! ```text
//! main.rs       which role this process plays
//! runner/       the command line, rounds, processes
//! report/       results, comparisons, tables of text, JSON, a picture
//! brokers/      the mock cluster and existing clusters
//! tables/       cases, contenders and columns of each work, goals, guards
//! contenders/   one file for each way to produce
//! works/        how each work is done
//! jobs/         works, names of contenders, cases, jobs, the trait `Contender`
//! measure/      metrics, samples, readings of a process
//! ```
//!
//! Only `main.rs` uses `contenders/`, and only `contenders/` uses `works/`. The runner needs neither: it
//! starts a process for each run.

mod brokers;
mod contenders;
mod jobs;
mod measure;
mod report;
mod runner;
mod tables;
mod works;

use std::env;
use std::process::ExitCode;

use clap::Parser as _;

use crate::contenders::by_name::contender;
use crate::runner::cli::{Cli, Command};
use crate::runner::session;

/// Plays the role that the command line asks for.
fn main() -> ExitCode {
    let role = env::args().nth(1).unwrap_or_default();
    if role != "run" && role != "broker" && !env::args().any(|argument| argument == "--bench") {
        return session::run(&Cli::smoke());
    }
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Broker(broker)) => broker.serve(),
        Some(Command::Run(job)) => {
            let contender = contender(job.contender.kind, job.case.work);
            println!("{}", contender.run(&job));
        }
        None => return session::run(&cli.options),
    }
    ExitCode::SUCCESS
}
