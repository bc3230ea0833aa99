//! Produces records from the command line or from standard input.
//!
//! ```sh
//! cargo run --features mock --example produce                  # ten records, on a mock cluster
//! cargo run --features mock --example produce -- apples pears  # these two, on a mock cluster
//! ls | cargo run --features mock --example produce -- --brokers localhost:9092 --topic files
//! ```

mod common;

use std::collections::VecDeque;
use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_rdkafka::{ClientConfig, DeliveryFuture, Producer, ProducerRecord, SendError};

/// How long a broker may take to come up.
const READY: Duration = Duration::from_secs(30);

/// The largest number of records in flight.
const WINDOW: usize = 1_000;

#[derive(Debug, Parser)]
#[command(about = "Produces records and prints the result of each.")]
struct Arguments {
    /// The cluster, as host:port,…; by default a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// The key of all records
    #[arg(long)]
    key: Option<String>,
    /// A configuration property of librdkafka (CONFIGURATION.md); may be repeated
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = common::property)]
    properties: Vec<(String, String)>,
    /// The payloads; by default the lines of standard input, or ten records if it is empty or a
    /// terminal
    payloads: Vec<String>,
}

/// The counts that are printed at the end.
#[derive(Default)]
struct Summary {
    delivered: u64,
    failed: u64,
}

impl Summary {
    /// Waits for a delivery and prints it.
    async fn add(&mut self, delivery: DeliveryFuture) {
        match delivery.await {
            Ok(delivery) => {
                self.delivered += 1;
                println!(
                    "partition {}, offset {}, after {:?}",
                    delivery.partition(),
                    delivery
                        .offset()
                        .map_or("unknown".to_owned(), |offset| offset.to_string()),
                    delivery.latency(),
                );
            }
            // The error carries the record and says whether it may be in the log nevertheless.
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &SendError) {
        self.failed += 1;
        eprintln!("{error}");
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    common::log_to_stderr();
    let arguments = Arguments::parse();

    // Kept until the end of `main`: dropping the mock cluster stops its brokers.
    let (brokers, _mock) = common::brokers(arguments.brokers, &arguments.topic)?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true");
    config.extend(arguments.properties);
    let producer: Producer = config.create()?;
    // Otherwise the records would wait for `message.timeout.ms`, which is five minutes.
    if let Err(error) = producer.ready(READY).await {
        eprintln!("no broker is up: {}", common::with_causes(&error));
        return Ok(ExitCode::FAILURE);
    }

    let started = Instant::now();
    let mut summary = Summary::default();
    let mut in_flight = VecDeque::with_capacity(WINDOW);
    let mut payloads = Payloads::new(arguments.payloads).await?;
    let ended = loop {
        let payload = match payloads.next().await {
            Ok(Some(payload)) => payload,
            Ok(None) => break Ok(()),
            // The records in flight are still awaited below.
            Err(error) => break Err(error),
        };
        if in_flight.len() == WINDOW {
            summary
                .add(in_flight.pop_front().expect("a full window"))
                .await;
        }
        let record = ProducerRecord::to(&arguments.topic)
            .key(arguments.key.as_deref())
            .payload(payload);
        // Waits for capacity only. The record's place in the order is now fixed.
        match producer.enqueue(record).await {
            Ok(delivery) => in_flight.push_back(delivery),
            Err(error) => {
                summary.fail(&error);
                // After a fatal error no record can be sent.
                if error.is_fatal() {
                    break Ok(());
                }
            }
        }
    };
    for delivery in in_flight {
        summary.add(delivery).await;
    }
    // Nothing is in flight here. A service should always end like this.
    producer.close_timeout(Duration::from_secs(30)).await;

    let Summary { delivered, failed } = summary;
    let rate = delivered as f64 / started.elapsed().as_secs_f64();
    println!(
        "{delivered} delivered, {failed} failed in {:?}, {rate:.0}/s",
        started.elapsed()
    );
    ended?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The source of the payloads.
enum Payloads {
    Given(std::vec::IntoIter<String>),
    Lines {
        first: Option<String>,
        rest: tokio::io::Lines<BufReader<tokio::io::Stdin>>,
    },
}

impl Payloads {
    async fn new(given: Vec<String>) -> std::io::Result<Self> {
        let demo = || {
            (1..=10)
                .map(|number| format!("record {number}"))
                .collect::<Vec<_>>()
        };
        if !given.is_empty() {
            return Ok(Self::Given(given.into_iter()));
        }
        if std::io::stdin().is_terminal() {
            return Ok(Self::Given(demo().into_iter()));
        }
        let mut rest = BufReader::new(tokio::io::stdin()).lines();
        match rest.next_line().await? {
            Some(first) => Ok(Self::Lines {
                first: Some(first),
                rest,
            }),
            None => Ok(Self::Given(demo().into_iter())),
        }
    }

    async fn next(&mut self) -> std::io::Result<Option<String>> {
        match self {
            Self::Given(payloads) => Ok(payloads.next()),
            Self::Lines { first, rest } => match first.take() {
                Some(line) => Ok(Some(line)),
                None => rest.next_line().await,
            },
        }
    }
}
