//! Readings of the current process: CPU time, peak memory, allocations.

use std::alloc::System;
use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// The allocator of every run. Counting costs about forty instructions per allocation.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns the number of allocations and reallocations so far.
pub(crate) fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// Returns the CPU time, user and system, that all threads have used so far.
pub(crate) fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime)
        .try_into()
        .expect("CPU time is positive")
}

/// Returns the peak resident memory in MiB, if the system reports it (Linux).
pub(crate) fn peak_rss() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    kibibytes
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .ok()
        .map(|kibibytes: f64| kibibytes / 1024.0)
}
