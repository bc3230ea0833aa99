//! Lines from many TCP connections into one producer. Each connection is a task of its own, and
//! tells its client what became of each line, in the lines' order: `ok` when it is delivered, or
//! `failed:` and why.
//!
//! On Ctrl-C no more lines are taken; those that were are delivered and answered before the producer
//! is closed. A line without an answer was not taken, unless the connection broke.
//!
//! ```sh
//! cargo run --features mock --example tcp_ingest     # its own clients, on a mock cluster, and ends
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

/// How many lines of one connection may be unanswered before no more of it are read.
const MAX_IN_FLIGHT: usize = 1_000;

/// How long each step of the shutdown may take.
const GRACE: Duration = Duration::from_secs(5);

/// How long a connection waits for its client's end.
const LINGER: Duration = Duration::from_secs(1);

const DEMO_CLIENTS: usize = 300;
/// How many are connected at a time.
const DEMO_CONNECTIONS: usize = 100;
const DEMO_LINES: usize = 100;

#[derive(Debug, Parser)]
#[command(about = "Produces the lines that come in by TCP, and answers each.")]
struct Arguments {
    /// The cluster, as host:port,…; without it, a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// Where to listen, until Ctrl-C; without it, on a free port for clients of its own
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

/// What the connections share.
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
    /// Gives each connection a task, until it is time to stop.
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
                // Such as too many open files: some may be closed by then.
                Err(error) => {
                    eprintln!("no connection accepted: {error}");
                    time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Produces the lines of a connection, and answers them.
    async fn serve(&self, stream: TcpStream) -> Result<(), LinesCodecError> {
        let (mut reader, writer) = stream.into_split();
        let codec = LinesCodec::new_with_max_length(MAX_LINE_LENGTH);
        FramedRead::new(&mut reader, codec)
            .take_until(self.stop.cancelled())
            // An error of the connection, or a line that is too long, is an item without a record,
            // behind those before it. Nothing more is read then.
            .map(|line| match line {
                Ok(line) => (Ok(()), Some(ProducerRecord::to(&self.topic).payload(line))),
                Err(error) => (Err(error), None),
            })
            .produce(&self.producer)
            .max_in_flight(MAX_IN_FLIGHT)
            .map(|(read, result)| Ok(self.answer(read, result)))
            // Waits for a client that does not read its answers, and takes no more lines meanwhile.
            .forward(FramedWrite::new(writer, LinesCodec::new()))
            .await?;
        // To close a connection with something unread is to reset it, and the client may lose
        // answers by that.
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
            // Says too whether the record may be in the log all the same.
            Err(error) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                format!("failed: {error}")
            }
        }
    }

    /// Waits until every line that was taken has its answer, and closes the producer; returns
    /// whether all went well.
    async fn shut_down(&self) -> bool {
        self.connections.close();
        // What may take longer is a broker that is away, or a client that does not read.
        _ = time::timeout(GRACE, self.connections.wait()).await;
        let report = self.producer.close_timeout(GRACE).await;
        // The failures of the close are still to be told.
        _ = time::timeout(GRACE, self.connections.wait()).await;

        println!(
            "{} lines delivered, {} failed; left at the close: {} delivered, {} failed, \
             {} undelivered; {} connections are broken off",
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

/// The demo: clients that send lines and wait for the answers. Checks that all were delivered.
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

/// Returns how many of its lines were delivered.
async fn run_client(address: SocketAddr, number: usize) -> Result<usize, LinesCodecError> {
    let stream = TcpStream::connect(address).await?;
    let (lines, answers) = Framed::new(stream, LinesCodec::new()).split();
    let sending = stream::iter(0..DEMO_LINES)
        .map(|line| Ok(format!("line {line} of client {number}")))
        .forward(lines);
    let counting = answers.try_fold(0, |delivered, answer| {
        future::ok(delivered + usize::from(answer == "ok"))
    });
    // At the same time: neither side may wait for the other to read.
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
