//! What is measured by whom, and what must come out: the cases and contenders of each work, the
//! columns of its table, the goals and the guards.
//!
//! Uses `jobs` and `measure`; no contender, only their names.

pub(crate) mod cases;
pub(crate) mod columns;
pub(crate) mod entrants;
pub(crate) mod goal;
pub(crate) mod goals;
pub(crate) mod guards;
pub(crate) mod overrides;
pub(crate) mod scale;
