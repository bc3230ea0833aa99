//! The asynchronous producer: [`Producer`], its builder, its permits and its calls.
//!
//! It may use `driver` and what is below it. To be read in this order:
//!
//! - `builder`: creates the client and spawns the driver;
//! - `access`: what a handle may do;
//! - `producer`: the handle that users clone;
//! - `send_future`, `send`, `permit`: how a record gets its capacity and enters the queue;
//! - `flush`, `close`: flush, purge and shutdown;
//! - `blocking`: the calls that block the thread;
//! - `ready`, `cluster`: questions to the brokers;
//! - `live`: changes of a running producer;
//! - `timer`: time limits by the timers of the producer's runtime.

mod access;
mod blocking;
mod builder;
mod close;
mod cluster;
mod flush;
mod health;
mod live;
mod metrics;
mod permit;
#[allow(clippy::module_inception)]
mod producer;
mod ready;
mod send;
mod send_future;
mod timer;

pub use access::{Access, FullAccess, SendOnly};
pub(crate) use builder::Blueprint;
pub use builder::ProducerBuilder;
pub use permit::{OwnedPermit, Permit};
pub use producer::{Producer, WeakProducer};
