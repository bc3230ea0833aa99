//! An HTTP service that sends events to Kafka.
//!
//! ```sh
//! cargo run -p service                                  # with a mock cluster
//! cargo run -p service -- --brokers localhost:9092
//! curl -i -d '{"apples": 3}' localhost:8080/events      # 202 {"offset":0,"partition":0}
//! curl -i localhost:8080/ready                          # 200 up
//! curl -s localhost:8080/metrics                        # for Prometheus
//! ```
//!
//! SIGTERM or Ctrl-C ends it: open requests are answered, then the producer is closed.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use service::{Service, install_prometheus};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rdkafka::{ClientConfig, MockCluster, Producer};
use tracing_subscriber::EnvFilter;

/// The time limit of the close. It must be shorter than the time after which a supervisor kills the
/// service.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
#[command(about = "Sends events that are posted to /events to Kafka.")]
struct Arguments {
    /// The cluster, as host:port,…; by default a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "events")]
    topic: String,
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// How long a request waits for the delivery of its event
    #[arg(long, default_value_t = 5_000)]
    deadline_ms: u64,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .init();
    let arguments = Arguments::parse();
    // First: what is counted before is not exported.
    let prometheus = install_prometheus()?;
    // Kept until the end of `main`: dropping the mock cluster stops its brokers.
    let (brokers, _mock) = match arguments.brokers {
        Some(brokers) => (brokers, None),
        None => {
            let cluster = MockCluster::new(3)?;
            cluster.create_topic(&arguments.topic, 3, 3)?;
            (cluster.bootstrap_servers(), Some(cluster))
        }
    };
    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("client.id", "service")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()?;
    let deadline = Duration::from_millis(arguments.deadline_ms);
    let service = Service::new(producer.clone(), arguments.topic, deadline, prometheus);

    let mut health = producer.health();
    tokio::spawn(async move {
        while health.changed().await.is_ok() {
            let health = health.borrow_and_update().clone();
            tracing::info!(state = health.state(), "{health}");
        }
    });

    let mut sigterm = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(&arguments.listen).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    // It returns when all requests have been answered that had come before the signal.
    axum::serve(listener, service.router())
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = sigterm.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            tracing::info!("stopping");
        })
        .await?;

    let report = producer.close_timeout(GRACE).await;
    for lost in report.records() {
        tracing::error!("lost: {lost}");
    }
    let lost = report.undelivered + report.failed;
    tracing::info!(delivered = report.delivered, lost, "stopped");
    Ok(if lost == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
