//! The measurements of one run.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use clap::ValueEnum as _;

use crate::measure::metric::Metric;

/// The measurements of one run.
///
/// It travels from the process of a run to that of the runner as `name=value` pairs on one line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(BTreeMap<Metric, f64>);

impl Sample {
    /// Returns the value of `metric`, if it was measured.
    pub(crate) fn get(&self, metric: Metric) -> Option<f64> {
        self.0.get(&metric).copied()
    }

    /// Adds a measurement, or replaces an earlier one.
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
