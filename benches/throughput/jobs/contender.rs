//! What every contender can do.

use crate::jobs::job::Job;
use crate::measure::sample::Sample;

/// A way to produce messages.
pub(crate) trait Contender {
    /// Does `job` in this process.
    ///
    /// Creates a producer, connects it with a first message, and measures what follows. Panics if
    /// the job cannot be done.
    fn run(&self, job: &Job) -> Sample;
}
