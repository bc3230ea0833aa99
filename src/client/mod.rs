//! One librdkafka client, as both kinds of producers use it.
//!
//! It owns the configuration, the context, the produce call and everything else that belongs to a
//! client and needs no tokio task. It may use `message`, `ffi` and what is below them. To be read
//! in this order:
//!
//! - `config`, `config_check`, `bootstrap`, `config_values`, `config_errors`, `properties`,
//!   `java_properties`, `tls_errors`, `secrets`: from a user's properties to a checked
//!   configuration, or to an error that says what is wrong without showing a secret;
//! - `context`, `partitioner`, `oauth_token`: what users implement and return;
//! - `core`: the client, from its creation to its destruction;
//! - `produce`, `topics`, `topic_handles`, `partitioner_callback`: the produce call;
//! - `in_flight`, `counts`, `topic_counts`, `callbacks`, `statistics`, `errors`,
//!   `connection_diagnosis`, `thinned_log`, `log_targets`: what becomes of messages and events;
//! - `tokens`, `login`, `credentials`: OAuth tokens, and new passwords;
//! - `transaction_times`: the time limits of transactional calls;
//! - `from_rdkafka`: conversions from and to the types of the crate `rdkafka`.

mod bootstrap;
mod callbacks;
mod config;
mod config_check;
mod config_errors;
mod config_values;
mod connection_diagnosis;
mod context;
mod core;
mod counts;
mod credentials;
mod errors;
#[cfg(feature = "rdkafka")]
mod from_rdkafka;
mod in_flight;
mod java_properties;
mod log_targets;
mod login;
mod oauth_token;
mod partitioner;
mod partitioner_callback;
mod produce;
mod properties;
mod secrets;
mod statistics;
mod thinned_log;
mod tls_errors;
mod tokens;
#[cfg(feature = "metrics")]
mod topic_counts;
mod topic_handles;
mod topics;
mod transaction_times;

pub use config::{ClientConfig, FromClientConfig, FromClientConfigAndContext};
pub(crate) use config_values::{QueueLimits, is_transactional, transaction_timeout};
pub(crate) use connection_diagnosis::broker_of;
#[cfg(test)]
pub(crate) use connection_diagnosis::client_error;
pub use context::{ClientContext, DefaultProducerContext, ProducerContext};
pub(crate) use core::Core;
pub(crate) use counts::Counts;
pub use oauth_token::OAuthToken;
pub use partitioner::{PartitionRequest, Partitioner};
#[cfg(feature = "metrics")]
pub(crate) use topic_counts::TopicCount;
pub(crate) use transaction_times::{MIN_TRANSACTION_CALL_TIME, delivery_before_abort};
