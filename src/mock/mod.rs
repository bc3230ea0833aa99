//! A Kafka cluster inside the process.

mod api_key;
mod cluster;
mod conf;
mod records;

pub use api_key::ApiKey;
pub use cluster::{MockCluster, MockCoordinator, MockRequest};
