//! What one run does.

use std::fmt;

use clap::{Args, ValueEnum};

use super::contender::Contender;
use super::sample::Metric;

/// The kinds of work that are measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Work {
    /// A window of messages in flight, the oldest awaited first
    Window,
    /// Nobody awaits: a callback counts
    Detached,
    /// One message at a time
    Latency,
    /// Nothing to do
    Idle,
    /// A whole window in flight while the mock broker sits on its answers: peak memory
    Memory,
    /// `window` and `detached` under valgrind: instructions per message
    Instructions,
}

impl Work {
    /// The works that need nothing but this crate.
    pub(crate) const TIMED: [Self; 5] = [
        Self::Window,
        Self::Detached,
        Self::Latency,
        Self::Idle,
        Self::Memory,
    ];

    /// What a table of this work shows.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Window | Self::Detached => &[
                Metric::Rate,
                Metric::CpuPerMillion,
                Metric::AllocationsPerMessage,
                Metric::PeakRss,
            ],
            Self::Latency => &[Metric::P50, Metric::P99, Metric::CpuPerMillion],
            Self::Idle => &[
                Metric::ThreadsLibrdkafka,
                Metric::ThreadsTokio,
                Metric::ThreadsOther,
                Metric::SwitchesLibrdkafka,
                Metric::SwitchesOther,
                Metric::IdleCpuLibrdkafka,
                Metric::IdleCpuOther,
            ],
            Self::Memory => &[Metric::PeakRss, Metric::RssAboveCLoop],
            Self::Instructions => &[Metric::Instructions],
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            self.to_possible_value()
                .expect("no work is skipped")
                .get_name(),
        )
    }
}

/// One run of one contender.
#[derive(Args, Clone, Debug)]
pub(crate) struct Job {
    /// Who runs
    pub(crate) contender: Contender,
    /// What to do
    pub(crate) work: Work,
    /// bootstrap.servers
    #[arg(long)]
    pub(crate) brokers: String,
    /// An existing topic
    #[arg(long)]
    pub(crate) topic: String,
    /// Messages to send
    #[arg(long)]
    pub(crate) messages: u64,
    /// Bytes of a payload
    #[arg(long)]
    pub(crate) size: usize,
    /// Messages in flight
    #[arg(long)]
    pub(crate) window: u64,
    /// linger.ms
    #[arg(long)]
    pub(crate) linger: u32,
    /// Milliseconds an idle producer is watched
    #[arg(long)]
    pub(crate) idle_ms: u64,
}

impl Job {
    /// The arguments that make a process do this job.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let Self {
            contender,
            work,
            brokers,
            topic,
            messages,
            size,
            window,
            linger,
            idle_ms,
        } = self;
        vec![
            "run".into(),
            contender.to_string(),
            work.to_string(),
            format!("--brokers={brokers}"),
            format!("--topic={topic}"),
            format!("--messages={messages}"),
            format!("--size={size}"),
            format!("--window={window}"),
            format!("--linger={linger}"),
            format!("--idle-ms={idle_ms}"),
        ]
    }

    /// Pseudo-random bytes (xorshift): the same for all contenders, and nothing that a codec could shrink.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        std::iter::repeat_with(next).take(self.size).collect()
    }
}
