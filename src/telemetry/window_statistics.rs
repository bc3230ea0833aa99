//! A distribution of values in librdkafka's statistics.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The distribution of the values since the document before, as an HDR histogram has it.
///
/// The unit is that of the values, which the field of this type states. Percentiles are exact to
/// two or three digits. Without a value, all fields but [`hdrsize`](Self::hdrsize) are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WindowStatistics {
    /// The smallest value, in the unit of the values.
    pub min: i64,
    /// The largest value, in the unit of the values.
    pub max: i64,
    /// The average, in the unit of the values.
    pub avg: i64,
    /// The sum, in the unit of the values.
    pub sum: i64,
    /// The standard deviation, in the unit of the values, from the histogram.
    pub stddev: i64,
    /// The 50th percentile, in the unit of the values.
    pub p50: i64,
    /// The 75th percentile, in the unit of the values.
    pub p75: i64,
    /// The 90th percentile, in the unit of the values.
    pub p90: i64,
    /// The 95th percentile, in the unit of the values.
    pub p95: i64,
    /// The 99th percentile, in the unit of the values.
    pub p99: i64,
    /// The 99.99th percentile, in the unit of the values.
    pub p99_99: i64,
    /// The number of values that were outside of the histogram's range. The percentiles and `stddev`
    /// lack them, and are 0 if all values were outside. Otherwise the next histogram is wider.
    pub outofrange: i64,
    /// The memory that the histogram takes, in bytes.
    pub hdrsize: i64,
    /// The number of values.
    pub cnt: i64,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
