//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum as _};

use super::broker::MockBroker;
use super::contender::{Contender, Entrant};
use super::goals::{GOALS, Goal};
use super::guards::GUARDS;
use super::job::Job;
use super::work::Work;

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
    /// Works to run [default: all that this machine can do]
    #[arg(long, value_enum, num_args = 1..)]
    pub(crate) work: Vec<Work>,
    /// Only what these rows of the list of goals need
    #[arg(long, num_args = 1..)]
    pub(crate) row: Vec<u32>,
    /// Only these contenders, such as `c-loop`, `future:ct` or `ours:mt` [default: all]
    #[arg(long, num_args = 1..)]
    pub(crate) contender: Vec<Contender>,
    /// Guards in place of goals, with fewer contenders, messages and rounds: about three minutes in all. Fails if a guard does
    #[arg(long)]
    pub(crate) short: bool,
    /// Messages of a run [default: as the work has it]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: Option<u64>,
    /// Bytes of a payload [default: as the work has it]
    #[arg(long)]
    pub(crate) size: Option<usize>,
    /// Rounds, in each of which every contender runs once [default: 9, or 3 with --short]
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// Messages in flight [default: as the work has it, mostly 10000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) window: Option<u64>,
    /// Partitions of each topic [default: 1, and 3 for `kafka` and `transactions`]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) partitions: Option<i32>,
    /// linger.ms [default: as the work has it, mostly 0]
    #[arg(long)]
    pub(crate) linger: Option<u32>,
    /// An existing cluster (host:port,…) in place of the mock cluster [default: $KAFKA_BOOTSTRAP_SERVERS, for `kafka` and `transactions` alone]
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
        let Cli { options, .. } = Cli::parse_from(["smoke", "--rounds", "1"]);
        Self {
            smoke: true,
            ..options
        }
    }

    /// What is to be reached: goals, or in a short run guards, and in a smoke test nothing.
    pub(crate) fn goals(&self) -> &'static [Goal] {
        match self {
            Self { smoke: true, .. } => &[],
            Self { short: true, .. } => &GUARDS,
            _ => &GOALS,
        }
    }

    /// Rounds of `work`: fewer where little varies and much time passes.
    pub(crate) fn rounds(&self, work: Work) -> usize {
        let rounds = self.rounds.unwrap_or(if self.short { 3 } else { 9 }).max(1);
        match work {
            Work::Memory | Work::Flush => rounds.min(3),
            Work::Idle if self.short => 1,
            Work::Idle => rounds.min(3),
            // Which runs several times for one count.
            Work::Instructions => 1,
            _ => rounds,
        }
    }

    /// The works to run, in order.
    pub(crate) fn works(&self) -> Vec<Work> {
        let goals = self.goals();
        let wanted = |work: &Work| match self {
            _ if !self.work.is_empty() => self.work.contains(work),
            Self { short: true, .. } => goals.iter().any(|goal| goal.work == *work),
            // Slow, and it needs valgrind.
            Self { smoke: true, .. } => *work != Work::Instructions,
            _ => true,
        };
        Work::value_variants()
            .iter()
            .copied()
            .filter(wanted)
            .collect()
    }

    /// Who does what in `work`: the entrants, those of one case together.
    pub(crate) fn entrants(&self, work: Work) -> Vec<Entrant> {
        let mut cases = self.cases(work);
        cases.retain(|case| {
            let goals = || GOALS.iter().filter(|goal| goal.is_about(case));
            self.row.is_empty() || goals().any(|goal| self.row.contains(&goal.row))
        });
        let mut entrants: Vec<_> = cases.into_iter().flat_map(Entrant::all).collect();
        if self.smoke {
            // On one runtime.
            entrants.dedup_by_key(|entrant| (entrant.contender.kind, entrant.case));
        }
        if !self.contender.is_empty() {
            entrants.retain(|entrant| self.contender.contains(&entrant.contender));
        } else if self.short && self.work.is_empty() {
            let all = entrants.clone();
            entrants.retain(|entrant| self.goals().iter().any(|goal| goal.needs(entrant, &all)));
        }
        entrants
    }
}
