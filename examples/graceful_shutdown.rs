//! A service that reports what happened to its records when it stops.
//!
//! Its workers share one producer. On Ctrl-C the workers stop first. Then the producer is closed.
//!
//! ```sh
//! cargo run --features mock --example graceful_shutdown        # a mock cluster, stops by itself
//! cargo run --features mock --example graceful_shutdown -- --brokers localhost:9092 --records 0
//! ```

mod common;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use tokio_rdkafka::{
    ClientConfig, ClientContext, CloseReport, DeliveryResult, Producer, ProducerContext,
    ProducerRecord,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The time limit of the close. It must be shorter than the time after which a supervisor kills the
/// service.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
#[command(about = "Produces from several tasks until it is stopped, and reports lost records.")]
struct Arguments {
    /// The cluster, as host:port,…; by default a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// The number of tasks that produce
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// The number of records after which it stops by itself; 0 to stop at Ctrl-C only
    #[arg(long, default_value_t = 10_000)]
    records: u64,
}

/// Counts the records that were not delivered. No task awaits them one by one.
#[derive(Default)]
struct Account {
    failed: AtomicU64,
}

impl Account {
    fn add(&self, error: &dyn Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        eprintln!("{error}");
    }
}

impl ClientContext for Account {}

impl ProducerContext for Account {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err(error) = result {
            self.add(error);
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    common::log_to_stderr();
    let arguments = Arguments::parse();
    // Kept until the end of `main`: dropping the mock cluster stops its brokers.
    let (brokers, _mock) = common::brokers(arguments.brokers, &arguments.topic)?;
    let producer: Producer<Account> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .create_with_context(Account::default())?;

    let stop = CancellationToken::new();
    let workers = TaskTracker::new();
    let numbers = Arc::new(AtomicU64::new(0));
    for _ in 0..arguments.workers {
        workers.spawn(work(
            producer.clone(),
            arguments.topic.clone(),
            Arc::clone(&numbers),
            stop.clone(),
            arguments.records,
        ));
    }
    workers.close();

    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        () = stop.cancelled() => {}
    }
    // The workers stop before the producer is closed, so it refuses no record.
    stop.cancel();
    workers.wait().await;
    let report = producer.close_timeout(GRACE).await;
    Ok(account_for(&report, producer.context()))
}

/// Stands for the work of a service: sends the next number to Kafka.
async fn work(
    producer: Producer<Account>,
    topic: String,
    numbers: Arc<AtomicU64>,
    stop: CancellationToken,
    limit: u64,
) {
    while !stop.is_cancelled() {
        let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
        if limit > 0 && number > limit {
            stop.cancel();
            return;
        }
        let record = ProducerRecord::to(&topic).payload(number.to_string());
        // Waits for capacity only, until it is time to stop. A record that is not enqueued then
        // stays with its source. A record that fails later goes to the context's callback, is
        // logged, and is counted by the close report, which has it if it fails during the close.
        tokio::select! {
            biased;
            enqueued = producer.enqueue_detached(record) => {
                if let Err(error) = enqueued {
                    producer.context().add(&error);
                    stop.cancel();
                }
            }
            () = stop.cancelled() => {}
        }
    }
}

/// Prints the results of the records in flight at the close, and the number of all lost records.
fn account_for(report: &CloseReport, account: &Account) -> ExitCode {
    println!(
        "in flight at the close: {} delivered, {} failed, {} undelivered",
        report.delivered,
        report.failed - report.failed_before,
        report.undelivered
    );
    println!("failed before the close: {}", report.failed_before);
    let failed = account.failed.load(Ordering::Relaxed);
    println!("not delivered in total: {failed}");
    // A service would store these records here and send them at its next start. Those that are
    // possibly persisted may then be in the topic twice.
    for error in report.records() {
        let payload = error.record().get_payload().unwrap_or_default();
        println!("{error}: {}", String::from_utf8_lossy(payload));
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
