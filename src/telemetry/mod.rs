//! What reads and exports what a producer does: librdkafka's statistics as structs.
//!
//! The counts themselves stand where they are counted. It may use all other wings. To be read in
//! this order:
//!
//! - `statistics`: a document of librdkafka, and how it is read;
//! - `broker_statistics`, `topic_statistics`, `window_statistics`: its parts;
//! - `statistics_watch`: how a producer hands the documents out.

mod broker_statistics;
mod statistics;
mod statistics_watch;
mod topic_statistics;
mod window_statistics;

pub use broker_statistics::{BrokerStatistics, TopparStatistics};
pub use statistics::{EosStatistics, FatalStatistics, Statistics};
pub use topic_statistics::{PartitionStatistics, TopicStatistics};
pub use window_statistics::WindowStatistics;
