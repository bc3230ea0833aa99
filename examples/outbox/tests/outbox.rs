//! The program, killed with `kill -9` again and again: no row is marked that is not in Kafka, and in
//! the end all are there. The moments of the kills are random, by a seed that is printed;
//! `TOKIO_RDKAFKA_OUTBOX_SEED` sets it. Without a cluster the tests show as ignored:
//!
//! ```sh
//! tests/with-kafka cargo test -p outbox
//! ```

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use libtest_mimic::{Arguments, Trial};
use rdkafka::message::{Headers as _, Message as _};
use rusqlite::Connection;

use support::example::{Random, Running};
use support::kafka::{Cluster, DEADLINE, Read};
use support::trials::Module;

/// What the tests of the library share.
#[allow(dead_code)] // A part of it is used here.
#[path = "../../../tests/support"]
mod support {
    pub mod example;
    pub mod kafka;
    pub mod trials;
}

const PARTITIONS: i32 = 3;
const ROWS: i64 = 20_000;

/// How many kills have to hit: the process was running, and had marked rows, but not all.
const KILLS: u64 = 10;

/// The latest that a kill comes after the first record of a run.
const LATEST: Duration = Duration::from_millis(500);

/// Some 1500 rows a second, and always some whose deliveries are not known yet.
const THROTTLE: [&str; 4] = ["--max-in-flight", "100", "-X", "linger.ms=50"];

fn main() -> ExitCode {
    let trials = vec![
        trial(
            "killed_it_marks_no_row_that_is_not_in_kafka",
            killed_it_marks_no_row_that_is_not_in_kafka,
        ),
        trial(
            "a_row_that_fails_is_not_marked",
            a_row_that_fails_is_not_marked,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, test: fn()) -> Trial {
    Module("outbox").blocking_trial(name, move |_| test())
}

fn killed_it_marks_no_row_that_is_not_in_kafka() {
    let outbox = Outbox::new();
    outbox.insert((1..=ROWS).map(payload));

    let seed = seed();
    println!("TOKIO_RDKAFKA_OUTBOX_SEED={seed}");
    let mut random = Random::new(seed);
    let mut hits = 0;
    for _ in 0..3 * KILLS {
        if hits == KILLS {
            break;
        }
        let marked_before = outbox.marked().len();
        let mut running = outbox.start(&THROTTLE);
        outbox.await_a_record(&mut running);
        let pause = random.pause(LATEST);
        thread::sleep(pause);
        let was_running = running.kill();

        let marked = outbox.marked();
        let copies = outbox.copies();
        let lost: Vec<_> = marked
            .iter()
            .filter(|id| !copies.contains_key(id))
            .collect();
        println!(
            "killed {pause:.0?} after the first record: {} rows marked, {} in Kafka, {} of them more than once",
            marked.len(),
            copies.len(),
            more_than_once(&copies),
        );
        assert!(lost.is_empty(), "marked and not in Kafka: rows {lost:?}");
        let is_midway = marked_before < marked.len() && marked.len() < ROWS as usize;
        hits += u64::from(was_running && is_midway);
    }
    assert_eq!(hits, KILLS, "kills that hit a process midway");

    assert!(outbox.run().success());
    let copies = outbox.copies();
    println!(
        "in the end: {} rows in Kafka, {} of them more than once",
        copies.len(),
        more_than_once(&copies)
    );
    let all: Vec<_> = (1..=ROWS).collect();
    assert_eq!(outbox.marked(), all);
    assert!(copies.into_keys().eq(all), "every row is in Kafka");
    outbox.remove();
}

fn a_row_that_fails_is_not_marked() {
    let outbox = Outbox::new();
    let too_large = "x".repeat(2_000_000);
    outbox.insert([payload(1), too_large, payload(3)]);
    assert_eq!(outbox.run().code(), Some(1));
    assert_eq!(outbox.marked(), [1, 3]);
    assert!(outbox.copies().into_keys().eq([1, 3]));
    outbox.remove();
}

fn seed() -> u64 {
    match env::var("TOKIO_RDKAFKA_OUTBOX_SEED") {
        Ok(seed) => seed.parse().expect("a number as the seed"),
        Err(_) => UNIX_EPOCH.elapsed().expect("a time").as_micros() as u64,
    }
}

/// How often each row is in Kafka.
type Copies = BTreeMap<i64, usize>;

fn more_than_once(copies: &Copies) -> usize {
    copies.values().filter(|copies| **copies > 1).count()
}

/// The program, with a database and a topic.
struct Outbox {
    cluster: Cluster,
    topic: String,
    database: PathBuf,
}

impl Outbox {
    fn new() -> Self {
        let cluster = Cluster::from_env();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let topic = runtime.block_on(cluster.create_topic(PARTITIONS, 3));
        let database = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{topic}.db"));
        // Of a run that failed.
        _ = fs::remove_file(&database);
        Self {
            cluster,
            topic,
            database,
        }
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let config = self.cluster.config();
        let brokers = config.get("bootstrap.servers").expect("brokers");
        let mut command = Command::new(env!("CARGO_BIN_EXE_outbox"));
        command
            .args(["--brokers", brokers, "--topic", &self.topic, "--database"])
            .arg(&self.database)
            .args(arguments);
        Running::start(&mut command)
    }

    /// Runs it to its end.
    fn run(&self) -> ExitStatus {
        self.start(&[]).wait()
    }

    /// Waits until a record is in Kafka that was not there when this was called.
    fn await_a_record(&self, running: &mut Running) {
        let end = || -> i64 {
            let ends = (0..PARTITIONS).map(|partition| self.cluster.end(&self.topic, partition));
            ends.sum()
        };
        let (started, before) = (Instant::now(), end());
        while end() == before {
            assert!(started.elapsed() < DEADLINE, "nothing is produced");
            running.assert_runs();
        }
    }

    /// Makes new rows, with ids from 1 on.
    fn insert(&self, payloads: impl IntoIterator<Item = String>) {
        // The first run makes the table.
        assert!(self.run().success());
        let mut database = self.open();
        let transaction = database.transaction().expect("a transaction");
        for payload in payloads {
            let insert = "INSERT INTO outbox (payload) VALUES (?1)";
            transaction.execute(insert, [payload]).expect("a new row");
        }
        transaction.commit().expect("rows");
    }

    /// The rows that are marked, in order.
    fn marked(&self) -> Vec<i64> {
        let database = self.open();
        let mut statement = database
            .prepare("SELECT id FROM outbox WHERE is_delivered ORDER BY id")
            .expect("a statement");
        let ids = statement.query_map([], |row| row.get(0)).expect("rows");
        ids.map(|id| id.expect("an id")).collect()
    }

    fn open(&self) -> Connection {
        Connection::open(&self.database).expect("the database")
    }

    fn remove(&self) {
        fs::remove_file(&self.database).expect("the database is removed");
    }

    /// What is in Kafka at this time.
    fn copies(&self) -> Copies {
        let mut copies = Copies::new();
        for partition in 0..PARTITIONS {
            for message in self.cluster.read_all(&self.topic, partition) {
                *copies.entry(id(&message)).or_default() += 1;
            }
        }
        copies
    }
}

fn payload(id: i64) -> String {
    format!("row {id}")
}

/// The id of the row, if the record is as it should be.
fn id(message: &Read) -> i64 {
    let key = message.key().expect("a key");
    let id = std::str::from_utf8(key).expect("a key of text");
    let id = id.parse().expect("a key that is a number");
    assert_eq!(message.payload(), Some(payload(id).as_bytes()));
    let header = message.headers().expect("headers").get(0);
    assert_eq!((header.key, header.value), ("outbox-id", Some(key)));
    id
}
