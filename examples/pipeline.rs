//! Lines of a file or of standard input into a topic, by `forward`: a codec's stream on one end, a
//! producer's sink on the other. What goes wrong at either end stops it, and progress is shown while
//! it runs.
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

/// Without a limit, input without a line break would be gathered in memory to its end.
const MAX_LINE_LENGTH: usize = 64 * 1024;

const GENERATED_LINES: usize = 200_000;

/// How often progress is shown.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Parser)]
#[command(about = "Produces each line of a file, and shows how it gets on.")]
struct Arguments {
    /// The cluster, as host:port,…; without it, a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// The file, or - for standard input; without it, generated lines
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

fn main() -> Result<ExitCode, BoxError> {
    common::log_to_stderr();
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(run());
    // Nobody can end a read of standard input, for which a drop of the runtime would wait.
    runtime.shutdown_background();
    ended
}

async fn run() -> Result<ExitCode, BoxError> {
    let arguments = Arguments::parse();
    let input = open(arguments.file.as_deref()).await?;
    // The mock is kept until the end of `main`: dropping it would take the brokers away.
    let (brokers, _mock) = common::brokers(arguments.brokers, &arguments.topic)?;
    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .create()?;
    let topic = producer.topic(&arguments.topic)?;

    let sink = producer.sink();
    let mut progress = Progress::new(sink.statistics());
    let lines = FramedRead::new(input, LinesCodec::new_with_max_length(MAX_LINE_LENGTH));
    // A full queue keeps the sink from being ready, and the input waits. The forward ends with the
    // first error, of a line or of a record; otherwise when all has been delivered.
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
    /// When it was last shown, and what had been delivered by then.
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

    /// Drops the work, and the sink with it, when it is done: what is in flight then still counts.
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

    /// With the rate since the last time.
    fn show(&mut self) {
        let (then, before) = self.last;
        self.last = (Instant::now(), self.statistics.delivered());
        self.print(then, before);
    }

    /// With the rate of all the time.
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
