//! What the Rust peers have in common: the arguments, the works, the measuring.
//!
//! A peer implements [`Client`]. A delivery that fails ends its process with a panic.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;

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

/// Sends messages once to warm up, a tenth of them, and once to measure.
#[derive(Clone, Debug, Parser)]
pub struct Job {
    /// bootstrap.servers
    #[arg(long)]
    pub brokers: String,
    /// An existing topic
    #[arg(long)]
    pub topic: String,
    #[arg(long)]
    work: Work,
    #[arg(long)]
    runtime: Runtime,
    /// Messages to send
    #[arg(long)]
    messages: u64,
    /// Messages in flight
    #[arg(long)]
    pub in_flight: u64,
    /// Bytes of a payload
    #[arg(long)]
    pub size: usize,
    /// linger.ms
    #[arg(long)]
    pub linger: u64,
}

impl Job {
    /// Returns the bytes of a batch for clients whose default is not librdkafka's, 1 MB.
    pub fn batch_size(&self) -> usize {
        1_000_000
    }

    /// Returns the properties of clients that use librdkafka, as in `benches/throughput`.
    pub fn librdkafka(&self) -> Vec<(&'static str, String)> {
        let mut properties = vec![
            ("bootstrap.servers", self.brokers.clone()),
            ("acks", "all".into()),
            ("linger.ms", self.linger.to_string()),
            ("queue.buffering.max.kbytes", "2147483647".into()),
        ];
        if self.size >= 1024 {
            properties.push(("message.copy.max.bytes", "0".into()));
        }
        properties
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Work {
    /// One task sends, and awaits the oldest delivery first
    Window,
    /// A task for each message in flight, which awaits its send before the next
    Sends,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Runtime {
    /// A current-thread runtime
    Ct,
    /// A multi-thread runtime with two workers
    Mt,
}

/// Does the work that the command line asks for, and prints a line of JSON.
pub fn run<C: Client>() {
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

/// Sends `messages`, and returns their latencies if the work has any.
async fn work<C: Client>(
    client: &Arc<C>,
    payload: &Bytes,
    job: &Job,
    messages: u64,
) -> Vec<Duration> {
    match job.work {
        Work::Window => {
            window(client, payload, job.in_flight, messages).await;
            Vec::new()
        }
        Work::Sends => sends(client, payload, job.in_flight, messages).await,
    }
}

async fn window<C: Client>(client: &Arc<C>, payload: &Bytes, size: u64, messages: u64) {
    let mut in_flight = VecDeque::with_capacity(size as usize);
    for _ in 0..messages {
        if in_flight.len() == size as usize {
            in_flight.pop_front().expect("a window is not empty").await;
        }
        in_flight.push_back(client.enqueue(payload).await);
    }
    for delivery in in_flight {
        delivery.await;
    }
}

async fn sends<C: Client>(
    client: &Arc<C>,
    payload: &Bytes,
    tasks: u64,
    messages: u64,
) -> Vec<Duration> {
    let sent = Arc::new(AtomicU64::new(0));
    let task = |_| {
        let (client, payload, sent) = (client.clone(), payload.clone(), sent.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while sent.fetch_add(1, Ordering::Relaxed) < messages {
                let start = Instant::now();
                client.send(&payload).await;
                latencies.push(start.elapsed());
            }
            latencies
        })
    };
    let tasks: Vec<_> = (0..tasks).map(task).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no panic"));
    }
    latencies
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
