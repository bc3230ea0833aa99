//! Consumes, transforms and produces records exactly once.
//!
//! One transaction holds the new records and the offsets of the records that were read. Both become
//! visible together or not at all. If the program ends, even by `kill -9`, the next start continues
//! after the last commit.
//!
//! It reads with rdkafka's `StreamConsumer` and writes each record in upper case to the partition
//! of the same number. So the output topic needs as many partitions as the input topic. To share
//! the work, start more processes in the same group. Each needs its own transactional id and keeps
//! it over restarts.
//!
//! # Errors
//!
//! - A commit that times out is resumed, because its outcome is not known yet.
//! - If a transaction can be aborted, it is. Then the consumer seeks to the committed offsets. This
//!   includes a rebalance during a transaction.
//! - After a fatal error the program ends with an error. A supervisor may start it again after a
//!   pause.
//! - "fenced" is a fatal error too. Either another process has started with the same transactional
//!   id, or a transaction exceeded `transaction.timeout.ms` and its coordinator aborted it. The
//!   error does not say which. If it recurs, look for a second process with that id: each start
//!   fences the other process, as producer and as static member of the group.
//!
//! ```sh
//! cargo run --features rdkafka --example exactly_once -- --brokers localhost:9092 \
//!     --input orders --output invoices --group billing --transactional-id billing-1
//! ```

mod common;

use std::collections::HashSet;
use std::error::Error;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures::future::{FusedFuture, FutureExt};
use rdkafka::Message;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError as ConsumerError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use tokio::signal::ctrl_c;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rdkafka::{
    BoxError, ClientConfig, ConsumedOffsets, KafkaError, ProducerRecord, Transaction,
    TransactionalProducer, rewind,
};
use tracing::{debug, warn};

/// How long to wait for the cluster.
const PATIENCE: Duration = Duration::from_secs(60);

/// `reconnect.backoff.max.ms`. After the loss of a broker librdkafka looks up the new coordinator
/// each time that it cannot connect to the old one. The default of 10 s delays this.
const BACKOFF: &str = "1000";

/// The pause before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// The number of successive aborts that are retried.
const MAX_ABORTS: u32 = 20;

#[derive(Debug, Parser)]
#[command(about = "Converts records to upper case, exactly once.")]
struct Arguments {
    /// The cluster, as host:port,…
    #[arg(long)]
    brokers: String,
    /// The topic to read
    #[arg(long)]
    input: String,
    /// The topic to write; it needs as many partitions as the input
    #[arg(long)]
    output: String,
    /// The consumer group
    #[arg(long)]
    group: String,
    /// The transactional id of this instance, which it keeps over restarts
    #[arg(long)]
    transactional_id: String,
    /// The largest number of records in a transaction
    #[arg(long, default_value_t = 1_000)]
    batch_size: usize,
    /// How long a transaction waits for more records, in milliseconds
    #[arg(long, default_value_t = 100)]
    batch_ms: u64,
    /// Stop at the end of the input
    #[arg(long)]
    until_end: bool,
    /// A configuration property of the producer (librdkafka's CONFIGURATION.md); may be repeated
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = common::property)]
    properties: Vec<(String, String)>,
    /// A configuration property of the consumer; may be repeated
    #[arg(short = 'C', value_name = "PROPERTY=VALUE", value_parser = common::property)]
    consumer_properties: Vec<(String, String)>,
}

#[tokio::main]
async fn main() -> ExitCode {
    common::log_to_stderr();
    match run(Arguments::parse()).await {
        Ok(records) => {
            println!("{records} records committed");
            ExitCode::SUCCESS
        }
        Err(error) if is_fenced(&*error) => {
            eprintln!(
                "fenced, because another process took over or the transaction timed out: {error}"
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the number of records committed.
async fn run(arguments: Arguments) -> Result<u64, BoxError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &arguments.brokers)
        .set("transactional.id", &arguments.transactional_id)
        .set("reconnect.backoff.max.ms", BACKOFF);
    config.extend(arguments.properties.iter().cloned());
    let mut producer: TransactionalProducer = config.create()?;
    // Aborts a transaction that an earlier process has left open.
    producer.init(PATIENCE).await?;

    let consumer = consumer(&arguments)?;
    let work = Work {
        arguments,
        consumer: Arc::new(consumer),
    };
    let result = work.run(&mut producer).await;
    // `close` aborts an open transaction. Dropping the consumer blocks.
    producer.close().await;
    spawn_blocking(move || drop(work)).await?;
    result
}

/// Returns true if another process has taken over the transactional id or the static membership of
/// the group, which has the same name here. Also true if the transaction timed out.
fn is_fenced(error: &(dyn Error + 'static)) -> bool {
    if let Some(ConsumerError::MessageConsumptionFatal(code)) = error.downcast_ref() {
        return *code == RDKafkaErrorCode::FencedInstanceId;
    }
    let error = error.downcast_ref::<KafkaError>();
    error.is_some_and(KafkaError::is_fenced)
}

fn consumer(arguments: &Arguments) -> Result<StreamConsumer, ConsumerError> {
    let mut config = rdkafka::ClientConfig::new();
    config
        .set("bootstrap.servers", &arguments.brokers)
        .set("group.id", &arguments.group)
        // A static member. Its next process gets its partitions at once, instead of after the
        // session timeout of the last one.
        .set("group.instance.id", &arguments.transactional_id)
        // Only the producer commits offsets.
        .set("enable.auto.commit", "false")
        .set("reconnect.backoff.max.ms", BACKOFF)
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true");
    config.extend(arguments.consumer_properties.iter().cloned());
    let consumer: StreamConsumer = config.create()?;
    consumer.subscribe(&[&arguments.input])?;
    Ok(consumer)
}

/// Why a batch failed.
enum Failed {
    /// The transaction was aborted, and its records can be read again.
    Aborted(BoxError),
    /// The program must end.
    Fatal(BoxError),
}

impl From<KafkaError> for Failed {
    fn from(error: KafkaError) -> Self {
        if error.is_fatal() {
            Self::Fatal(error.into())
        } else {
            Self::Aborted(error.into())
        }
    }
}

struct Work {
    arguments: Arguments,
    consumer: Arc<StreamConsumer>,
}

impl Work {
    /// Returns the number of records committed.
    async fn run(&self, producer: &mut TransactionalProducer) -> Result<u64, BoxError> {
        let interrupted = async {
            // On an error this system has no such signal.
            if ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let mut interrupted = pin!(interrupted.fuse());
        let mut ended = HashSet::new();
        let (mut records, mut aborts) = (0, 0);
        loop {
            // This also completes an abort that timed out.
            let transaction = match producer.begin().await {
                Ok(transaction) => transaction,
                Err(error) if error.is_retriable() => {
                    warn!(%error, "the previous transaction is not complete yet");
                    sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if aborts > 0 {
                self.rewind().await?;
                ended.clear();
            }
            match self
                .batch(transaction, &mut ended, interrupted.as_mut())
                .await
            {
                Ok(Batch { len, is_last }) => {
                    aborts = 0;
                    records += len;
                    debug!(records, "committed");
                    if is_last {
                        return Ok(records);
                    }
                }
                Err(Failed::Aborted(error)) if interrupted.is_terminated() => {
                    warn!(%error, "aborted; the next start reads these records again");
                    return Ok(records);
                }
                Err(Failed::Aborted(error)) if aborts < MAX_ABORTS => {
                    warn!(%error, "aborted; reading these records again");
                    aborts += 1;
                    sleep(PAUSE).await;
                }
                Err(Failed::Aborted(error) | Failed::Fatal(error)) => return Err(error),
            }
        }
    }

    /// Runs one transaction.
    async fn batch(
        &self,
        transaction: Transaction<'_>,
        ended: &mut HashSet<i32>,
        interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Batch, Failed> {
        match self.fill(&transaction, ended, interrupted).await {
            Ok(batch) => {
                commit(transaction).await?;
                Ok(batch)
            }
            Err(failed) => {
                abort(transaction).await?;
                Err(failed)
            }
        }
    }

    /// Reads, transforms and sends records. Then adds the consumed offsets to the transaction.
    async fn fill(
        &self,
        transaction: &Transaction<'_>,
        ended: &mut HashSet<i32>,
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Batch, Failed> {
        let mut consumed = ConsumedOffsets::new();
        let mut batch = Batch::default();
        let mut full_at = None;
        while batch.len < self.arguments.batch_size as u64 && !batch.is_last {
            let is_full = async {
                match full_at {
                    Some(time) => sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            let received = tokio::select! {
                received = self.consumer.recv() => received,
                () = is_full => break,
                () = interrupted.as_mut() => {
                    batch.is_last = true;
                    break;
                }
            };
            match received {
                Ok(message) => {
                    ended.remove(&message.partition());
                    consumed.add(&*self.consumer, &message)?;
                    let record = transform(&message, &self.arguments.output);
                    let sent = transaction.enqueue_detached(record).await;
                    sent.map_err(KafkaError::from)?;
                    batch.len += 1;
                    let wait = Duration::from_millis(self.arguments.batch_ms);
                    full_at.get_or_insert_with(|| Instant::now() + wait);
                }
                Err(ConsumerError::PartitionEOF(partition)) => {
                    ended.insert(partition);
                    batch.is_last = self.arguments.until_end && self.is_at_end(ended)?;
                }
                Err(error @ ConsumerError::MessageConsumptionFatal(_)) => {
                    return Err(Failed::Fatal(error.into()));
                }
                // For instance an error of a connection. The consumer recovers by itself.
                Err(error) => warn!(%error, "the consumer reported an error"),
            }
        }
        transaction.send_consumed(&consumed).await?;
        Ok(batch)
    }

    /// Returns true if all assigned partitions have reached their end.
    fn is_at_end(&self, ended: &HashSet<i32>) -> Result<bool, Failed> {
        let assigned = self.consumer.assignment();
        let assigned = assigned.map_err(|error| Failed::Aborted(error.into()))?;
        let elements = assigned.elements();
        let mut partitions = elements.iter().map(|element| element.partition());
        Ok(partitions.all(|partition| ended.contains(&partition)))
    }

    /// Seeks to the committed offsets, and tries again until that works.
    async fn rewind(&self) -> Result<(), BoxError> {
        let started = Instant::now();
        loop {
            match rewind(Arc::clone(&self.consumer), PATIENCE / 4).await {
                Err(error) if started.elapsed() < PATIENCE => {
                    warn!(%error, "seeking to the committed offsets failed; trying again");
                    sleep(PAUSE).await;
                }
                result => return Ok(result?),
            }
        }
    }
}

#[derive(Default)]
struct Batch {
    len: u64,
    /// No batch follows.
    is_last: bool,
}

fn transform<'a>(message: &'a BorrowedMessage<'_>, output: &'a str) -> ProducerRecord<'a> {
    ProducerRecord::to(output)
        .partition(message.partition())
        .key(message.key())
        .payload(message.payload().map(<[u8]>::to_ascii_uppercase))
}

/// Commits. Aborts if the commit is impossible.
async fn commit(mut transaction: Transaction<'_>) -> Result<(), Failed> {
    loop {
        match transaction
            .commit()
            .await
            .map_err(|failed| failed.into_parts())
        {
            Ok(()) => return Ok(()),
            Err((Some(same), error)) if error.is_retriable() => {
                warn!(%error, "the commit has not completed yet; resuming it");
                transaction = same;
            }
            Err((Some(failed), error)) => {
                abort(failed).await?;
                return Err(Failed::Aborted(error.into()));
            }
            Err((None, error)) => return Err(Failed::Fatal(error.into())),
        }
    }
}

async fn abort(transaction: Transaction<'_>) -> Result<(), Failed> {
    match transaction.abort().await {
        Err(error) if error.is_fatal() => Err(Failed::Fatal(error.into())),
        // After a timeout the next `begin` continues the abort.
        _ => Ok(()),
    }
}
