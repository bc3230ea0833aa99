//! The synchronous producer: [`BaseProducer`], without a task and without a runtime.
//!
//! It may use `client`, `message` and what is below them. To be read in this order:
//!
//! - `producer`: sends, polls, flushes and purges;
//! - `callback_threads`: which threads are in a callback, where polling would nest and waiting
//!   deadlock;
//! - `gate`: keeps records out of a transaction that is ending;
//! - `transactions`: the transactional calls.

mod callback_threads;
mod gate;
mod producer;
mod transactions;

pub use producer::BaseProducer;
