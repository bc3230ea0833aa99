//! What a run measured, and how it travels from a run's process to the runner's: `name=value` pairs on one line.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum Metric {
    /// Messages that failed; anything but 0 voids the run
    Errors,
    /// Wall-clock time from the first measured message to the last delivery
    Seconds,
    /// Messages per second
    Rate,
    /// Seconds of CPU, user and system, of the contender's process per million messages
    CpuPerMillion,
    /// Rust allocations and reallocations while messages flowed
    Allocations,
    /// The same per message, start-up taken off
    AllocationsPerMessage,
    /// Instructions of the whole process, as valgrind counts them, per message, start-up taken off
    Instructions,
    /// Peak resident memory of the process, MiB
    PeakRss,
    /// `PeakRss` beyond that of the C loop in the same round
    RssAboveCLoop,
    /// The same in copies of all payloads in flight
    CopiesAboveCLoop,
    /// `Rate` as a share of what the round trip allows: a full queue in each
    ShareOfAllowed,
    /// Microseconds of a send with its delivery, of a flush, or of a commit, median
    P50,
    /// The same, 99th percentile
    P99,
    /// Threads of librdkafka
    ThreadsLibrdkafka,
    /// Threads of tokio's runtime
    ThreadsTokio,
    /// Further threads, the main one not counted
    ThreadsOther,
    /// Context switches a second of librdkafka's idle threads
    SwitchesLibrdkafka,
    /// Context switches a second of all other idle threads
    SwitchesOther,
    /// Milliseconds of CPU that librdkafka's threads took while idle
    IdleCpuLibrdkafka,
    /// Milliseconds of CPU that all other threads took while idle
    IdleCpuOther,
    /// CPU seconds per second of the broker's process during the run
    BrokerLoad,
}

impl Metric {
    /// Whether a ratio to a peer says more than the value does.
    pub(crate) fn is_compared(self) -> bool {
        use Metric::{CpuPerMillion, Instructions, P50, P99, Rate};
        matches!(self, Rate | CpuPerMillion | Instructions | P50 | P99)
    }

    /// The heading of its column.
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

    /// Digits behind the point that are worth printing.
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

/// The measurements of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(BTreeMap<Metric, f64>);

impl Sample {
    /// What was measured for `metric`, if it was.
    pub(crate) fn get(&self, metric: Metric) -> Option<f64> {
        self.0.get(&metric).copied()
    }

    /// Adds a measurement.
    pub(crate) fn insert(&mut self, metric: Metric, value: f64) {
        self.0.insert(metric, value);
    }
}

impl<const N: usize> From<[(Metric, f64); N]> for Sample {
    fn from(pairs: [(Metric, f64); N]) -> Self {
        Self(pairs.into())
    }
}

impl Extend<(Metric, f64)> for Sample {
    fn extend<I: IntoIterator<Item = (Metric, f64)>>(&mut self, pairs: I) {
        self.0.extend(pairs);
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(metric, value)| write!(f, "{metric}={value} "))
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let pair = |pair: &str| {
            let (metric, value) = pair.split_once('=').ok_or("no `=`")?;
            let value = value.parse().map_err(|_| "not a number")?;
            Ok((Metric::from_str(metric, false)?, value))
        };
        let pairs: Result<_, String> = line.split_whitespace().map(pair).collect();
        pairs
            .map(Self)
            .map_err(|error| format!("{error} in {line:?}"))
    }
}
