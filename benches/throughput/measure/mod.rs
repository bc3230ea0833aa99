//! What is measured and how: metrics, the sample of one run, and the readings of a process.
//!
//! The ground: it uses no other folder.

pub(crate) mod idle_threads;
pub(crate) mod meter;
pub(crate) mod metric;
pub(crate) mod process;
pub(crate) mod sample;
