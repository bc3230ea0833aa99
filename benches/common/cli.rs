//! The command line.

use clap::{Args, Parser, Subcommand};

use super::broker::MockBroker;
use super::contender::Contender;
use super::job::{Job, Work};

/// Our producer beside its peers.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// The roles this executable plays for itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A mock cluster, until stdin closes.
    #[command(hide = true)]
    Broker(MockBroker),
    /// One run of one contender.
    #[command(hide = true)]
    Run(Job),
}

/// What the runner is asked for.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Works to run [default: all but `instructions`]
    #[arg(long, value_enum, num_args = 1..)]
    pub(crate) work: Vec<Work>,
    /// Only these contenders, such as `c-loop`, `future:ct` or `ours:mt` [default: all]
    #[arg(long, num_args = 1..)]
    pub(crate) contender: Vec<Contender>,
    /// Three rounds of fewer messages: under two minutes in all
    #[arg(long)]
    pub(crate) short: bool,
    /// Messages of a run [default: as the work has it]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: Option<u64>,
    /// Bytes of a payload
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    /// Rounds, in each of which every contender runs once [default: 9, or 3 with --short]
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// Messages in flight [default: 10000, and for `detached` and `memory` all of them]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) window: Option<u64>,
    /// Partitions of the topic
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) partitions: i32,
    /// linger.ms
    #[arg(long, default_value_t = 0)]
    pub(crate) linger: u32,
    /// An existing cluster (host:port,…) in place of the mock cluster [default: $KAFKA_BOOTSTRAP_SERVERS]
    #[arg(long)]
    pub(crate) brokers: Option<String>,
    /// Accepted because `cargo bench` says it
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(skip)]
    pub(crate) smoke: bool,
}

impl Options {
    /// One round of next to nothing: does everything still run?
    pub(crate) fn smoke() -> Self {
        let Cli { options, .. } = Cli::parse_from(["smoke", "--short", "--rounds", "1"]);
        Self {
            smoke: true,
            ..options
        }
    }

    /// Rounds of `work`: fewer where little varies and much time passes.
    pub(crate) fn rounds(&self, work: Work) -> usize {
        let rounds = self.rounds.unwrap_or(if self.short { 3 } else { 9 }).max(1);
        match work {
            Work::Window | Work::Detached | Work::Latency => rounds,
            Work::Memory => rounds.min(3),
            Work::Idle if self.short => 1,
            Work::Idle => rounds.min(3),
            Work::Instructions => 1,
        }
    }

    /// The works to run, in order.
    pub(crate) fn works(&self) -> &[Work] {
        if self.work.is_empty() {
            &Work::TIMED
        } else {
            &self.work
        }
    }

    /// Messages of one run of `work`.
    pub(crate) fn messages(&self, work: Work) -> u64 {
        let default = match work {
            Work::Window | Work::Detached => [1_000_000, 200_000, 1_000],
            Work::Latency => [5_000, 1_000, 100],
            Work::Memory => [100_000, 100_000, 1_000],
            Work::Idle => [1, 1, 1],
            Work::Instructions => [80_000, 80_000, 4_000],
        };
        self.messages.unwrap_or(self.scaled(default))
    }

    /// Messages in flight during `work`.
    pub(crate) fn window(&self, work: Work) -> u64 {
        let default = match work {
            Work::Detached | Work::Memory => self.messages(work),
            _ => 10_000,
        };
        self.window.unwrap_or(default)
    }

    /// How long the mock broker waits before it answers: in `memory`, until a whole window is in flight.
    pub(crate) fn round_trip_ms(&self, work: Work) -> u64 {
        if work == Work::Memory {
            self.scaled([500, 500, 20])
        } else {
            0
        }
    }

    /// Milliseconds an idle producer is watched.
    pub(crate) fn idle_ms(&self) -> u64 {
        self.scaled([20_000, 5_000, 200])
    }

    /// The value for a full run, a short one, and a smoke test.
    fn scaled(&self, [full, short, smoke]: [u64; 3]) -> u64 {
        match self {
            Self { smoke: true, .. } => smoke,
            Self { short: true, .. } => short,
            _ => full,
        }
    }
}
