//! The `exactly_once` example, killed with `kill -9` again and again, and brokers with it: in the
//! end the output has each record of the input exactly once, in order per partition. So it has
//! where a second process takes over from one that is alive.
//!
//! Every other broker that is killed, from the first on, is the coordinator of the transactions;
//! for the first, the group is chosen so that it has the same one. The others are killed at random.
//!
//! The moments of the kills are random, by a seed that is printed. From the environment:
//!
//! | variable | default |
//! |---|---|
//! | `TOKIO_RDKAFKA_EXACTLY_ONCE_SEED` | the time |
//! | `TOKIO_RDKAFKA_EXACTLY_ONCE_RECORDS` | 20000 |
//! | `TOKIO_RDKAFKA_EXACTLY_ONCE_KILLS` | 3, of the process |
//! | `TOKIO_RDKAFKA_EXACTLY_ONCE_BROKER_KILLS` | 1 |

use std::env;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use futures::StreamExt;
use libtest_mimic::Trial;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;
use tokio_rdkafka::{Producer, ProducerRecord, TransactionalProducer};

use crate::support::example::{Random, Running, program};
use crate::support::kafka::{Cluster, DEADLINE, Isolation};
use crate::support::trials::Module;

/// How long it may take until something is written, or committed. A node that is dead is given up
/// after 4 s (`tests/with-kafka`). If librdkafka waits for the group's coordinator on that node, it asks
/// for the next one when a connection opens, after 3 s, or is closed because it was idle, for 30 s.
/// Below `transaction.timeout.ms`: nothing waits until a transaction times out.
const LIMIT: Duration = Duration::from_secs(55);

/// How long a single question to the cluster may take.
const TRY: Duration = Duration::from_secs(5);

const NODES: [i32; 3] = [1, 2, 3];
const PARTITIONS: usize = 3;

/// The latest that a kill comes after the process was seen to work.
const LATEST: Duration = Duration::from_millis(1000);

/// Records of a transaction: few, so that there are many.
const BATCH: &str = "50";

pub fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 4] = [
        (
            "killed_it_writes_each_record_exactly_once",
            killed_it_writes_each_record_exactly_once,
        ),
        (
            "fenced_it_ends_and_each_record_is_written_exactly_once",
            fenced_it_ends_and_each_record_is_written_exactly_once,
        ),
        ("fenced_when_idle_it_ends_too", fenced_when_idle_it_ends_too),
        (
            "interrupted_it_ends_at_once_and_the_next_goes_on",
            interrupted_it_ends_at_once_and_the_next_goes_on,
        ),
    ];
    trials
        .map(|(name, test)| Module("exactly_once").blocking_trial_alone(name, move |_| test()))
        .into()
}

fn killed_it_writes_each_record_exactly_once() {
    let micros = UNIX_EPOCH.elapsed().expect("a time").as_micros() as u64;
    let mut random = Random::new(number("SEED", micros));
    let records = number("RECORDS", 20_000) as usize;
    let kills = number("KILLS", 3) as usize;
    let broker_kills = number("BROKER_KILLS", 1) as usize;
    // A run before this one may have left one dead.
    NODES.iter().for_each(|node| Cluster::node("start", *node));
    let pipeline = Pipeline::new();

    // Each round has new records to work on, and twice as many rounds as are needed.
    let slice = (records / (2 * kills)).max(1);
    let mut written = 0;
    let (mut hits, mut broker_hits, mut broker_tries) = (0, 0, 0);
    let mut dead = None;
    while hits < kills || broker_hits < broker_kills {
        assert!(written < records, "{hits} and {broker_hits} kills that hit");
        let upto = (written + slice).min(records);
        pipeline.write(written..upto);
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
            thread::sleep(random.pause(LATEST));
            let node = match broker_tries % 2 {
                0 => pipeline.transaction_coordinator(),
                _ => NODES[random.next() as usize % NODES.len()],
            };
            broker_tries += 1;
            let coordinator = pipeline.group_coordinator(&pipeline.group);
            let which = if node == coordinator {
                ", which coordinates the group"
            } else {
                ""
            };
            Cluster::node("kill", node);
            let killed = Instant::now();
            dead = Some(node);
            let done = pipeline.done();
            broker_hits += usize::from(done < written);
            // It goes on without that one.
            pipeline.await_commit(&mut running, done, written);
            let took = killed.elapsed();
            println!(
                "broker {node} killed{which}: {done} of {written} were done, more {took:.1?} later"
            );
        }
        thread::sleep(random.pause(LATEST));
        let was_running = running.kill();
        let done = pipeline.done();
        hits += usize::from(was_running && done < written);
        println!("killed: {done} of {written} were done");
    }
    pipeline.write(written..records);

    let mut running = pipeline.start(&["--until-end"]);
    if let Some(node) = dead {
        pipeline.revive(node);
    }
    pipeline.await_end(&mut running);
    pipeline.assert_each_once(records);
    println!("{hits} kills, {broker_hits} of brokers: {records} records, each exactly once");
}

fn fenced_it_ends_and_each_record_is_written_exactly_once() {
    fenced(false);
}

/// Then it is the consumer that hears of it.
fn fenced_when_idle_it_ends_too() {
    fenced(true);
}

fn fenced(is_idle: bool) {
    const RECORDS: usize = 3000;
    let pipeline = Pipeline::new();
    pipeline.write(0..RECORDS);
    let mut first = pipeline.start(&["--batch-size", BATCH]);
    pipeline.await_progress(&mut first);
    if is_idle {
        pipeline.await_all(&mut first, RECORDS);
    }
    let mut second = pipeline.start(&["--until-end"]);
    pipeline.await_end(&mut second);
    let started = Instant::now();
    let (status, said) = loop {
        if let Some(ended) = first.ended() {
            break ended;
        }
        assert!(started.elapsed() < LIMIT, "the first goes on");
        thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(status.code(), Some(1));
    let last = said.last().expect("a word");
    assert!(last.starts_with("fenced, "), "{last}");
    pipeline.assert_each_once(RECORDS);
}

/// By Ctrl-C, at work.
fn interrupted_it_ends_at_once_and_the_next_goes_on() {
    const RECORDS: usize = 3000;
    const ROUNDS: usize = 3;
    let pipeline = Pipeline::new();
    for round in 0..ROUNDS {
        let part = |round| RECORDS * round / ROUNDS;
        pipeline.write(part(round)..part(round + 1));
        let mut running = pipeline.start(&["--batch-size", BATCH]);
        pipeline.await_progress(&mut running);
        running.interrupt();
        let started = Instant::now();
        assert!(running.wait().success());
        let took = started.elapsed();
        assert!(took < LIMIT / 4, "{took:?}");
    }
    let mut last = pipeline.start(&["--until-end"]);
    pipeline.await_end(&mut last);
    pipeline.assert_each_once(RECORDS);
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

/// The example, with topics.
struct Pipeline {
    cluster: Cluster,
    input: String,
    output: String,
    /// Of the consumers; that of the transactions is the output's name.
    group: String,
    program: PathBuf,
    producer: Producer,
    runtime: Runtime,
}

impl Pipeline {
    fn new() -> Self {
        let program = program("exactly_once", "rdkafka");
        let cluster = Cluster::from_env();
        let runtime = Runtime::new().expect("a runtime");
        let create = || runtime.block_on(cluster.create_topic(PARTITIONS as i32, 3));
        let (input, output) = (create(), create());
        let producer = {
            let _inside = runtime.enter();
            cluster.config().create().expect("a producer")
        };
        let mut pipeline = Self {
            cluster,
            input,
            group: output.clone(),
            output,
            program,
            producer,
            runtime,
        };
        pipeline.choose_group();
        pipeline
    }

    /// Chooses a group that has its coordinator where the transactions have theirs, if there is
    /// one.
    fn choose_group(&mut self) {
        // Both topics come into being when they are asked for a coordinator.
        let mut config = self.cluster.config();
        config.set("transactional.id", &self.output);
        self.runtime.block_on(async {
            let mut first: TransactionalProducer = config.create().expect("a producer");
            first.init(DEADLINE).await.expect("a coordinator");
            first.close().await;
        });
        self.done();
        let wanted = self.transaction_coordinator();
        let mut groups = (0..100).map(|number| format!("{}-{number}", self.output));
        if let Some(group) = groups.find(|group| self.group_coordinator(group) == wanted) {
            self.group = group;
        }
    }

    fn transaction_coordinator(&self) -> i32 {
        self.cluster
            .coordinator("__transaction_state", &self.output)
    }

    fn group_coordinator(&self, group: &str) -> i32 {
        self.cluster.coordinator("__consumer_offsets", group)
    }

    /// Writes these records to the input, by turns to its partitions.
    fn write(&self, numbers: Range<usize>) {
        let records = numbers.map(|number| {
            let record = ProducerRecord::to(&self.input).payload(format!("record {number}"));
            record.partition((number % PARTITIONS) as i32)
        });
        self.runtime.block_on(async {
            let mut results = self.producer.send_all(records);
            while let Some(result) = results.next().await {
                result.expect("a delivery");
            }
        });
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let config = self.cluster.config();
        let brokers = config.get("bootstrap.servers").expect("brokers");
        let mut command = Command::new(&self.program);
        command
            .args(["--brokers", brokers, "--input", &self.input])
            .args(["--output", &self.output, "--group", &self.group])
            .args(["--transactional-id", &self.output, "-X", "linger.ms=1"])
            .args(arguments);
        Running::start_piped(&mut command)
    }

    /// Asks again while a broker that was killed fails it: a new reader each time, as an old one
    /// may keep to a coordinator that is dead.
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
                Err(error) => assert!(started.elapsed() < LIMIT, "{error}"),
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
            assert!(started.elapsed() < LIMIT, "nothing is written");
            running.assert_runs();
        }
    }

    /// Waits until it has committed more than these, where there is more to do; or has had a fatal
    /// error, and ended.
    fn await_commit(&self, running: &mut Running, done: usize, written: usize) {
        let started = Instant::now();
        while done < written && self.done() == done {
            if let Some((status, said)) = running.ended() {
                println!("it has ended by itself: {status}, {said:?}");
                let last = said.last().expect("a word");
                assert!(!status.success() && last.contains("fatal: "), "{last}");
                return;
            }
            assert!(started.elapsed() < LIMIT, "nothing is committed");
        }
    }

    /// Waits until it has committed all of them.
    fn await_all(&self, running: &mut Running, written: usize) {
        let mut done = self.done();
        while done < written {
            self.await_commit(running, done, written);
            running.assert_runs();
            done = self.done();
        }
    }

    /// Waits until it has done all there is, and has ended.
    fn await_end(&self, running: &mut Running) {
        let (mut done, mut since) = (self.done(), Instant::now());
        let status = loop {
            if let Some((status, _)) = running.ended() {
                break status;
            }
            let before = std::mem::replace(&mut done, self.done());
            if done > before {
                since = Instant::now();
            }
            assert!(since.elapsed() < LIMIT, "it neither commits nor ends");
        };
        assert!(status.success(), "{status}");
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

    fn assert_each_once(&self, records: usize) {
        for (partition, seen) in self.seen().iter().enumerate() {
            let expected = (partition..records).step_by(PARTITIONS);
            let mut both = seen.iter().copied().zip(expected.clone());
            let first_wrong = both.find(|(seen, expected)| seen != expected);
            assert_eq!(
                first_wrong, None,
                "seen and expected in partition {partition}"
            );
            assert_eq!(seen.len(), expected.len(), "in partition {partition}");
        }
    }

    /// The numbers of the records that a reader of the output sees, per partition.
    fn seen(&self) -> Vec<Vec<usize>> {
        let number = |text: &[u8]| {
            let text = std::str::from_utf8(text).expect("text");
            let number = text.strip_prefix("RECORD ").expect("a transformed record");
            number.parse().expect("a number")
        };
        let partitions = (0..PARTITIONS as i32).map(|partition| {
            let last = ProducerRecord::to(&self.output)
                .partition(partition)
                .payload("last");
            let sent = self.runtime.block_on(self.producer.send(last));
            sent.expect("a delivery");
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
