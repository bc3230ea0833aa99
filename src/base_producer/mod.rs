//! The synchronous producer.

mod callback_threads;
mod gate;
mod producer;
mod transactions;

pub use producer::BaseProducer;
