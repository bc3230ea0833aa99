//! Transactions on the mock cluster, which writes no markers: what consumers see is tested on real
//! Kafka (`tests/kafka`).

mod base_producer;
#[cfg(feature = "rdkafka")]
mod consumed;
#[path = "../support/mod.rs"]
mod support;
mod transactional_producer;
#[cfg(feature = "rdkafka")]
mod transform;
