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
//! `consume_transform_produce` does the work: transactions, offsets, retries, and the way back after
//! an abort or a rebalance. What is left for the program is to create a consumer and a producer, to
//! transform, and to stop.
//!
//! # Errors
//!
//! - After an error that does not go away the program ends with it. A supervisor may start it again
//!   after a pause.
//! - "fenced" is such an error. Either another process has started with the same transactional id,
//!   or a transaction exceeded `transaction.timeout.ms` and its coordinator aborted it. The error
//!   does not say which. If it recurs, look for a second process with that id: each start fences the
//!   other process, as producer and as static member of the group.
//! - Ctrl-C stops it. A batch that is not done is aborted, and the next start reads it again.
//!
//! ```sh
//! cargo run --features rdkafka --example exactly_once -- --brokers localhost:9092 \
//!     --input orders --output invoices --group billing --transactional-id billing-1
//! ```

mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use rdkafka::Message;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError as ConsumerError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::signal::ctrl_c;
use tokio::task::spawn_blocking;
use tokio_rdkafka::{
    BoxError, ClientConfig, ConsumedBatch, KafkaError, ProducerRecord, RDKafkaErrorCode,
    Transaction, TransactionalProducer, TransformOptions, consume_transform_produce,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long to wait for the cluster.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a question about the end of the input may take.
const TRY: Duration = Duration::from_secs(5);

/// `reconnect.backoff.max.ms` of both. After the loss of a broker librdkafka looks up the new
/// coordinator each time that it cannot connect to the old one. The consumer's default, librdkafka's
/// 10 s, delays this.
const BACKOFF: &str = "1000";

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
        Err(error) if is_fenced(&error) => {
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
    let consumer = Arc::new(consumer(&arguments)?);

    let stop = CancellationToken::new();
    let stopping = tokio::spawn(stop_when_done(
        stop.clone(),
        Arc::clone(&consumer),
        arguments.until_end.then(|| arguments.input.clone()),
    ));
    let options = TransformOptions::new()
        .max_records(arguments.batch_size)
        .max_wait(Duration::from_millis(arguments.batch_ms))
        .cancellation_token(stop.clone());
    let transform = async |batch: &ConsumedBatch<'_>, transaction: &Transaction<'_>| {
        for message in batch {
            let record = ProducerRecord::to(&arguments.output)
                .partition(message.partition())
                .key(message.key())
                .payload(message.payload().map(<[u8]>::to_ascii_uppercase));
            transaction.enqueue_detached(record).await?;
        }
        Ok::<_, KafkaError>(())
    };
    let result = consume_transform_produce(&consumer, &mut producer, options, transform).await;

    stop.cancel();
    stopping.await?;
    producer.close().await;
    // The last one leaves the group, which blocks.
    spawn_blocking(move || drop(consumer)).await?;
    Ok(result?)
}

/// Returns true if another process has taken over the transactional id or the static membership of
/// the group, which has the same name here. Also true if the transaction timed out.
fn is_fenced(error: &BoxError) -> bool {
    let error = error.downcast_ref::<KafkaError>();
    error.is_some_and(|error| {
        error.is_fenced() || error.code() == Some(RDKafkaErrorCode::FencedInstanceId)
    })
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
        .set("auto.offset.reset", "earliest");
    config.extend(arguments.consumer_properties.iter().cloned());
    let consumer: StreamConsumer = config.create()?;
    consumer.subscribe(&[&arguments.input])?;
    Ok(consumer)
}

/// Stops at Ctrl-C, and if there is an input, at its end.
async fn stop_when_done(
    stop: CancellationToken,
    consumer: Arc<StreamConsumer>,
    input: Option<String>,
) {
    let _stop = stop.clone().drop_guard();
    let is_done = async {
        let Some(input) = input else {
            return std::future::pending().await;
        };
        loop {
            let (consumer, input) = (Arc::clone(&consumer), input.clone());
            match spawn_blocking(move || is_at_end(&consumer, &input)).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => warn!(%error, "the end of the input is not known yet"),
                Err(_) => return,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = is_done => {}
        () = stop.cancelled() => {}
        // On an error this system has no such signal.
        Ok(()) = ctrl_c() => {}
    }
}

/// Returns true if the group has committed all of the topic. For inputs without transactions, whose
/// markers take offsets too.
fn is_at_end(consumer: &StreamConsumer, topic: &str) -> KafkaResult<bool> {
    let metadata = consumer.fetch_metadata(Some(topic), TRY)?;
    let count = metadata.topics()[0].partitions().len();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_range(topic, 0, count as i32 - 1);
    for committed in consumer.committed_offsets(partitions, TRY)?.elements() {
        let ends = consumer.fetch_watermarks(topic, committed.partition(), TRY)?;
        let is_consumed = match committed.offset() {
            Offset::Offset(offset) => offset >= ends.1,
            _ => ends.0 == ends.1,
        };
        if !is_consumed {
            return Ok(false);
        }
    }
    Ok(count > 0)
}
