//! The command line.

use clap::{Parser, Subcommand};

use crate::brokers::mock_broker::MockBroker;
use crate::jobs::job::Job;
use crate::runner::options::Options;

/// Our producer beside its peers.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

impl Cli {
    /// Returns the options of `cargo test`: everything once, with a handful of messages.
    ///
    /// Does not read the arguments of the process, because `cargo test` passes those of libtest.
    pub(crate) fn smoke() -> Options {
        let Self { options, .. } = Self::parse_from(["smoke", "--rounds", "1"]);
        Options {
            smoke: true,
            ..options
        }
    }
}

/// The roles that processes of this executable play.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A mock cluster, until stdin closes.
    #[command(hide = true)]
    Broker(MockBroker),
    /// One run of one contender.
    #[command(hide = true)]
    Run(Job),
}
