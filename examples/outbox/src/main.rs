//! The outbox pattern: sends the rows of an SQLite table to Kafka and marks those that are
//! delivered.
//!
//! A service writes its messages into the table, in the database transaction of the change itself.
//! This program sends each row and marks it after its delivery. At the next start it sends the rows
//! that are not marked. So each row is delivered at least once, even if the program is killed.
//!
//! If a row is sent again, Kafka sees a new record, even with `enable.idempotence`. The row's id is
//! in the key and in a header, so that consumers can recognise duplicates.
//!
//! ```sh
//! cargo run -p outbox                  # generated rows, on a mock cluster
//! cargo run -p outbox -- --brokers localhost:9092 --database shop.db
//! ```

#[path = "../../common/mod.rs"]
mod common;

use std::collections::HashSet;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use rusqlite::Connection;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio_rdkafka::{BoxError, ClientConfig, MockCluster, ProduceExt, Producer, ProducerRecord};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- ids are never reused
        payload TEXT NOT NULL,
        is_delivered INTEGER NOT NULL DEFAULT FALSE
    );
    CREATE INDEX IF NOT EXISTS undelivered ON outbox (id) WHERE NOT is_delivered;
";

/// The record's header with the row's id.
const ID_HEADER: &str = "outbox-id";

/// The number of rows that one query reads.
const PAGE: u32 = 1_000;

/// The largest number of rows that one transaction marks.
const BATCH: usize = 1_000;

const DEMO_ROWS: usize = 10_000;

#[derive(Debug, Parser)]
#[command(about = "Sends the rows of an SQLite table to Kafka and marks the delivered ones.")]
struct Arguments {
    /// The cluster, as host:port,…; by default a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "demo")]
    topic: String,
    /// The database; by default one in memory with generated rows
    #[arg(long, value_name = "PATH")]
    database: Option<PathBuf>,
    /// The largest number of rows in flight
    #[arg(long, default_value_t = 10_000)]
    max_in_flight: usize,
    /// A configuration property of librdkafka (CONFIGURATION.md); may be repeated
    #[arg(short = 'X', value_name = "PROPERTY=VALUE", value_parser = common::property)]
    properties: Vec<(String, String)>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    common::log_to_stderr();
    let arguments = Arguments::parse();
    let is_demo = arguments.database.is_none();
    let outbox = Outbox::open(arguments.database).await?;
    if is_demo {
        outbox.generate(DEMO_ROWS).await?;
    }
    // Kept until the end of `main`: dropping the mock cluster stops its brokers.
    let (brokers, mock) = common::brokers(arguments.brokers, &arguments.topic)?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true");
    config.extend(arguments.properties);
    let producer: Producer = config.create()?;

    let summary = relay(
        &outbox,
        &producer,
        &arguments.topic,
        arguments.max_in_flight,
    )
    .await;
    producer.close_timeout(Duration::from_secs(30)).await;
    let Summary { delivered, failed } = summary?;
    println!("{delivered} rows delivered and marked, {failed} failed");
    if is_demo {
        check(&outbox, mock.as_ref(), &arguments.topic).await?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[derive(Default)]
struct Summary {
    delivered: usize,
    failed: usize,
}

/// Sends all rows that are not marked. Marks those that are delivered.
async fn relay(
    outbox: &Outbox,
    producer: &Producer,
    topic: &str,
    max_in_flight: usize,
) -> Result<Summary, BoxError> {
    let topic = producer.topic(topic)?;
    let records = outbox.undelivered().map(|row| match row {
        Ok(Row { id, payload }) => {
            let key = id.to_string();
            let record = ProducerRecord::to(&topic)
                .header(ID_HEADER, &key)
                .key(key)
                .payload(payload);
            (Ok(id), Some(record))
        }
        // The read failed. The error comes after the results of the rows before it.
        Err(error) => (Err(error), None),
    });
    // Each batch has the results that are ready: few rows if deliveries are slow.
    let mut batches = pin!(
        records
            .produce(producer)
            .max_in_flight(max_in_flight)
            .ready_chunks(BATCH)
    );

    let mut summary = Summary::default();
    while let Some(batch) = batches.next().await {
        let mut delivered = Vec::with_capacity(batch.len());
        let mut end = None;
        for (id, result) in batch {
            match (id, result) {
                (Ok(id), Ok(_)) => delivered.push(id),
                (Ok(id), Err(error)) => {
                    summary.failed += 1;
                    eprintln!("row {id}: {error}");
                    // After a fatal error no later row can be delivered.
                    if error.error().is_fatal() {
                        end = Some(error.into());
                    }
                }
                (Err(error), _) => end = Some(error),
            }
        }
        summary.delivered += delivered.len();
        outbox.mark(delivered).await?;
        if let Some(error) = end {
            return Err(error);
        }
    }
    Ok(summary)
}

struct Row {
    id: i64,
    payload: Vec<u8>,
}

/// The table. SQLite blocks, so each call runs on tokio's blocking pool.
struct Outbox(Arc<Mutex<Connection>>);

impl Outbox {
    async fn open(path: Option<PathBuf>) -> Result<Self, BoxError> {
        let database = spawn_blocking(|| match path {
            Some(path) => Connection::open(path),
            None => Connection::open_in_memory(),
        });
        let outbox = Self(Arc::new(Mutex::new(database.await??)));
        outbox
            .call(|database| database.execute_batch(SCHEMA))
            .await?;
        Ok(outbox)
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, BoxError> {
        let database = Arc::clone(&self.0);
        Ok(spawn_blocking(move || work(&mut database.blocking_lock())).await??)
    }

    /// Returns the rows that are not marked, in the order of their ids. It reads them in pages, so
    /// that no query stays open while Kafka accepts the rows.
    fn undelivered(&self) -> impl Stream<Item = Result<Row, BoxError>> {
        stream::try_unfold(i64::MIN, move |last| async move {
            let page = self.page_behind(last).await?;
            let last = page.last().map(|row| row.id);
            Ok::<_, BoxError>(last.map(|last| (stream::iter(page).map(Ok), last)))
        })
        .try_flatten()
    }

    async fn page_behind(&self, last: i64) -> Result<Vec<Row>, BoxError> {
        self.call(move |database| {
            database
                .prepare(
                    "SELECT id, payload FROM outbox WHERE NOT is_delivered AND id > ?1
                     ORDER BY id LIMIT ?2",
                )?
                .query_map((last, PAGE), |row| {
                    Ok(Row {
                        id: row.get(0)?,
                        payload: row.get_ref(1)?.as_bytes()?.to_vec(),
                    })
                })?
                .collect()
        })
        .await
    }

    /// Marks the rows in one transaction.
    async fn mark(&self, ids: Vec<i64>) -> Result<(), BoxError> {
        self.call(move |database| {
            let transaction = database.transaction()?;
            let mut mark =
                transaction.prepare("UPDATE outbox SET is_delivered = TRUE WHERE id = ?1")?;
            for id in ids {
                mark.execute([id])?;
            }
            drop(mark);
            transaction.commit()
        })
        .await
    }

    async fn generate(&self, rows: usize) -> Result<(), BoxError> {
        self.call(move |database| {
            let transaction = database.transaction()?;
            let mut insert = transaction.prepare("INSERT INTO outbox (payload) VALUES (?1)")?;
            for number in 1..=rows {
                insert.execute([format!("order {number}")])?;
            }
            drop(insert);
            transaction.commit()
        })
        .await
    }

    async fn count_undelivered(&self) -> Result<u32, BoxError> {
        self.call(|database| {
            let count = "SELECT count(*) FROM outbox WHERE NOT is_delivered";
            database.query_row(count, [], |row| row.get(0))
        })
        .await
    }
}

/// Checks that all generated rows are marked and in the topic.
async fn check(outbox: &Outbox, mock: Option<&MockCluster>, topic: &str) -> Result<(), BoxError> {
    let unmarked = outbox.count_undelivered().await?;
    if unmarked > 0 {
        return Err(format!("{unmarked} rows are not marked").into());
    }
    if let Some(mock) = mock {
        let records = mock.records(topic).await?;
        let ids: HashSet<_> = records.iter().map(|record| record.key()).collect();
        if ids.len() != DEMO_ROWS {
            return Err(format!("{} rows of {DEMO_ROWS} are in the topic", ids.len()).into());
        }
    }
    Ok(())
}
