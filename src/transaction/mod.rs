//! Transactions of the async producer: [`TransactionalProducer`], [`Transaction`], and their calls.
//!
//! It may use `producer` and what is below it. To be read in this order:
//!
//! - `builder`: creates a producer with a `transactional.id`;
//! - `producer`: the producer, and how the last transaction is settled before the next;
//! - `renewal`: another epoch or client, where the last transaction has left something behind;
//! - `metrics`, `past`: counts, also those of clients that were replaced;
//! - `transaction`: one transaction, and how its commit can fail;
//! - `retries`: running a function in a transaction again;
//! - `calls`: librdkafka's blocking calls, one at a time on a thread;
//! - `consumed_offsets`, `rewind`: offsets of a consumer of the crate `rdkafka`, and back to them;
//! - `consumer_call`: calls of such a consumer that block, and its errors;
//! - `positions`: whether such a consumer has gone elsewhere by itself;
//! - `transform_options`, `consumed_batch`, `transform`: consume, transform, produce, in a loop.

mod builder;
mod calls;
#[cfg(feature = "rdkafka")]
mod consumed_batch;
#[cfg(feature = "rdkafka")]
mod consumed_offsets;
#[cfg(feature = "rdkafka")]
mod consumer_call;
mod metrics;
mod past;
#[cfg(feature = "rdkafka")]
mod positions;
mod producer;
mod renewal;
mod retries;
#[cfg(feature = "rdkafka")]
mod rewind;
#[allow(clippy::module_inception)]
mod transaction;
#[cfg(feature = "rdkafka")]
mod transform;
#[cfg(feature = "rdkafka")]
mod transform_options;

#[cfg(feature = "rdkafka")]
pub use consumed_batch::ConsumedBatch;
#[cfg(feature = "rdkafka")]
pub use consumed_offsets::ConsumedOffsets;
pub use producer::TransactionalProducer;
pub use retries::RetryPolicy;
#[cfg(feature = "rdkafka")]
pub use rewind::rewind;
pub use transaction::{CommitError, Transaction};
#[cfg(feature = "rdkafka")]
pub use transform::consume_transform_produce;
#[cfg(feature = "rdkafka")]
pub use transform_options::TransformOptions;
