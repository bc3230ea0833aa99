//! Produces the lines of many TCP connections with one producer.
//!
//! Each connection is a task. It answers each line in order: `ok` if the line was delivered, or
//! `failed:` and the reason.
//!
//! On Ctrl-C it accepts no more lines. Those that it has accepted are delivered and answered before
//! the producer is closed. A line without an answer was not accepted, unless the connection broke.
//!
//! ```sh
//! cargo run --features mock --example tcp_ingest     # 300 clients of its own, on a mock cluster
//! cargo run --features mock --example tcp_ingest -- --brokers localhost:9092 --listen 127.0.0.1:4000
//! ```

mod common;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use futures::{StreamExt, TryStreamExt, future, stream};
use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::time;
use tokio_rdkafka::{
    BoxError, ClientConfig, Deliveries, MockCluster, ProduceError, ProduceExt, Producer,
    ProducerRecord, Topic,
};
use tokio_util::codec::{Framed, FramedRead, FramedWrite, LinesCodec, LinesCodecError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const MAX_LINE_LENGTH: usize = 64 * 1024;

/// The largest number of unanswered lines of one connection. Then no more of its lines are read.
const MAX_IN_FLIGHT: usize = 1_000;

/// The time limit of each step of the shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// How long a connection waits until its client closes it.
const LINGER: Duration = Duration::from_secs(1);

const DEMO_CLIENTS: usize = 300;
/// The number of clients that are connected at the same time.
const DEMO_CONNECTIONS: usize = 100;
const DEMO_LINES: usize = 100;

#[derive(Debug, Parser)]
#[command(about = "Produces lines from TCP connections and answers each.")]
struct Arguments {
    /// The cluster, as host:port,…; by default a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// The address to listen on until Ctrl-C; by default a free port, for clients of its own
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    common::log_to_stderr();
    let arguments = Arguments::parse();
    let (brokers, mock) = common::brokers(arguments.brokers, &arguments.topic)?;
    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .create()?;
    let ingest = Ingest {
        topic: producer.topic(&arguments.topic)?,
        producer,
        stop: CancellationToken::new(),
        connections: TaskTracker::new(),
        counts: Arc::default(),
    };

    let listener = TcpListener::bind(arguments.listen.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let address = listener.local_addr()?;
    eprintln!("listening on {address}");
    let accepting = tokio::spawn(ingest.clone().accept(listener));
    let demo = async {
        match arguments.listen {
            Some(_) => future::pending().await,
            None => run_clients(address, &arguments.topic, mock.as_ref()).await,
        }
    };
    let result = tokio::select! {
        result = demo => result,
        result = tokio::signal::ctrl_c() => result.map_err(BoxError::from),
    };

    ingest.stop.cancel();
    accepting.await?;
    let is_complete = ingest.shut_down().await;
    result?;
    Ok(if is_complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The state that the connections share.
#[derive(Clone)]
struct Ingest {
    topic: Topic,
    producer: Producer,
    stop: CancellationToken,
    connections: TaskTracker,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Ingest {
    /// Spawns a task for each connection, until it is time to stop.
    async fn accept(self, listener: TcpListener) {
        while let Some(accepted) = self.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    let ingest = self.clone();
                    self.connections.spawn(async move {
                        if let Err(error) = ingest.serve(stream).await {
                            eprintln!("{peer}: {error}");
                        }
                    });
                }
                // For instance too many open files. Some may be closed after a pause.
                Err(error) => {
                    eprintln!("no connection accepted: {error}");
                    time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Produces the lines of a connection and answers them.
    async fn serve(&self, stream: TcpStream) -> Result<(), LinesCodecError> {
        let (mut reader, writer) = stream.into_split();
        let codec = LinesCodec::new_with_max_length(MAX_LINE_LENGTH);
        FramedRead::new(&mut reader, codec)
            .take_until(self.stop.cancelled())
            // An error of the connection, or a line that is too long, becomes an item without a
            // record. It keeps its place in the order, and nothing is read after it.
            .map(|line| match line {
                Ok(line) => (Ok(()), Some(ProducerRecord::to(&self.topic).payload(line))),
                Err(error) => (Err(error), None),
            })
            .produce(&self.producer)
            .max_in_flight(MAX_IN_FLIGHT)
            .map(|(read, result)| Ok(self.answer(read, result)))
            // If the client does not read its answers, this waits and accepts no more lines.
            .forward(FramedWrite::new(writer, LinesCodec::new()))
            .await?;
        // Closing a connection with unread input resets it, and the client may lose answers.
        _ = time::timeout(LINGER, io::copy(&mut reader, &mut io::sink())).await;
        Ok(())
    }

    fn answer(
        &self,
        read: Result<(), LinesCodecError>,
        result: Result<Deliveries, ProduceError>,
    ) -> String {
        if let Err(error) = read {
            return format!("failed: {error}");
        }
        match result {
            Ok(_) => {
                self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                "ok".to_owned()
            }
            // The error also says whether the record may be in the log nevertheless.
            Err(error) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                format!("failed: {error}")
            }
        }
    }

    /// Waits until each accepted line has its answer, and closes the producer. Returns true if
    /// nothing failed at the close and no connection is left.
    async fn shut_down(&self) -> bool {
        self.connections.close();
        // A broker that is down, or a client that does not read, may take longer.
        _ = time::timeout(GRACE, self.connections.wait()).await;
        let report = self.producer.close_timeout(GRACE).await;
        // The failures of the close are still to be answered.
        _ = time::timeout(GRACE, self.connections.wait()).await;

        println!(
            "{} lines delivered, {} failed; in flight at the close: {} delivered, {} failed, \
             {} undelivered; {} connections aborted",
            self.counts.delivered.load(Ordering::Relaxed),
            self.counts.failed.load(Ordering::Relaxed),
            report.delivered,
            report.failed,
            report.undelivered,
            self.connections.len(),
        );
        report.failed + report.undelivered == 0 && self.connections.is_empty()
    }
}

/// Runs clients that send lines and wait for the answers. Checks that all lines were delivered.
async fn run_clients(
    address: SocketAddr,
    topic: &str,
    mock: Option<&MockCluster>,
) -> Result<(), BoxError> {
    let delivered = stream::iter(0..DEMO_CLIENTS)
        .map(|number| run_client(address, number))
        .buffer_unordered(DEMO_CONNECTIONS)
        .try_fold(0, |sum, delivered| future::ok(sum + delivered))
        .await?;
    check("answers of a delivery", delivered)?;
    if let Some(mock) = mock {
        check("records in the topic", mock.records(topic).await?.len())?;
    }
    Ok(())
}

/// Sends lines and returns how many of them were delivered.
async fn run_client(address: SocketAddr, number: usize) -> Result<usize, LinesCodecError> {
    let stream = TcpStream::connect(address).await?;
    let (lines, answers) = Framed::new(stream, LinesCodec::new()).split();
    let sending = stream::iter(0..DEMO_LINES)
        .map(|line| Ok(format!("line {line} of client {number}")))
        .forward(lines);
    let counting = answers.try_fold(0, |delivered, answer| {
        future::ok(delivered + usize::from(answer == "ok"))
    });
    // Both run concurrently: otherwise each side could wait for the other to read.
    let ((), delivered) = future::try_join(sending, counting).await?;
    Ok(delivered)
}

fn check(what: &str, count: usize) -> Result<(), String> {
    let expected = DEMO_CLIENTS * DEMO_LINES;
    if count == expected {
        Ok(())
    } else {
        Err(format!("{count} {what} instead of {expected}"))
    }
}
