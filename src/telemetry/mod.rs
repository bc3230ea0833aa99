//! What reads and exports what a producer does: librdkafka's statistics as structs, metrics, and
//! trace context.
//!
//! The counts themselves stand where they are counted. It may use all other wings. To be read in
//! this order:
//!
//! - `statistics`: a document of librdkafka, and how it is read;
//! - `broker_statistics`, `topic_statistics`, `window_statistics`: its parts;
//! - `statistics_watch`: how a producer hands the documents out;
//! - `metric_names`, `recorder`: the export of what is counted, to the crate `metrics`;
//! - `trace_context`, `consumed_headers`: OpenTelemetry's context in the headers of records.

#[cfg(feature = "statistics")]
mod broker_statistics;
#[cfg(feature = "rdkafka")]
mod consumed_headers;
#[cfg(feature = "metrics")]
mod metric_names;
#[cfg(feature = "metrics")]
mod recorder;
#[cfg(feature = "statistics")]
mod statistics;
#[cfg(feature = "statistics")]
mod statistics_watch;
#[cfg(feature = "statistics")]
mod topic_statistics;
#[cfg(feature = "opentelemetry")]
mod trace_context;
#[cfg(feature = "statistics")]
mod window_statistics;

#[cfg(feature = "statistics")]
pub use broker_statistics::{BrokerStatistics, TopparStatistics};
#[cfg(feature = "statistics")]
pub use statistics::{EosStatistics, FatalStatistics, Statistics};
#[cfg(feature = "statistics")]
pub use topic_statistics::{PartitionStatistics, TopicStatistics};
#[cfg(feature = "opentelemetry")]
pub use trace_context::OpenTelemetryContext;
#[cfg(feature = "statistics")]
pub use window_statistics::WindowStatistics;
