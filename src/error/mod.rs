//! Errors that carry no record.
//!
//! This wing uses nothing else of the crate. To be read in this order:
//!
//! - `error_code`: the codes of librdkafka and of the Kafka protocol;
//! - `connect_failure`: the reasons for which a connection fails;
//! - `kafka_error`: the error type, with a code, a text and a source;
//! - `mock_error`: errors for the tests of users.

mod connect_failure;
mod error_code;
mod kafka_error;
#[cfg(feature = "mock")]
mod mock_error;

pub use connect_failure::ConnectFailure;
#[cfg(test)]
pub(crate) use error_code::KNOWN;
pub use error_code::RDKafkaErrorCode;
pub use kafka_error::{BoxError, KafkaError};
pub(crate) use kafka_error::{Class, WhyClosed, is_fencing, is_purge};
