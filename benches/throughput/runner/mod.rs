//! Reads the command line, runs contenders in turn, and reports.
//!
//! The roof: it uses `report`, `tables`, `brokers`, `jobs` and `measure`. It starts a process for each
//! run, and so imports neither `contenders` nor `works`.

pub(crate) mod child;
pub(crate) mod cli;
pub(crate) mod clusters;
pub(crate) mod instructions;
pub(crate) mod options;
pub(crate) mod order;
pub(crate) mod rounds;
pub(crate) mod session;
