//! What users call.

mod builder;
mod close;
mod cluster;
mod flush;
mod permit;
#[allow(clippy::module_inception)]
mod producer;
mod ready;
mod send;

pub use builder::ProducerBuilder;
pub use permit::{OwnedPermit, Permit};
pub use producer::{Producer, WeakProducer};
