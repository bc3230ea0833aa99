//! The contenders, each behind the trait `Contender`, and the configuration they share.
//! `by_name` finds one by its name.
//!
//! Uses `works`, `jobs` and `measure`.

pub(crate) mod address;
pub(crate) mod by_name;
pub(crate) mod c_client;
pub(crate) mod c_loop;
pub(crate) mod config;
pub(crate) mod future;
pub(crate) mod ours;
pub(crate) mod ours_detached;
pub(crate) mod ours_send_all;
pub(crate) mod ours_sink;
pub(crate) mod ours_stream;
pub(crate) mod ours_transactions;
pub(crate) mod rdkafka_transactions;
pub(crate) mod streaming;
pub(crate) mod threaded;
