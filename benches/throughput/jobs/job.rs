//! One run of one contender.

use bytes::Bytes;
use clap::Args;

use crate::jobs::case::Case;
use crate::jobs::contender_name::ContenderName;

/// One run of one contender.
#[derive(Args, Clone, Debug)]
pub(crate) struct Job {
    /// The contender and its runtime
    pub(crate) contender: ContenderName,
    #[command(flatten)]
    pub(crate) case: Case,
    /// bootstrap.servers
    #[arg(long)]
    pub(crate) brokers: String,
    /// The prefix of the names of existing topics
    #[arg(long)]
    pub(crate) prefix: String,
}

impl Job {
    /// Returns the arguments that make a process of this executable do the job.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let Self {
            contender,
            case,
            brokers,
            prefix,
        } = self;
        let mut args = vec!["run".to_owned(), contender.to_string()];
        args.extend(case.to_args());
        args.extend([format!("--brokers={brokers}"), format!("--prefix={prefix}")]);
        args
    }

    /// Returns the names of the topics.
    pub(crate) fn topics(&self) -> impl Iterator<Item = String> {
        topic_names(&self.prefix, self.case.topics)
    }

    /// Returns the name of the first topic, for works with only one.
    pub(crate) fn topic(&self) -> String {
        self.topics().next().expect("there is a topic")
    }

    /// Returns pseudo-random bytes (xorshift): the same for all contenders, and not compressible.
    pub(crate) fn payload(&self) -> Bytes {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        std::iter::repeat_with(next).take(self.case.size).collect()
    }
}

/// Returns the names of `count` topics: `prefix` and a number.
pub(crate) fn topic_names(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}-{number}"))
}
