//! The tables of the benchmark: the cases and contenders of each work, the columns of its results,
//! the goals and the guards.
//!
//! Uses `jobs` and `measure`. Names contenders, but does not import them.

pub(crate) mod cases;
pub(crate) mod columns;
pub(crate) mod entrants;
pub(crate) mod goal;
pub(crate) mod goals;
pub(crate) mod guards;
pub(crate) mod overrides;
pub(crate) mod scale;
