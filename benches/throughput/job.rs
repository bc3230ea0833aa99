//! What one run does.

use std::fmt;

use bytes::Bytes;
use clap::Args;

use super::contender::Contender;
use super::work::Work;

/// A work, and the numbers that belong to it.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case {
    /// What to do
    pub(crate) work: Work,
    /// Messages to send
    #[arg(long)]
    pub(crate) messages: u64,
    /// Bytes of a payload
    #[arg(long)]
    pub(crate) size: usize,
    /// Messages in flight
    #[arg(long)]
    pub(crate) window: u64,
    /// Tasks, or threads, that send
    #[arg(long)]
    pub(crate) tasks: u64,
    /// Topics, which take turns
    #[arg(long)]
    pub(crate) topics: usize,
    /// linger.ms
    #[arg(long)]
    pub(crate) linger: u32,
    /// Milliseconds before the mock broker answers
    #[arg(long)]
    pub(crate) round_trip_ms: u64,
    /// Milliseconds that a work takes which is not limited by its messages
    #[arg(long)]
    pub(crate) duration_ms: u64,
    /// `message.copy.max.bytes=0`: requests refer to payloads in place of copying them
    #[arg(long)]
    pub(crate) no_copy: bool,
}

impl Case {
    fn to_args(self) -> Vec<String> {
        let Self {
            work,
            messages,
            size,
            window,
            tasks,
            topics,
            linger,
            round_trip_ms,
            duration_ms,
            no_copy,
        } = self;
        let mut args = vec![
            work.to_string(),
            format!("--messages={messages}"),
            format!("--size={size}"),
            format!("--window={window}"),
            format!("--tasks={tasks}"),
            format!("--topics={topics}"),
            format!("--linger={linger}"),
            format!("--round-trip-ms={round_trip_ms}"),
            format!("--duration-ms={duration_ms}"),
        ];
        args.extend(no_copy.then(|| "--no-copy".to_owned()));
        args
    }
}

/// What tells the cases of a work apart: `100 B, 1000 tasks, 20 ms`.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            size,
            tasks,
            topics,
            round_trip_ms,
            ..
        } = self;
        match size {
            size if *size >= 1024 && size % 1024 == 0 => write!(f, "{} KiB", size / 1024)?,
            size => write!(f, "{size} B")?,
        }
        match self.work {
            Work::Topics => write!(f, ", topics: {topics}"),
            Work::Tasks => write!(f, ", tasks: {tasks}"),
            Work::Full => write!(f, ", tasks: {tasks}, round trip: {round_trip_ms} ms"),
            _ => Ok(()),
        }
    }
}

/// One run of one contender.
#[derive(Args, Clone, Debug)]
pub(crate) struct Job {
    /// Who runs
    pub(crate) contender: Contender,
    #[command(flatten)]
    pub(crate) case: Case,
    /// bootstrap.servers
    #[arg(long)]
    pub(crate) brokers: String,
    /// What the names of the topics, which exist, begin with
    #[arg(long)]
    pub(crate) prefix: String,
}

impl Job {
    /// The arguments that make a process do this job.
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

    /// The names of the topics.
    pub(crate) fn topics(&self) -> impl Iterator<Item = String> {
        topics(&self.prefix, self.case.topics)
    }

    /// The name of the first topic, where there is but one.
    pub(crate) fn topic(&self) -> String {
        self.topics().next().expect("there is a topic")
    }

    /// Pseudo-random bytes (xorshift): the same for all contenders, and nothing that a codec could shrink.
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

/// The names of `count` topics.
pub(crate) fn topics(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}-{number}"))
}
