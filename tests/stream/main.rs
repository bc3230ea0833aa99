//! Streams of records: the sink, `produce` and `send_all`.

mod produce;
mod refused;
mod send_all;
mod sink;
#[path = "../support/mod.rs"]
mod support;
