//! The quantities that are measured.

use std::fmt;

use clap::ValueEnum;

/// One measured quantity. Its name is part of the report.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum Metric {
    /// Messages that failed; a run is valid only with 0
    Errors,
    /// Wall-clock time from the first measured message to the last delivery
    Seconds,
    /// Messages per second
    Rate,
    /// Seconds of CPU, user and system, of the contender's process per million messages
    CpuPerMillion,
    /// Rust allocations and reallocations while messages flowed
    Allocations,
    /// Allocations per message, without those of the start-up
    AllocationsPerMessage,
    /// Instructions of the whole process per message, by valgrind, without those of the start-up
    Instructions,
    /// Peak resident memory of the process, MiB
    PeakRss,
    /// `PeakRss` minus that of the C loop in the same round, MiB
    RssAboveCLoop,
    /// `RssAboveCLoop` divided by the size of all payloads in flight
    CopiesAboveCLoop,
    /// `Rate` divided by what the round trip allows, which is one full queue per round trip
    ShareOfAllowed,
    /// Median time of a send with its delivery, of a flush, or of a commit, in microseconds
    P50,
    /// 99th percentile of the same time, in microseconds
    P99,
    /// Threads of librdkafka
    ThreadsLibrdkafka,
    /// Threads of tokio's runtime
    ThreadsTokio,
    /// Other threads, without the main thread
    ThreadsOther,
    /// Context switches per second of librdkafka's threads while idle
    SwitchesLibrdkafka,
    /// Context switches per second of all other threads while idle
    SwitchesOther,
    /// CPU time of librdkafka's threads while idle, in milliseconds
    IdleCpuLibrdkafka,
    /// CPU time of all other threads while idle, in milliseconds
    IdleCpuOther,
    /// CPU seconds per second that the broker's process used during the run
    BrokerLoad,
}

impl Metric {
    /// Returns true if tables show the ratio to a peer beside the value.
    pub(crate) fn is_compared(self) -> bool {
        use Metric::{CpuPerMillion, Instructions, P50, P99, Rate};
        matches!(self, Rate | CpuPerMillion | Instructions | P50 | P99)
    }

    /// Returns the heading of the metric's column.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Seconds => "seconds",
            Self::Rate => "messages/s",
            Self::CpuPerMillion => "CPU s/million",
            Self::Allocations => "allocations",
            Self::AllocationsPerMessage => "allocs/message",
            Self::Instructions => "instructions/message",
            Self::PeakRss => "peak RSS MiB",
            Self::RssAboveCLoop => "above c-loop MiB",
            Self::CopiesAboveCLoop => "the same, copies",
            Self::ShareOfAllowed => "÷ allowed",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::ThreadsLibrdkafka => "rdk threads",
            Self::ThreadsTokio => "tokio threads",
            Self::ThreadsOther => "other threads",
            Self::SwitchesLibrdkafka => "rdk switches/s",
            Self::SwitchesOther => "other sw./s",
            Self::IdleCpuLibrdkafka => "rdk CPU ms",
            Self::IdleCpuOther => "other CPU ms",
            Self::BrokerLoad => "broker load",
        }
    }

    /// Returns the number of decimals to print.
    pub(crate) fn decimals(self) -> usize {
        match self {
            Self::Rate | Self::Instructions | Self::P50 | Self::P99 => 0,
            Self::ThreadsLibrdkafka | Self::ThreadsTokio | Self::ThreadsOther => 0,
            Self::AllocationsPerMessage | Self::CpuPerMillion => 3,
            Self::CopiesAboveCLoop | Self::ShareOfAllowed => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(
            self.to_possible_value()
                .expect("no metric is skipped")
                .get_name(),
        )
    }
}
