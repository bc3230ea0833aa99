//! The options of the command line, and what they select.

use std::path::PathBuf;

use clap::{Args, ValueEnum as _};

use crate::brokers::cluster::ClusterOptions;
use crate::jobs::contender_name::ContenderName;
use crate::jobs::entrant::Entrant;
use crate::jobs::work::Work;
use crate::tables::cases::cases;
use crate::tables::entrants::entrants;
use crate::tables::goal::Goal;
use crate::tables::goals::GOALS;
use crate::tables::guards::GUARDS;
use crate::tables::overrides::Overrides;
use crate::tables::scale::Scale;

/// What the command line asks the runner for.
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
    pub(crate) contender: Vec<ContenderName>,
    /// Guards in place of goals, with fewer contenders, messages and rounds: about three minutes in all. Fails if a guard is missed
    #[arg(long)]
    pub(crate) short: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Rounds, in each of which every contender runs once [default: 9, or 3 with --short]
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// Draws the CPU time of the first case as an SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    /// Accepted because `cargo bench` passes it
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
    /// Everything once, with a handful of messages.
    #[arg(skip)]
    pub(crate) smoke: bool,
}

impl Options {
    /// Returns how much is measured.
    pub(crate) fn scale(&self) -> Scale {
        match self {
            Self { smoke: true, .. } => Scale::Smoke,
            Self { short: true, .. } => Scale::Short,
            _ => Scale::Full,
        }
    }

    /// Returns the limits to compare with: the goals, or for a short run the guards.
    pub(crate) fn goals(&self) -> &'static [Goal] {
        match self.scale() {
            Scale::Full => &GOALS,
            Scale::Short => &GUARDS,
            Scale::Smoke => &[],
        }
    }

    /// Returns the number of rounds of `work`: fewer if little varies and a round takes long.
    pub(crate) fn rounds(&self, work: Work) -> usize {
        let rounds = self.rounds.unwrap_or(if self.short { 3 } else { 9 }).max(1);
        match work {
            Work::Memory | Work::Flush => rounds.min(3),
            Work::Idle if self.short => 1,
            Work::Idle => rounds.min(3),
            // It runs several times for one count.
            Work::Instructions => 1,
            _ => rounds,
        }
    }

    /// Returns the works to run, in order.
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

    /// Returns the contenders of `work` in their cases, those of one case together.
    pub(crate) fn entrants(&self, work: Work) -> Vec<Entrant> {
        let mut cases = cases(work, self.scale(), &self.overrides);
        cases.retain(|case| {
            let goals = || GOALS.iter().filter(|goal| goal.is_about(case));
            self.row.is_empty() || goals().any(|goal| self.row.contains(&goal.row))
        });
        let mut all: Vec<_> = cases.into_iter().flat_map(entrants).collect();
        if self.smoke {
            // On one runtime.
            all.dedup_by_key(|entrant| (entrant.contender.kind, entrant.case));
        }
        if !self.contender.is_empty() {
            all.retain(|entrant| self.contender.contains(&entrant.contender));
        } else if self.short && self.work.is_empty() {
            let peers = all.clone();
            all.retain(|entrant| self.goals().iter().any(|goal| goal.needs(entrant, &peers)));
        }
        all
    }
}
