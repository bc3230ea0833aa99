//! What is left of the guarantees while nodes of real Apache Kafka die, one after the other:
//! `tests/with-kafka cargo test --features full --test kafka chaos::`.
//!
//! Under load from several tasks a node is killed (`kill -9`) and started again; the next one
//! follows when every partition's in-sync set is whole and records are being delivered again. Each
//! trial goes on for half of `TOKIO_RDKAFKA_CHAOS_SECONDS` (60 by default), and then until the
//! round that has begun is over. Everything is read back by rdkafka's consumer.
//!
//! Two producers share the load. The patient one has time for every outage. The impatient one gives
//! records up after `message.timeout.ms` of about a second, so that there are failures to look at.
//!
//! | | both trials | idempotent trial |
//! |---|---|---|
//! | reported as delivered | in the log, at the offset that was reported, if one was | the patient one's exactly once |
//! | failed | the record came back as given; if reported as persisted it is in the log | |
//! | the log | nothing that nobody sent | of the patient one: nothing twice, each task's records in order |
//!
//! Duplicates of the impatient idempotent producer are counted only: where it gives up a record
//! that may have left a gap in the sequence, librdkafka goes on with a new epoch, and what was
//! written without an answer before is sent again under it. The broker cannot know it again.

use std::collections::VecDeque;
use std::env;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rdkafka::message::Message as _;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time;
use tokio_rdkafka::{ClientConfig, Delivery, Persistence, Producer, ProducerRecord, SendError};

use crate::support::kafka::{Cluster, DEADLINE, Read};
use crate::support::trials::{Module, many_threads};

const NODES: [i32; 3] = [1, 2, 3];
const PARTITIONS: i32 = 6;
const TASKS: usize = 4;

/// How many records a task has in flight. Together the tasks want more than the queue takes, so
/// that it is full and they wait for capacity, in an outage for all of it.
const WINDOW: usize = 100;

/// What must have been delivered between two kills: the load has come back.
const RECOVERED: usize = 5_000;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "killed_nodes_lose_nothing_and_idempotence_duplicates_nothing",
            true,
        ),
        trial("killed_nodes_lose_nothing_without_idempotence", false),
    ]
}

fn trial(name: &'static str, is_idempotent: bool) -> Trial {
    Module("chaos").trial_alone(many_threads, name, move |cluster| {
        survive(cluster, name, is_idempotent)
    })
}

/// How long each trial kills nodes.
fn length() -> Duration {
    let seconds = match env::var("TOKIO_RDKAFKA_CHAOS_SECONDS") {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("TOKIO_RDKAFKA_CHAOS_SECONDS={text:?} is no number")),
        Err(env::VarError::NotPresent) => 60,
        Err(error) => panic!("TOKIO_RDKAFKA_CHAOS_SECONDS: {error}"),
    };
    Duration::from_secs(seconds) / 2
}

async fn survive(cluster: Cluster, name: &str, is_idempotent: bool) {
    let cluster = Arc::new(cluster);
    // A trial that failed may have left one dead.
    for node in NODES {
        start(node).await;
    }
    let patient = Load::new(&cluster, "patient", patient(&cluster, is_idempotent)).await;
    let impatient = Load::new(&cluster, "impatient", impatient(&cluster, is_idempotent)).await;
    let loads = [patient, impatient];
    let mut running = Vec::new();
    for load in &loads {
        running.push(load.spawn());
    }

    let kills = kill_one_after_the_other(&cluster, &loads, length()).await;

    println!("{name}: {kills} kills");
    let mut verdicts = Vec::new();
    for (load, tasks) in loads.iter().zip(running) {
        let records = load.stop(tasks).await;
        let verdict = judge(&cluster, load, records).await;
        println!("  {:<9} {verdict}", load.name);
        verdicts.push(verdict);
    }
    let [patient, impatient] = verdicts.try_into().expect("two loads");
    patient.assert_nothing_is_lost("patient");
    impatient.assert_nothing_is_lost("impatient");
    if is_idempotent {
        patient.assert_nothing_is_doubled("patient");
        patient.assert_order("patient");
    }
}

fn patient(cluster: &Cluster, is_idempotent: bool) -> ClientConfig {
    let mut config = common(cluster, is_idempotent);
    config
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "200")
        .set("message.timeout.ms", "60000");
    config
}

fn impatient(cluster: &Cluster, is_idempotent: bool) -> ClientConfig {
    let mut config = common(cluster, is_idempotent);
    config
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "200")
        .set("message.timeout.ms", "1000");
    config
}

fn common(cluster: &Cluster, is_idempotent: bool) -> ClientConfig {
    let mut config = cluster.config();
    config
        .set("acks", "all")
        .set("enable.idempotence", is_idempotent.to_string())
        // By default back-offs grow to ten seconds, longer than any node is away.
        .set("reconnect.backoff.max.ms", "500")
        .set("log_level", "2");
    config
}

/// A producer with a topic of its own and the tasks that send to it.
struct Load {
    name: &'static str,
    topic: String,
    producer: Producer,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    /// The number of the next record.
    next: AtomicUsize,
    resolved: AtomicUsize,
    delivered: AtomicUsize,
    is_over: AtomicBool,
}

/// What its future said of a record.
enum Fate {
    Delivered(Delivery),
    Failed(Persistence),
}

/// The records of one task, in the order in which they were enqueued.
type Sent = Vec<(usize, Fate)>;

impl Load {
    async fn new(cluster: &Cluster, name: &'static str, config: ClientConfig) -> Self {
        Self {
            name,
            topic: cluster.create_topic(PARTITIONS, 3).await,
            producer: config.create().expect("a producer"),
            progress: Arc::default(),
        }
    }

    fn spawn(&self) -> JoinSet<Sent> {
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            tasks.spawn(send(
                self.producer.clone(),
                self.topic.clone(),
                Arc::clone(&self.progress),
            ));
        }
        tasks
    }

    fn delivered(&self) -> usize {
        self.progress.delivered.load(Ordering::Relaxed)
    }

    /// Ends the load when every future has resolved.
    async fn stop(&self, tasks: JoinSet<Sent>) -> Vec<Sent> {
        self.progress.is_over.store(true, Ordering::Relaxed);
        let Ok(sent) = time::timeout(DEADLINE, tasks.join_all()).await else {
            panic!(
                "{}: of {} futures {} have resolved",
                self.name,
                self.progress.next.load(Ordering::Relaxed),
                self.progress.resolved.load(Ordering::Relaxed),
            );
        };
        assert_eq!(self.producer.in_flight_count(), 0, "{}", self.name);
        let report = time::timeout(DEADLINE, self.producer.close()).await;
        let report = report.unwrap_or_else(|_| panic!("{} does not close", self.name));
        assert_eq!((report.failed, report.undelivered), (0, 0), "{report:?}");
        sent
    }
}

fn payload(number: usize) -> String {
    format!("{number:0>100}")
}

/// One task: as many records as there is capacity for, until the load is over.
async fn send(producer: Producer, topic: String, progress: Arc<Progress>) -> Sent {
    let mut sent = Sent::new();
    let mut window = VecDeque::with_capacity(WINDOW);
    loop {
        let is_over = progress.is_over.load(Ordering::Relaxed);
        if is_over || window.len() == WINDOW {
            let Some((number, future)) = window.pop_front() else {
                return sent;
            };
            let fate = fate(&topic, number, future.await);
            progress.resolved.fetch_add(1, Ordering::Relaxed);
            if matches!(fate, Fate::Delivered(_)) {
                progress.delivered.fetch_add(1, Ordering::Relaxed);
            }
            sent.push((number, fate));
        } else {
            let number = progress.next.fetch_add(1, Ordering::Relaxed);
            let record = ProducerRecord::to(&topic)
                .key(number.to_string())
                .payload(payload(number));
            let future = producer.enqueue(record).await;
            window.push_back((number, future.expect("capacity for every record, in time")));
        }
    }
}

/// What a future said, if the record that a failure carries is the one that was given.
fn fate(topic: &str, number: usize, result: Result<Delivery, SendError>) -> Fate {
    let failure = match result {
        Ok(delivery) => return Fate::Delivered(delivery),
        Err(failure) => failure,
    };
    let (key, payload) = (number.to_string(), payload(number));
    let record = failure.record();
    let given = (topic, Some(key.as_bytes()), Some(payload.as_bytes()), None);
    let carried = (
        record.get_topic(),
        record.get_key(),
        record.get_payload(),
        record.get_partition(),
    );
    assert_eq!(carried, given, "record {number} came back as another");
    assert!(!failure.is_fatal(), "record {number}: {failure}");
    Fate::Failed(failure.persistence())
}

/// Kills and starts nodes in turn; returns how many, with all of them back in sync.
async fn kill_one_after_the_other(
    cluster: &Arc<Cluster>,
    loads: &[Load],
    length: Duration,
) -> usize {
    let started = Instant::now();
    let mut kills = 0;
    for node in NODES.into_iter().cycle() {
        await_deliveries(loads).await;
        if started.elapsed() >= length {
            break;
        }
        spawn_blocking(move || Cluster::node("kill", node))
            .await
            .expect("the node is killed");
        kills += 1;
        start(node).await;
        for load in loads {
            await_whole(cluster, node, &load.topic).await;
        }
    }
    kills
}

async fn start(node: i32) {
    spawn_blocking(move || Cluster::node("start", node))
        .await
        .expect("the node starts");
}

async fn await_deliveries(loads: &[Load]) {
    let started = Instant::now();
    for load in loads {
        let goal = load.delivered() + RECOVERED;
        while load.delivered() < goal {
            assert!(
                started.elapsed() < DEADLINE,
                "{}: {} more deliveries of {RECOVERED} with all nodes there; {} in flight, {:?}",
                load.name,
                RECOVERED - (goal - load.delivered()),
                load.producer.in_flight_count(),
                load.producer.fatal_error(),
            );
            time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn await_whole(cluster: &Arc<Cluster>, node: i32, topic: &str) {
    let started = Instant::now();
    loop {
        let (cluster, topic) = (Arc::clone(cluster), topic.to_owned());
        let is_whole = spawn_blocking(move || cluster.is_whole_for(node, &topic));
        if is_whole.await.expect("metadata") {
            return;
        }
        assert!(
            started.elapsed() < DEADLINE,
            "node {node} was started and is not back in every in-sync set"
        );
        time::sleep(Duration::from_millis(50)).await;
    }
}

/// Where records were found: by number, their partitions and offsets.
type Found = Vec<Vec<(i32, i64)>>;

/// What the log says of what the futures said.
#[derive(Debug, Default)]
struct Verdict {
    delivered: usize,
    without_offset: usize,
    not_persisted: Failures,
    possibly_persisted: Failures,
    persisted: Failures,
    in_log: usize,
    /// Records that were reported as delivered and are not there.
    missing: Vec<usize>,
    /// Records that are not where their delivery said.
    misplaced: Vec<usize>,
    /// Records that are there more than once.
    doubled: Vec<usize>,
    /// Records that come before one that the same task enqueued earlier.
    overtaking: Vec<usize>,
}

#[derive(Debug, Default)]
struct Failures {
    all: usize,
    /// Those that are in the log all the same.
    in_log: usize,
}

async fn judge(cluster: &Arc<Cluster>, load: &Load, sent: Vec<Sent>) -> Verdict {
    let numbers = load.progress.next.load(Ordering::Relaxed);
    let (cluster, topic) = (Arc::clone(cluster), load.topic.clone());
    spawn_blocking(move || {
        let found = find(&cluster, &topic, numbers);
        let mut verdict = Verdict::of_log(&found);
        let resolved: usize = sent.iter().map(Vec::len).sum();
        assert_eq!(resolved, numbers, "one result for each record");
        for sent in &sent {
            verdict.count(sent, &found);
            verdict.check_order(sent, &found);
        }
        verdict
    })
    .await
    .expect("the log can be read")
}

/// Reads a topic that holds nothing but records of `payload`.
fn find(cluster: &Cluster, topic: &str, numbers: usize) -> Found {
    let mut found = vec![Vec::new(); numbers];
    for partition in 0..PARTITIONS {
        for message in cluster.read_all(topic, partition) {
            found[number(&message, numbers)].push((partition, message.offset()));
        }
    }
    found
}

/// The number of a record that was read back, if it is as it was given.
fn number(message: &Read, numbers: usize) -> usize {
    let text = message.payload_view::<str>().expect("a payload");
    let text = text.expect("a payload of text");
    let number = text.parse().expect("a payload that is a number");
    assert!(number < numbers, "record {number} was never sent");
    assert_eq!(text, payload(number), "the payload of record {number}");
    let key = number.to_string();
    assert_eq!(message.key(), Some(key.as_bytes()), "of record {number}");
    number
}

impl Verdict {
    fn of_log(found: &Found) -> Self {
        Self {
            in_log: found.iter().map(Vec::len).sum(),
            doubled: (0..found.len())
                .filter(|number| found[*number].len() > 1)
                .collect(),
            ..Self::default()
        }
    }

    fn count(&mut self, sent: &Sent, found: &Found) {
        for (number, fate) in sent {
            let places = &found[*number];
            let persistence = match fate {
                Fate::Delivered(delivery) => {
                    self.count_delivered(*number, delivery, places);
                    continue;
                }
                Fate::Failed(persistence) => persistence,
            };
            let failures = match persistence {
                Persistence::NotPersisted => &mut self.not_persisted,
                Persistence::PossiblyPersisted => &mut self.possibly_persisted,
                Persistence::Persisted => &mut self.persisted,
            };
            failures.all += 1;
            failures.in_log += usize::from(!places.is_empty());
        }
    }

    fn count_delivered(&mut self, number: usize, delivery: &Delivery, places: &[(i32, i64)]) {
        self.delivered += 1;
        self.without_offset += usize::from(delivery.offset().is_none());
        let is_reported = |(partition, offset): &(i32, i64)| {
            *partition == delivery.partition()
                && delivery.offset().is_none_or(|reported| reported == *offset)
        };
        if places.is_empty() {
            self.missing.push(number);
        } else if !places.iter().any(is_reported) {
            self.misplaced.push(number);
        }
    }

    /// Calls that follow each other put records in order; what failed leaves a gap.
    fn check_order(&mut self, sent: &Sent, found: &Found) {
        let mut last = [-1; PARTITIONS as usize];
        for (number, _) in sent {
            for (partition, offset) in &found[*number] {
                let last = &mut last[*partition as usize];
                if offset < last {
                    self.overtaking.push(*number);
                }
                *last = *offset.max(last);
            }
        }
    }

    fn assert_nothing_is_lost(&self, name: &str) {
        assert!(
            self.missing.is_empty(),
            "{name}: reported as delivered and not in the log: {}",
            some_of(&self.missing)
        );
        assert!(
            self.misplaced.is_empty(),
            "{name}: not at the place that their deliveries reported: {}",
            some_of(&self.misplaced)
        );
        let Failures { all, in_log } = self.persisted;
        assert_eq!(
            in_log, all,
            "{name}: in the log, of those that failed and were reported as persisted"
        );
    }

    fn assert_nothing_is_doubled(&self, name: &str) {
        assert!(
            self.doubled.is_empty(),
            "{name}: more than once in the log: {}",
            some_of(&self.doubled)
        );
    }

    fn assert_order(&self, name: &str) {
        assert!(
            self.overtaking.is_empty(),
            "{name}: behind what was enqueued later: {}",
            some_of(&self.overtaking)
        );
    }
}

fn some_of(numbers: &[usize]) -> String {
    let first = &numbers[..numbers.len().min(10)];
    format!("{} records, the first are {first:?}", numbers.len())
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} delivered ({} without an offset), failed as: {} not persisted, {} possibly \
             persisted, {} persisted; in the log {} records, {} of them more than once",
            self.delivered,
            self.without_offset,
            self.not_persisted,
            self.possibly_persisted,
            self.persisted,
            self.in_log,
            self.doubled.len(),
        )
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} are in the log)", self.all, self.in_log)
    }
}
