//! Streams and sinks: [`ProducerSink`], [`ProduceExt`] and [`Producer::send_all`].
//!
//! It may use `producer` and what is below it. To be read in this order:
//!
//! - `sink`: a `Sink` of records;
//! - `deliveries`: the results of an item's records;
//! - `resend`: records of refused batches are sent again, one by one;
//! - `window`: the items in flight of a stream, up to a bound;
//! - `produce`: a stream of items;
//! - `batch`, `send_all`: an iterator of records, produced in batches.
//!
//! [`Producer::send_all`]: crate::Producer::send_all

mod batch;
mod deliveries;
mod produce;
mod resend;
mod send_all;
mod sink;
mod window;

pub use deliveries::{Deliveries, DeliveriesIter, ProduceError};
pub use produce::{Produce, ProduceEach, ProduceExt};
pub use send_all::SendAll;
pub use sink::{ProducerSink, SinkStatistics};
