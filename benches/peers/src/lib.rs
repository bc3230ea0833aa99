//! What the Rust peers have in common: the arguments, the works, the measuring.
//!
//! A peer implements [`Client`]. A delivery that fails panics, which ends the process.

mod job;
mod works;

use std::future::Future;
use std::panic;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser as _;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;

pub use crate::job::Job;
use crate::job::Runtime;
use crate::works::work;

/// A producer, connected to a cluster, and the topic it sends to.
pub trait Client: Send + Sync + Sized + 'static {
    /// Connects: `acks=all`, no idempotence, no compression.
    fn connect(job: &Job) -> impl Future<Output = Self> + Send;

    /// Enqueues a record without a key. The inner future waits for its delivery.
    fn enqueue(
        self: &Arc<Self>,
        payload: &Bytes,
    ) -> impl Future<Output = impl Future<Output = ()> + Send + 'static> + Send;

    /// Sends a record without a key, and waits for its delivery.
    fn send(self: &Arc<Self>, payload: &Bytes) -> impl Future<Output = ()> + Send {
        async { self.enqueue(payload).await.await }
    }
}

/// Does the work that the command line asks for, and prints a line of JSON.
pub fn run<C: Client>() {
    panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        process::exit(1);
    }));
    let job = Job::parse();
    let mut builder = match job.runtime {
        Runtime::Ct => Builder::new_current_thread(),
        Runtime::Mt => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(2).enable_all().build();
    let measured = async { tokio::spawn(measure::<C>(job)).await.expect("no panic") };
    println!("{}", runtime.expect("a runtime starts").block_on(measured));
}

async fn measure<C: Client>(job: Job) -> String {
    let client = Arc::new(C::connect(&job).await);
    let payload = payload(job.size);
    work(&client, &payload, &job, job.messages.div_ceil(10)).await;

    let (cpu, start) = (cpu_time(), Instant::now());
    let mut latencies = work(&client, &payload, &job, job.messages).await;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_time() - cpu);

    latencies.sort_unstable();
    let percentile = |percent: usize| {
        let index = latencies.len().saturating_sub(1) * percent / 100;
        let latency = latencies.get(index).map(Duration::as_micros);
        latency.map_or("null".to_owned(), |latency| latency.to_string())
    };
    format!(
        r#"{{"messages":{},"seconds":{seconds},"cpu_seconds":{},"p50_us":{},"p99_us":{}}}"#,
        job.messages,
        cpu.as_secs_f64(),
        percentile(50),
        percentile(99),
    )
}

/// Returns bytes that do not compress: the numbers of a linear congruential generator.
fn payload(size: usize) -> Bytes {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let states = std::iter::successors(Some(1), next);
    states.map(|state| (state >> 24) as u8).take(size).collect()
}

/// Returns the CPU time, user and system, that all threads have used so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.try_into().expect("CPU time is positive")
}
