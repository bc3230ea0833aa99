//! One librdkafka client.

mod chooser;
mod config;
mod connection_diagnosis;
mod context;
mod core;
mod oauth_token;
mod partitioner;
mod secrets;
mod topic_handles;
mod transaction_times;

pub use config::{ClientConfig, FromClientConfig, FromClientConfigAndContext};
pub(crate) use config::{QueueLimits, is_transactional, transaction_timeout};
pub(crate) use connection_diagnosis::{broker_of, client_error};
pub use context::{ClientContext, DefaultProducerContext, ProducerContext};
pub(crate) use core::Core;
pub use oauth_token::OAuthToken;
pub use partitioner::{PartitionRequest, Partitioner};
pub(crate) use transaction_times::{LEAST_TRANSACTION_TIME, delivery_before_abort};
