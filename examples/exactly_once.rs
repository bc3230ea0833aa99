//! Consume, transform, produce, exactly once: what was made of the records that were read, and how
//! far they were read, become visible in one transaction, or not at all. Whatever ends this program,
//! also `kill -9`, the next start goes on where the last commit was.
//!
//! It reads with rdkafka's `StreamConsumer`, and writes each record in upper case to the partition of
//! the same number, so the output topic needs as many partitions as the input. To share the work,
//! start more of them in the same group, each with a transactional id of its own that it keeps.
//!
//! What went wrong decides what is done:
//!
//! - A commit that could not be made in time is resumed: nobody knows yet how it ends.
//! - What can be aborted is; then the consumer is taken back to the committed offsets. This covers a
//!   rebalance in the middle of a transaction, too.
//! - After a fatal error the program ends with an error. Whoever watches it may start it again,
//!   after a pause: it goes on where the last commit was.
//! - This holds where it says that it was fenced, too. Then another process has started with the
//!   same transactional id, or a transaction took longer than `transaction.timeout.ms` and its
//!   coordinator aborted it; the error does not tell which. Where it comes again and again, look
//!   for a second process with that id: each start fences the other one, as producer and as static
//!   member of the group.
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
use rdkafka::topic_partition_list::Offset;
use tokio::signal::ctrl_c;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rdkafka::{
    BoxError, ClientConfig, ConsumedOffsets, KafkaError, ProducerRecord, Transaction,
    TransactionalProducer,
};
use tracing::{debug, warn};

/// For the cluster to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a broker is lost, librdkafka asks for the next coordinator each time that it could not
/// connect to the last one. The default of 10 s is long for who waits for it.
const BACKOFF: &str = "1000";

const PAUSE: Duration = Duration::from_millis(200);

/// After so many transactions in a row that had to be aborted, it will not get better by itself.
const MAX_ABORTS: u32 = 20;

#[derive(Debug, Parser)]
#[command(about = "Turns records to upper case, exactly once.")]
struct Arguments {
    /// The cluster, as host:port,…
    #[arg(long)]
    brokers: String,
    /// The topic to read
    #[arg(long)]
    input: String,
    /// The topic to write, with as many partitions
    #[arg(long)]
    output: String,
    /// The consumer group
    #[arg(long)]
    group: String,
    /// Of this instance; it keeps it over restarts
    #[arg(long)]
    transactional_id: String,
    /// How many records are in a transaction at most
    #[arg(long, default_value_t = 1_000)]
    batch_size: usize,
    /// How many milliseconds a transaction waits for more records
    #[arg(long, default_value_t = 100)]
    batch_ms: u64,
    /// End when the end of the input has been reached
    #[arg(long)]
    until_end: bool,
    /// Further configuration of the producer, as in librdkafka's CONFIGURATION.md
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = common::property)]
    properties: Vec<(String, String)>,
    /// Further configuration of the consumer
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
                "fenced, another process has taken over or the transaction timed out: {error}"
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
    // Aborts what a process before this one has left open.
    producer.init(PATIENCE).await?;

    let consumer = consumer(&arguments)?;
    let work = Work {
        arguments,
        consumer: Arc::new(consumer),
    };
    let result = work.run(&mut producer).await;
    // Aborts what is still open. Dropping the consumer blocks.
    producer.close().await;
    spawn_blocking(move || drop(work)).await?;
    result
}

/// Whether another process has the transactional id now, or the place in the consumer group, which
/// is of the same name here; or the transaction timed out.
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
        // A static member: its next process takes its partitions over at once, instead of when the
        // session of the last one has timed out.
        .set("group.instance.id", &arguments.transactional_id)
        // Offsets are committed by the producer alone.
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

/// What went wrong.
enum Failed {
    /// It is as if the transaction had not been, and can be done again.
    Aborted(BoxError),
    /// Nothing more can be done here.
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
            // An error: there is no such signal here.
            if ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let mut interrupted = pin!(interrupted.fuse());
        let mut ended = HashSet::new();
        let (mut records, mut aborts) = (0, 0);
        loop {
            // It also ends what an abort could not, in time.
            let transaction = match producer.begin().await {
                Ok(transaction) => transaction,
                Err(error) if error.is_retriable() => {
                    warn!(%error, "the transaction before has not ended yet");
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
                    warn!(%error, "aborted; the next start reads the records again");
                    return Ok(records);
                }
                Err(Failed::Aborted(error)) if aborts < MAX_ABORTS => {
                    warn!(%error, "aborted; the records are read again");
                    aborts += 1;
                    sleep(PAUSE).await;
                }
                Err(Failed::Aborted(error) | Failed::Fatal(error)) => return Err(error),
            }
        }
    }

    /// One transaction.
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

    /// Reads, transforms and sends, and with it how far it has read.
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
                // Of a connection, for instance: it goes on by itself.
                Err(error) => warn!(%error, "while reading"),
            }
        }
        transaction.send_consumed(&consumed).await?;
        Ok(batch)
    }

    /// Whether that is the end of all partitions that are assigned.
    fn is_at_end(&self, ended: &HashSet<i32>) -> Result<bool, Failed> {
        let assigned = self.consumer.assignment();
        let assigned = assigned.map_err(|error| Failed::Aborted(error.into()))?;
        let elements = assigned.elements();
        let mut partitions = elements.iter().map(|element| element.partition());
        Ok(partitions.all(|partition| ended.contains(&partition)))
    }

    /// Takes the consumer back to the committed offsets.
    async fn rewind(&self) -> Result<(), BoxError> {
        let started = Instant::now();
        loop {
            let consumer = Arc::clone(&self.consumer);
            match spawn_blocking(move || rewind(&consumer)).await? {
                Err(error) if started.elapsed() < PATIENCE => {
                    warn!(%error, "the committed offsets cannot be gone back to yet");
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
    /// There will be no more.
    is_last: bool,
}

fn transform<'a>(message: &'a BorrowedMessage<'_>, output: &'a str) -> ProducerRecord<'a> {
    ProducerRecord::to(output)
        .partition(message.partition())
        .key(message.key())
        .payload(message.payload().map(<[u8]>::to_ascii_uppercase))
}

/// Commits, or aborts where that is impossible.
async fn commit(mut transaction: Transaction<'_>) -> Result<(), Failed> {
    loop {
        match transaction
            .commit()
            .await
            .map_err(|failed| failed.into_parts())
        {
            Ok(()) => return Ok(()),
            Err((Some(same), error)) if error.is_retriable() => {
                warn!(%error, "the commit is resumed");
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
        // Where there was no time, the next begin goes on with it.
        _ => Ok(()),
    }
}

/// Blocks.
fn rewind(consumer: &StreamConsumer) -> Result<(), ConsumerError> {
    // With read_committed, this waits for transactions that are being completed.
    let mut offsets = consumer.assignment()?;
    if offsets.count() == 0 {
        return Ok(());
    }
    offsets = consumer.committed_offsets(offsets, PATIENCE / 4)?;
    for mut partition in offsets.elements() {
        // Where it could not be asked for, the offset says nothing.
        partition.error()?;
        if partition.offset() == Offset::Invalid {
            partition.set_offset(Offset::Beginning)?;
        }
    }
    let sought = consumer.seek_partitions(offsets, PATIENCE / 4)?;
    sought
        .elements()
        .iter()
        .try_for_each(|partition| partition.error())
}
