//! How each work is done and measured, by producers whose deliveries are awaited and by producers
//! that count deliveries in a callback. Imports no contender.
//!
//! Uses `jobs` and `measure`.

pub(crate) mod awaited;
pub(crate) mod awaited_producer;
pub(crate) mod callback;
pub(crate) mod callback_producer;
pub(crate) mod deliveries;
pub(crate) mod flush;
pub(crate) mod full;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod paced;
pub(crate) mod runtime;
pub(crate) mod tasks;
pub(crate) mod transactions;
pub(crate) mod window;
