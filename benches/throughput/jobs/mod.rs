//! What a run is asked to do: the works, the contenders' names, the numbers of a case, and the job
//! that joins them. Every contender implements the trait `Contender`, which does a job.
//!
//! Uses `measure`.

pub(crate) mod case;
pub(crate) mod contender;
pub(crate) mod contender_name;
pub(crate) mod entrant;
pub(crate) mod job;
pub(crate) mod work;
