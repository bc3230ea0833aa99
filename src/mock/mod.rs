//! The mock cluster: Kafka brokers inside the process, for tests and examples.
//!
//! It owns `MockCluster` and its companions. It may use `message`, `ffi` and what is below them. To
//! be read in this order:
//!
//! - `cluster`: what users call;
//! - `records`: reads the records of a topic;
//! - `api_key`: the kinds of requests;
//! - `conf`: configurations of the mock's own clients.

mod api_key;
mod cluster;
mod conf;
mod records;

pub use api_key::ApiKey;
pub use cluster::{MockCluster, MockCoordinator, MockRequest};
