//! The cluster that contenders send to.
//!
//! Uses `jobs` and `measure`.

pub(crate) mod cluster;
pub(crate) mod mock_broker;
pub(crate) mod mock_process;
