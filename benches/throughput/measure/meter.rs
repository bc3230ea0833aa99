//! Measures the current process from the first message to the last delivery.

use std::time::{Duration, Instant};

use crate::measure::metric::Metric;
use crate::measure::process;
use crate::measure::sample::Sample;

/// The readings at the start of the measured part of a run.
#[derive(Debug)]
pub(crate) struct Meter {
    allocations: usize,
    cpu: Duration,
    started: Instant,
}

impl Meter {
    /// Starts to measure. The producer should be connected by now.
    pub(crate) fn start() -> Self {
        Self {
            allocations: process::allocations(),
            cpu: process::cpu_time(),
            started: Instant::now(),
        }
    }

    /// Stops after `messages` have been sent and reported, `errors` of them as failures.
    pub(crate) fn stop(self, messages: u64, errors: u64) -> Sample {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu = (process::cpu_time() - self.cpu).as_secs_f64();
        let allocations = process::allocations() - self.allocations;
        let mut sample = Sample::from([
            (Metric::Errors, errors as f64),
            (Metric::Seconds, seconds),
            (Metric::Rate, messages as f64 / seconds),
            (Metric::CpuPerMillion, cpu * 1e6 / messages as f64),
            (Metric::Allocations, allocations as f64),
        ]);
        sample.extend(process::peak_rss().map(|mebibytes| (Metric::PeakRss, mebibytes)));
        sample
    }

    /// Stops like [`Meter::stop`], and adds the percentiles of `latencies`.
    pub(crate) fn stop_with_latencies(
        self,
        messages: u64,
        errors: u64,
        mut latencies: Vec<Duration>,
    ) -> Sample {
        let mut sample = self.stop(messages, errors);
        latencies.sort_unstable();
        let percentile = |percent: usize| {
            let latency = latencies[(latencies.len() - 1) * percent / 100];
            latency.as_secs_f64() * 1e6
        };
        sample.extend([(Metric::P50, percentile(50)), (Metric::P99, percentile(99))]);
        sample
    }
}
