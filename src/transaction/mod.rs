//! Transactions of the async producer: [`TransactionalProducer`], [`Transaction`], and their calls.
//!
//! It may use `producer` and what is below it. To be read in this order: `producer`, `transaction`,
//! `calls`, `builder`, `consumed_offsets`.

mod builder;
mod calls;
#[cfg(feature = "rdkafka")]
mod consumed_offsets;
mod producer;
#[allow(clippy::module_inception)]
mod transaction;

#[cfg(feature = "rdkafka")]
pub use consumed_offsets::ConsumedOffsets;
pub use producer::TransactionalProducer;
pub use transaction::{CommitError, Transaction};
