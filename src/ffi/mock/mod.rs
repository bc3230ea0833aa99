//! The C objects of the mock cluster, and of a consumer that reads its records.
//!
//! To be read in this order: `arguments`, `cluster`, `consumer`, `redeclared`.

mod arguments;
mod cluster;
mod consumer;
mod redeclared;

pub(crate) use cluster::{Cluster, CoordinatorKind, Request};
pub(crate) use consumer::Consumer;
