//! A service that accounts for its records when it stops: its workers share one producer, and on
//! Ctrl-C they end before the producer is closed.
//!
//! ```sh
//! cargo run --features mock --example graceful_shutdown        # a mock cluster, ends by itself
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

/// How long the shutdown may take: less than the time after which whoever stops the service kills
/// it.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
#[command(about = "Produces from several tasks until it is stopped, and accounts for the records.")]
struct Arguments {
    /// The cluster, as host:port,…; without it, a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// How many tasks produce
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// After how many records it stops by itself; 0: at Ctrl-C only
    #[arg(long, default_value_t = 10_000)]
    records: u64,
}

/// Counts the records that were not delivered: nobody waits for each of them.
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
    // The mock is kept until the end of `main`: dropping it would take the brokers away.
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
    // First those who produce, then the producer: nothing comes in any more that it would refuse.
    stop.cancel();
    workers.wait().await;
    let report = producer.close_timeout(GRACE).await;
    Ok(account_for(&report, producer.context()))
}

/// Stands for what a service does: takes the next number, and tells Kafka.
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
        // Waits for room alone, and not when it is time to stop: a record that is not in the queue
        // yet stays with its source. Nobody waits for the delivery: a record that fails goes to the
        // context's callback, and once the producer is closed, to the report of that.
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

/// Prints what became of the records that were in flight at the close, and how many were lost in all.
fn account_for(report: &CloseReport, account: &Account) -> ExitCode {
    println!(
        "in flight at the close: {} delivered, {} failed, {} undelivered",
        report.delivered, report.failed, report.undelivered
    );
    let failed = account.failed.load(Ordering::Relaxed);
    println!("not delivered in all: {failed}");
    // The last chance to keep them: a service writes them to a file or a table, to send them at its
    // next start. Those that are possibly persisted may then be in the topic twice.
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
