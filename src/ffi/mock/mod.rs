//! The mock cluster, and a consumer to read what is in it.

mod arguments;
mod cluster;
mod consumer;
mod redeclared;

pub(crate) use cluster::{Cluster, CoordinatorKind, Request};
pub(crate) use consumer::Consumer;
