//! The kinds of work that are measured.

use std::fmt;

use clap::ValueEnum;

use super::sample::Metric;

/// What a run does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Work {
    /// A window of messages in flight, the oldest awaited first
    Window,
    /// Nobody awaits: a callback counts
    Detached,
    /// Large payloads, lent as `Bytes` by whoever can; a window as in `window`
    Bytes,
    /// `detached`, to one topic and to a thousand in turn
    Topics,
    /// Many tasks send, most of them waiting for room in a small queue
    Full,
    /// `window`, shared by several tasks or threads
    Tasks,
    /// One message at a time
    Latency,
    /// Few messages, which would linger, are flushed
    Flush,
    /// Nothing to do
    Idle,
    /// A whole window in flight while the mock broker sits on its answers: peak memory
    Memory,
    /// `window` and `detached` under valgrind: instructions per message
    Instructions,
    /// `window` on a real cluster, with its settings
    Kafka,
    /// Transactions on a real cluster, each of a window of messages: how long commits take
    Transactions,
}

impl Work {
    /// What a table of this work shows.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Window | Self::Detached => &[
                Metric::Rate,
                Metric::CpuPerMillion,
                Metric::AllocationsPerMessage,
                Metric::PeakRss,
            ],
            Self::Bytes | Self::Topics | Self::Tasks | Self::Kafka => {
                &[Metric::Rate, Metric::CpuPerMillion, Metric::PeakRss]
            }
            Self::Full => &[
                Metric::Rate,
                Metric::ShareOfAllowed,
                Metric::P50,
                Metric::P99,
                Metric::CpuPerMillion,
            ],
            Self::Transactions => &[
                Metric::Rate,
                Metric::P50,
                Metric::P99,
                Metric::CpuPerMillion,
            ],
            Self::Latency => &[Metric::P50, Metric::P99, Metric::CpuPerMillion],
            Self::Flush => &[Metric::P50, Metric::P99],
            Self::Idle => &[
                Metric::ThreadsLibrdkafka,
                Metric::ThreadsTokio,
                Metric::ThreadsOther,
                Metric::SwitchesLibrdkafka,
                Metric::SwitchesOther,
                Metric::IdleCpuLibrdkafka,
                Metric::IdleCpuOther,
            ],
            Self::Memory => &[
                Metric::PeakRss,
                Metric::RssAboveCLoop,
                Metric::CopiesAboveCLoop,
            ],
            Self::Instructions => &[Metric::Instructions],
        }
    }

    /// Whether a mock cluster will not do.
    pub(crate) fn needs_kafka(self) -> bool {
        matches!(self, Self::Kafka | Self::Transactions)
    }

    /// Whether its results at one case are compared with those at another, which should then be neighbours in time.
    pub(crate) fn compares_cases(self) -> bool {
        self == Self::Topics
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
