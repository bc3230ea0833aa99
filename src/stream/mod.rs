//! Streams and sinks.

mod batch;
mod deliveries;
mod produce;
mod send_all;
mod sink;
mod window;

pub use deliveries::{Deliveries, DeliveriesIter, ProduceError};
pub use produce::{Produce, ProduceEach, ProduceExt};
pub use send_all::SendAll;
pub use sink::{ProducerSink, SinkStatistics};
