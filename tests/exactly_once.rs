//! The `exactly_once` example on real Kafka, killed with `kill -9` again and again, and brokers with
//! it: in the end the output has each record of the input exactly once, in order per partition. The
//! example has to be built first, which `cargo test` without `--test` does by itself:
//!
//! ```sh
//! cargo build --features rdkafka --example exactly_once
//! tests/with-kafka cargo test --features rdkafka --test exactly_once -- --nocapture
//! ```
//!
//! Without a cluster (`KAFKA_BOOTSTRAP_SERVERS`) and `KAFKA_NODECTL` it shows as ignored. The moments
//! of the kills are random, by a seed that is printed. From the environment:
//!
//! | variable | default |
//! |---|---|
//! | `TOKIO_RDKAFKA_EXACTLY_ONCE_SEED` | the time |
//! | `TOKIO_RDKAFKA_EXACTLY_ONCE_RECORDS` | 20000 |
//! | `TOKIO_RDKAFKA_EXACTLY_ONCE_KILLS` | 3, of the process |
//! | `TOKIO_RDKAFKA_EXACTLY_ONCE_BROKER_KILLS` | 1 |

mod support;

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use futures::StreamExt;
use libtest_mimic::{Arguments, Trial};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use support::{Cluster, DEADLINE, Isolation};
use tokio::runtime::Runtime;
use tokio_rdkafka::{Producer, ProducerRecord};

/// How long a single question to the cluster may take.
const TRY: Duration = Duration::from_secs(5);

const NODES: [i32; 3] = [1, 2, 3];
const PARTITIONS: usize = 3;

/// The latest that a kill comes after the process was seen to work.
const LATEST: Duration = Duration::from_millis(1000);

/// Records of a transaction: few, so that there are many.
const BATCH: &str = "50";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trial = Trial::test("killed_it_writes_each_record_exactly_once", || {
        killed_it_writes_each_record_exactly_once();
        Ok(())
    });
    let trial = trial.with_ignored_flag(!Cluster::has_nodes_to_kill());
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

fn killed_it_writes_each_record_exactly_once() {
    let micros = UNIX_EPOCH.elapsed().expect("a time").as_micros() as u64;
    let mut random = Random::new(number("SEED", micros));
    let records = number("RECORDS", 20_000) as usize;
    let kills = number("KILLS", 3) as usize;
    let broker_kills = number("BROKER_KILLS", 1) as usize;
    let runtime = Runtime::new().expect("a runtime");
    let pipeline = Pipeline::new(&runtime);
    let producer = {
        let _inside = runtime.enter();
        pipeline.cluster.config().create().expect("a producer")
    };
    // A run before this one may have left one dead.
    NODES.iter().for_each(|node| Cluster::node("start", *node));

    // Each round has new records to work on, and twice as many rounds as are needed.
    let slice = (records / (2 * kills)).max(1);
    let mut written = 0;
    let write = |range: Range<usize>| runtime.block_on(pipeline.write(&producer, range));
    let (mut hits, mut broker_hits) = (0, 0);
    let mut dead = None;
    while hits < kills || broker_hits < broker_kills {
        assert!(written < records, "{hits} and {broker_hits} kills that hit");
        let upto = (written + slice).min(records);
        write(written..upto);
        written = upto;

        // Spread over the kills of the process.
        let kills_broker = broker_hits < broker_kills && hits * broker_kills >= broker_hits * kills;
        if kills_broker {
            if let Some(node) = dead.take() {
                pipeline.revive(node);
            }
        }
        let mut running = pipeline.start(&["--batch-size", BATCH]);
        pipeline.await_progress(&mut running);
        if kills_broker {
            thread::sleep(random.pause());
            let node = if env::var_os("EO_COORD").is_some() {
                let txn = pipeline.coordinator("__transaction_state", &pipeline.output);
                let group = pipeline.coordinator("__consumer_offsets", &pipeline.group);
                println!("coordinators: txn {txn}, group {group}");
                if env::var("EO_COORD").unwrap() == "group" { group } else { txn }
            } else { NODES[random.next() as usize % NODES.len()] };
            let killed_at = Instant::now();
            println!("KILL {node} at {:?}", UNIX_EPOCH.elapsed().unwrap());
            Cluster::node("kill", node);
            dead = Some(node);
            let done = pipeline.done();
            broker_hits += usize::from(done < written);
            // It goes on without that one.
            pipeline.await_commit(&mut running, done, written);
            println!("broker {node} killed: {done} of {written} were done; commit after {:?}", killed_at.elapsed());
        }
        thread::sleep(random.pause());
        let was_running = running.kill();
        let done = pipeline.done();
        hits += usize::from(was_running && done < written);
        println!("killed: {done} of {written} were done");
    }
    write(written..records);

    let mut running = pipeline.start(&["--until-end"]);
    if let Some(node) = dead {
        pipeline.revive(node);
    }
    let status = running.end();
    assert!(status.success(), "{status}");
    let ends = pipeline.seen(&runtime, &producer);
    for (partition, seen) in ends.iter().enumerate() {
        let expected = (partition..records).step_by(PARTITIONS);
        let first_wrong = seen
            .iter()
            .copied()
            .zip(expected.clone())
            .find(|(a, b)| a != b);
        assert_eq!(
            first_wrong, None,
            "seen and expected in partition {partition}"
        );
        assert_eq!(seen.len(), expected.len(), "in partition {partition}");
    }
    println!("{hits} kills, {broker_hits} of brokers: {records} records, each exactly once");
}

/// A number of the environment.
fn number(name: &str, default: u64) -> u64 {
    let name = format!("TOKIO_RDKAFKA_EXACTLY_ONCE_{name}");
    let number = match env::var(&name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text:?}")),
        Err(_) => default,
    };
    println!("{name}={number}");
    number
}

struct Random {
    seed: u64,
    number: u64,
}

impl Random {
    fn new(seed: u64) -> Self {
        Self { seed, number: 0 }
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, self.number).hash(&mut hasher);
        hasher.finish()
    }

    fn pause(&mut self) -> Duration {
        Duration::from_micros(self.next() % LATEST.as_micros() as u64)
    }
}

/// The example, with topics.
struct Pipeline {
    cluster: Cluster,
    input: String,
    output: String,
    group: String,
    program: PathBuf,
}

impl Pipeline {
    fn new(runtime: &Runtime) -> Self {
        let program = program();
        let cluster = Cluster::from_env();
        let create = || runtime.block_on(cluster.create_topic(PARTITIONS as i32, 3));
        let (input, output) = (create(), create());
        let mut s = Self {
            cluster,
            input,
            group: output.clone(),
            output,
            program,
        };
        runtime.block_on(async {
            let mut config = s.cluster.config();
            config.set("transactional.id", format!("{}-first", s.output));
            let mut first: tokio_rdkafka::TransactionalProducer = config.create().expect("a producer");
            first.init(DEADLINE).await.expect("a coordinator");
            first.close().await;
        });
        s.done();
        if env::var("EO_COORD").is_ok_and(|v| v == "both") {
            let txn = s.coordinator("__transaction_state", &s.output);
            s.group = (0..100).map(|n| format!("{}-{n}", s.output)).find(|g| s.coordinator("__consumer_offsets", g) == txn).unwrap_or(s.output.clone());
        }
        s
    }

    fn coordinator(&self, topic: &str, key: &str) -> i32 {
        let hash = key.bytes().fold(0i32, |h, b| h.wrapping_mul(31).wrapping_add(b as i32));
        self.cluster.leader(topic, (hash & 0x7fff_ffff) % 3)
    }

    /// Writes these records to the input, by turns to its partitions.
    async fn write(&self, producer: &Producer, numbers: Range<usize>) {
        let records = numbers.map(|number| {
            let record = ProducerRecord::to(&self.input).payload(format!("record {number}"));
            record.partition((number % PARTITIONS) as i32)
        });
        let mut results = producer.send_all(records);
        while let Some(result) = results.next().await {
            result.expect("a delivery");
        }
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let config = self.cluster.config();
        let brokers = config.get("bootstrap.servers").expect("brokers");
        let child = Command::new(&self.program)
            .args(["--brokers", brokers, "--input", &self.input])
            .args(["--output", &self.output, "--group", &self.group])
            .args(["--transactional-id", &self.output, "-X", "linger.ms=1"])
            .args(arguments)
            .args(env::var("EO_ARGS").unwrap_or_default().split_whitespace())
            .stdout(Stdio::null())
            .spawn();
        Running(child.expect("the example starts"))
    }

    /// Asks again while a broker that was killed fails it: a new reader each time, as an old one may
    /// keep to a coordinator that is dead.
    fn patiently<T>(&self, ask: impl Fn(&BaseConsumer) -> KafkaResult<T>) -> T {
        let config = self.cluster.config();
        let brokers = config.get("bootstrap.servers").expect("brokers");
        let started = Instant::now();
        loop {
            let reader = rdkafka::ClientConfig::new()
                .set("bootstrap.servers", brokers)
                .set("group.id", &self.group)
                // In the other isolation it would wait for the end of open transactions.
                .set("isolation.level", "read_uncommitted")
                .set("log_level", "3")
                .create()
                .expect("a consumer");
            match ask(&reader) {
                Ok(answer) => return answer,
                Err(error) => assert!(started.elapsed() < DEADLINE, "{error}"),
            }
        }
    }

    /// How many records are in the output's log, also aborted ones and markers: it only grows.
    fn in_log(&self) -> i64 {
        let end = |partition| {
            self.patiently(|reader| {
                let watermarks = reader.fetch_watermarks(&self.output, partition, TRY);
                watermarks.map(|(_, end)| end)
            })
        };
        (0..PARTITIONS as i32).map(end).sum()
    }

    /// How many records of the input are done with.
    fn done(&self) -> usize {
        let committed = self.patiently(|reader| {
            let mut asked = TopicPartitionList::new();
            asked.add_partition_range(&self.input, 0, PARTITIONS as i32 - 1);
            reader.committed_offsets(asked, TRY)
        });
        let elements = committed.elements();
        let offsets = elements
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some(offset as usize),
                _ => None,
            });
        offsets.sum()
    }

    /// Waits until it has written a record.
    fn await_progress(&self, running: &mut Running) {
        let (started, before) = (Instant::now(), self.in_log());
        while self.in_log() == before {
            assert!(started.elapsed() < DEADLINE, "nothing is written");
            running.assert_runs();
        }
    }

    /// Waits until it has committed more than these, where there is more to do; or has ended, as it
    /// may where the brokers were quicker to give the transaction up.
    fn await_commit(&self, running: &mut Running, done: usize, written: usize) {
        let started = Instant::now();
        while done < written && self.done() == done && !running.has_ended() {
            // The timeout of the transaction, that of its abort, and what the cluster takes.
            assert!(started.elapsed() < 3 * DEADLINE, "nothing is committed");
        }
    }

    /// Starts a node, and waits until it is a part of the whole again.
    fn revive(&self, node: i32) {
        Cluster::node("start", node);
        let started = Instant::now();
        for topic in [
            &self.input,
            &self.output,
            "__consumer_offsets",
            "__transaction_state",
        ] {
            while !self.cluster.is_whole_for(node, topic) {
                assert!(
                    started.elapsed() < DEADLINE,
                    "node {node} does not come back"
                );
                thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// The numbers of the records that a reader of the output sees, per partition.
    fn seen(&self, runtime: &Runtime, producer: &Producer) -> Vec<Vec<usize>> {
        let number = |text: &[u8]| {
            let text = std::str::from_utf8(text).expect("text");
            let number = text.strip_prefix("RECORD ").expect("a transformed record");
            number.parse().expect("a number")
        };
        let partitions = (0..PARTITIONS as i32).map(|partition| {
            let last = ProducerRecord::to(&self.output)
                .partition(partition)
                .payload("last");
            runtime.block_on(producer.send(last)).expect("a delivery");
            let read =
                self.cluster
                    .read_until(&self.output, partition, Isolation::Committed, |read| {
                        read.payload() == Some(b"last")
                    });
            let (_, records) = read.split_last().expect("the last one");
            let payloads = records
                .iter()
                .map(|read| read.payload().expect("a payload"));
            payloads.map(number).collect()
        });
        partitions.collect()
    }
}

/// The example's program, in the folder beside that of this test's.
fn program() -> PathBuf {
    let test = env::current_exe().expect("this program");
    let profile = test.ancestors().nth(2).expect("the profile's folder");
    let program = profile.join("examples/exactly_once");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/exactly_once.rs");
    let modified = |path| {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    assert!(
        modified(&program) >= modified(&source),
        "the example is not built, or an old one: cargo build --features rdkafka --example exactly_once"
    );
    program
}

/// A process of the example, killed at the latest when this is dropped.
struct Running(Child);

impl Running {
    fn assert_runs(&mut self) {
        let status = self.0.try_wait().expect("its status");
        assert!(status.is_none(), "it has ended by itself: {status:?}");
    }

    fn has_ended(&mut self) -> bool {
        let status = self.0.try_wait().expect("its status");
        if let Some(status) = status {
            println!("it has ended by itself: {status}");
        }
        status.is_some()
    }

    /// Returns whether it was running.
    fn kill(&mut self) -> bool {
        self.0.kill().expect("a kill");
        let status = self.0.wait().expect("its status");
        status.signal() == Some(9)
    }

    /// Waits for its end.
    fn end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("its status") {
                return status;
            }
            assert!(started.elapsed() < 4 * DEADLINE, "it does not end");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
