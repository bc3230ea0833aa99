//! Numbers of the command line that replace those of a work.

use clap::Args;

use crate::jobs::case::Case;

/// Numbers that replace those of a work.
#[derive(Args, Debug)]
pub(crate) struct Overrides {
    /// Messages of a run [default: as the work has it]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Bytes of a payload [default: as the work has it]
    #[arg(long)]
    size: Option<usize>,
    /// Messages in flight [default: as the work has it, mostly 10000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) window: Option<u64>,
    /// Tasks that send [default: as the work has it]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    tasks: Option<u64>,
    /// Messages per second of `paced` [default: as the work has it]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pace: Option<u64>,
    /// linger.ms [default: as the work has it, mostly 0]
    #[arg(long)]
    linger: Option<f64>,
}

impl Overrides {
    /// Returns `case` with these numbers. If all its messages were in flight, they still are.
    pub(crate) fn applied_to(&self, case: Case) -> Case {
        let messages = self.messages.unwrap_or(case.messages);
        let paced = self.pace.filter(|_| case.pace > 0);
        let all_in_flight = case.window == case.messages;
        Case {
            messages,
            window: self
                .window
                .unwrap_or(if all_in_flight { messages } else { case.window }),
            size: self.size.unwrap_or(case.size),
            tasks: self.tasks.unwrap_or(case.tasks),
            pace: paced.unwrap_or(case.pace),
            linger: self.linger.unwrap_or(case.linger),
            ..case
        }
    }
}
