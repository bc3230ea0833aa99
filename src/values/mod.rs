//! Plain values that know no producer: they hold data and check it.
//!
//! This wing may use `error` and nothing else of the crate. To be read in this order:
//!
//! - `payload`, `headers`, `timestamp`, `topic_name`: the parts of a record;
//! - `persistence`, `transaction_outcome`: what is known after a send or a commit;
//! - `offsets`: the offsets that are committed with a transaction;
//! - `cluster_info`: brokers, topics and partitions;
//! - `metrics`, `histogram`: what a producer has done, in numbers;
//! - `health`: whether brokers answer;
//! - `purge_config`, `log_level`.

mod cluster_info;
mod headers;
mod health;
mod histogram;
mod log_level;
mod metrics;
mod offsets;
mod payload;
mod persistence;
mod purge_config;
mod timestamp;
pub(crate) mod topic_name;
mod transaction_outcome;

pub use cluster_info::{Broker, ClusterInfo, PartitionInfo, TopicInfo};
pub use headers::{Header, Headers, HeadersIter};
pub use health::{BrokerFailure, Health};
pub use histogram::Histogram;
pub use log_level::RDKafkaLogLevel;
pub use metrics::{Amount, Metrics};
pub use offsets::{ConsumerGroupMetadata, TopicPartitionOffset};
pub(crate) use offsets::{check_offsets, invalid_offsets};
pub use payload::{IntoPayload, Payload};
pub use persistence::Persistence;
pub use purge_config::PurgeConfig;
pub use timestamp::Timestamp;
pub(crate) use timestamp::TimestampKind;
pub use transaction_outcome::TransactionOutcome;
