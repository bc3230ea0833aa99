//! What the bench targets share.
//!
//! ```text
//! runner ── starts ─→ broker            the same executable, as `broker`
//!    │
//!    └───── starts ─→ run CONTENDER     the same executable, as `run`:
//!                                       contender → producer → meter → one Sample on stdout
//!
//! samples of all rounds → results → goals or guards, report → a table and target/bench-report.json
//! ```

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

/// The global allocator of every bench target: it counts.
pub(crate) type Allocator = &'static stats_alloc::StatsAlloc<std::alloc::System>;

/// Does what the command line asks for, in one of the three roles: runner, broker, contender.
pub(crate) fn main(allocator: Allocator) -> ExitCode {
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
        Some(Command::Run(job)) => println!("{}", job.contender.run(&job, allocator)),
        None => return runner::run(&cli.options),
    }
    ExitCode::SUCCESS
}
