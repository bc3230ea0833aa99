//! Records from the command line or standard input to a topic.
//!
//! ```sh
//! cargo run --features mock --example produce                      # a demo, on a mock cluster
//! cargo run --features mock --example produce -- apples pears      # these, on a mock cluster
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

/// How many records are on their way at the same time.
const WINDOW: usize = 1_000;

#[derive(Debug, Parser)]
#[command(about = "Produces records, and prints what became of each.")]
struct Arguments {
    /// The cluster, as host:port,…; without it, a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// The key of all records
    #[arg(long)]
    key: Option<String>,
    /// Further configuration, as in librdkafka's CONFIGURATION.md
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = common::property)]
    properties: Vec<(String, String)>,
    /// The payloads; without any, the lines of standard input; without those, a demo
    payloads: Vec<String>,
}

/// What is printed at the end.
#[derive(Default)]
struct Summary {
    delivered: u64,
    failed: u64,
}

impl Summary {
    /// Waits for a delivery, and prints it.
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
            // The error has the record, and says whether it may be in the log all the same.
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

    // The mock is kept until the end of `main`: dropping it would take the brokers away.
    let (brokers, _mock) = common::brokers(arguments.brokers, &arguments.topic)?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true");
    config.extend(arguments.properties);
    let producer: Producer = config.create()?;

    let started = Instant::now();
    let mut summary = Summary::default();
    let mut in_flight = VecDeque::with_capacity(WINDOW);
    let mut payloads = Payloads::new(arguments.payloads).await?;
    let ended = loop {
        let payload = match payloads.next().await {
            Ok(Some(payload)) => payload,
            Ok(None) => break Ok(()),
            // What is in flight is waited for all the same.
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
        // Waits only for room in the queue; the order is fixed here, the delivery comes later.
        match producer.enqueue(record).await {
            Ok(delivery) => in_flight.push_back(delivery),
            Err(error) => {
                summary.fail(&error);
                // Nothing can be sent any more.
                if error.is_fatal() {
                    break Ok(());
                }
            }
        }
    };
    for delivery in in_flight {
        summary.add(delivery).await;
    }
    // Nothing is in flight any more, but a service always ends like this.
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

/// Where the records come from.
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
