//! Measures the process it runs in, from the first message to the last delivery.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::Allocator;
use super::sample::{Metric, Sample};

/// Readings at the start of the measured part of a run.
#[derive(Debug)]
pub(crate) struct Meter {
    allocator: Allocator,
    allocations: usize,
    cpu: Duration,
    started: Instant,
}

impl Meter {
    /// Starts to measure; the producer should be connected by now.
    pub(crate) fn start(allocator: Allocator) -> Self {
        let allocations = count(allocator);
        Self {
            allocator,
            allocations,
            cpu: process_cpu(),
            started: Instant::now(),
        }
    }

    /// Stops: `messages` have been sent and reported on, `errors` of them as failures.
    pub(crate) fn stop(self, messages: u64, errors: u64) -> Sample {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu = (process_cpu() - self.cpu).as_secs_f64();
        let allocations = count(self.allocator) - self.allocations;
        let mut sample = Sample::from([
            (Metric::Errors, errors as f64),
            (Metric::Seconds, seconds),
            (Metric::Rate, messages as f64 / seconds),
            (Metric::CpuPerMillion, cpu * 1e6 / messages as f64),
            (Metric::Allocations, allocations as f64),
        ]);
        sample.extend(peak_rss().map(|mebibytes| (Metric::PeakRss, mebibytes)));
        sample
    }
}

/// Adds the percentiles of `latencies` to a sample.
pub(crate) fn percentiles(mut latencies: Vec<Duration>, sample: &mut Sample) {
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    sample.extend([(Metric::P50, at(50)), (Metric::P99, at(99))]);
}

/// CPU time, user and system, that all threads of this process have used so far.
pub(crate) fn process_cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime)
        .try_into()
        .expect("CPU time is positive")
}

fn count(allocator: Allocator) -> usize {
    let stats = allocator.stats();
    stats.allocations + stats.reallocations
}

/// Peak resident memory in MiB, where the system tells (Linux).
fn peak_rss() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
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
