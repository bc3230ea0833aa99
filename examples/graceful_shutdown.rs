//! A service that ends well: it stops taking work, lets its workers finish what they have begun,
//! and closes the producer with a deadline, so that it knows of every record what became of it.
//!
//! ```sh
//! cargo run --features mock --example graceful_shutdown            # ends by itself, on a mock cluster
//! cargo run --features mock --example graceful_shutdown -- --brokers localhost:9092    # until Ctrl-C
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time;
use tokio_rdkafka::{ClientConfig, CloseReport, MockCluster, Producer, ProducerRecord};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

const WORKERS: usize = 4;

/// How long the close may take. An orchestrator that sends SIGTERM waits for some time before it
/// kills: this must be shorter.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
#[command(about = "Produces until it is stopped, and then loses nothing.")]
struct Arguments {
    /// The cluster, as host:port,…; without it, a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// After how many seconds it stops by itself; with --brokers only at Ctrl-C
    #[arg(long)]
    seconds: Option<f64>,
}

/// One worker: a piece of work, a record of it, the next one.
async fn work(producer: Producer, topic: String, worker: usize, stop: CancellationToken) -> u64 {
    let mut done = 0;
    loop {
        // Room first: where Kafka does not keep up, no work is begun. Only here, where nothing has
        // been begun, it stops; a `reserve` that is dropped gives its place up.
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => return done,
            permit = producer.reserve() => match permit {
                Ok(permit) => permit,
                Err(error) => {
                    eprintln!("worker {worker}: {error}");
                    return done;
                }
            },
        };
        time::sleep(Duration::from_millis(2)).await;
        let record = ProducerRecord::to(&topic).payload(format!("worker {worker}, {done}"));
        if let Err(error) = permit.send(record).await {
            eprintln!("worker {worker}: {error}");
        }
        // One that nobody awaits: what becomes of it is in the report of the close.
        let audit = ProducerRecord::to(&topic).key("audit").payload("done");
        if let Err(error) = producer.enqueue_detached(audit).await {
            eprintln!("worker {worker}: {error}");
        }
        done += 1;
    }
}

/// Resolves when the service is to end.
async fn told_to_stop(seconds: Option<f64>) -> std::io::Result<()> {
    match seconds {
        None => tokio::signal::ctrl_c().await,
        Some(seconds) => tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed,
            () = time::sleep(Duration::from_secs_f64(seconds)) => Ok(()),
        },
    }
}

/// What nobody else has goes where it can be found: here, to the standard error.
fn account_for(report: &CloseReport) -> ExitCode {
    println!(
        "at the close: {} delivered, {} failed, {} not delivered in time",
        report.delivered, report.failed, report.undelivered
    );
    for error in report.records() {
        eprintln!("lost unless it is kept: {error}");
    }
    if report.failed + report.undelivered == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();

    // Kept until the end of `main`: dropping it would take the brokers away.
    let mut mock = None;
    let (brokers, seconds) = match arguments.brokers {
        Some(brokers) => (brokers, arguments.seconds),
        None => {
            let cluster = MockCluster::new(3)?;
            cluster.create_topic(&arguments.topic, 3, 3)?;
            let brokers = mock.insert(cluster).bootstrap_servers();
            (brokers, arguments.seconds.or(Some(1.0)))
        }
    };
    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .create()?;

    let (stop, workers) = (CancellationToken::new(), TaskTracker::new());
    let tasks: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let (producer, topic) = (producer.clone(), arguments.topic.clone());
            workers.spawn(work(producer, topic, worker, stop.clone()))
        })
        .collect();
    workers.close();

    told_to_stop(seconds).await?;
    println!("stopping");
    stop.cancel();
    // First those who produce, then the producer.
    workers.wait().await;
    let mut done = 0;
    for task in tasks {
        done += task.await?;
    }
    println!("{done} pieces of work");
    Ok(account_for(&producer.close_timeout(CLOSE_WITHIN).await))
}
