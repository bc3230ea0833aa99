//! Forwards the lines of a file or of standard input to a topic.
//!
//! The lines are a codec's stream, and `forward` sends them to a producer's sink. An error at
//! either end stops the pipeline. It shows its progress while it runs.
//!
//! ```sh
//! cargo run --features mock --example pipeline       # generated lines, on a mock cluster
//! cargo run --features mock --example pipeline -- --file Cargo.lock
//! dmesg | cargo run --features mock --example pipeline -- --brokers localhost:9092 --file -
//! ```

mod common;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio::fs::File;
use tokio::io::{AsyncRead, stdin};
use tokio::time::{self, Instant};
use tokio_rdkafka::{BoxError, ClientConfig, Producer, ProducerRecord, SinkStatistics};
use tokio_util::codec::{FramedRead, LinesCodec};

/// Without a limit, input without a line break would be read into memory completely.
const MAX_LINE_LENGTH: usize = 64 * 1024;

const GENERATED_LINES: usize = 200_000;

/// The interval at which progress is shown.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Parser)]
#[command(about = "Produces each line of a file and shows the progress.")]
struct Arguments {
    /// The cluster, as host:port,…; by default a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// The file, or - for standard input; by default generated lines
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

fn main() -> Result<ExitCode, BoxError> {
    common::log_to_stderr();
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(run());
    // Dropping the runtime would wait for a read of standard input, which cannot be cancelled.
    runtime.shutdown_background();
    ended
}

async fn run() -> Result<ExitCode, BoxError> {
    let arguments = Arguments::parse();
    let input = open(arguments.file.as_deref()).await?;
    // Kept until the end of `run`: dropping the mock cluster stops its brokers.
    let (brokers, _mock) = common::brokers(arguments.brokers, &arguments.topic)?;
    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .create()?;
    let topic = producer.topic(&arguments.topic)?;

    let sink = producer.sink();
    let mut progress = Progress::new(sink.statistics());
    let lines = FramedRead::new(input, LinesCodec::new_with_max_length(MAX_LINE_LENGTH));
    // While the queue is full the sink is not ready, so no input is read. `forward` returns the
    // first error of a line or a record. Otherwise it returns when all records have been delivered.
    let pipeline = lines
        .map_ok(|line| ProducerRecord::to(topic.clone()).payload(line))
        .map_err(BoxError::from)
        .forward(sink.sink_map_err(BoxError::from));
    let result = progress.show_during(pipeline).await;

    // After an error, records may still be in flight.
    producer.close_timeout(Duration::from_secs(30)).await;
    progress.show_total();
    Ok(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stopped: {error}");
            ExitCode::FAILURE
        }
    })
}

async fn open(file: Option<&Path>) -> Result<Box<dyn AsyncRead + Unpin>, BoxError> {
    Ok(match file {
        None => {
            let lines = (1..=GENERATED_LINES).map(|number| format!("line {number}\n"));
            Box::new(Cursor::new(lines.collect::<String>()))
        }
        Some(path) if path == Path::new("-") => Box::new(stdin()),
        Some(path) => {
            let file = File::open(path).await;
            Box::new(file.map_err(|error| format!("{}: {error}", path.display()))?)
        }
    })
}

/// Shows counts on stderr.
struct Progress {
    statistics: SinkStatistics,
    started: Instant,
    /// When the progress was last shown, and the number of deliveries at that time.
    last: (Instant, u64),
}

impl Progress {
    fn new(statistics: SinkStatistics) -> Self {
        let started = Instant::now();
        Self {
            statistics,
            started,
            last: (started, 0),
        }
    }

    /// Runs the work and shows the progress meanwhile. Then drops the work and its sink, whose
    /// records in flight still count.
    async fn show_during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut ticks = time::interval_at(Instant::now() + INTERVAL, INTERVAL);
        loop {
            tokio::select! {
                result = &mut work => return result,
                _ = ticks.tick() => self.show(),
            }
        }
    }

    /// Shows the counts, with the rate since the last call.
    fn show(&mut self) {
        let (then, before) = self.last;
        self.last = (Instant::now(), self.statistics.delivered());
        self.print(then, before);
    }

    /// Shows the counts, with the rate since the start.
    fn show_total(&self) {
        self.print(self.started, 0);
    }

    fn print(&self, since: Instant, before: u64) {
        let delivered = self.statistics.delivered();
        let rate = (delivered - before) as f64 / since.elapsed().as_secs_f64();
        eprintln!(
            "{:.1?}: {delivered} delivered, {} failed, {} in flight, {rate:.0}/s",
            self.started.elapsed(),
            self.statistics.failed(),
            self.statistics.in_flight(),
        );
    }
}
