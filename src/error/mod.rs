//! Errors that carry no record: [`KafkaError`], its codes, and why a connection fails.

mod connect_failure;
mod error_code;
mod kafka_error;

pub use connect_failure::ConnectFailure;
#[cfg(test)]
pub(crate) use error_code::KNOWN;
pub use error_code::RDKafkaErrorCode;
pub use kafka_error::{BoxError, KafkaError};
pub(crate) use kafka_error::{Class, is_fencing, is_purge};
