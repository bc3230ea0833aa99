//! Requests that arrive late, when the next transaction is open: a proxy holds them until then.
//!
//! `TOKIO_RDKAFKA_LATE_REQUESTS` is the number of trials, 6 by default. `tests/night` has 50.

use std::env;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::task::spawn_blocking;
use tokio_rdkafka::{
    KafkaError, Producer, ProducerRecord, TransactionOutcome, TransactionalProducer,
};

use crate::support::kafka::{Cluster, DEADLINE, Isolation, Read};
use crate::support::proxy::{END_TXN, Held, PRODUCE, Proxy};
use crate::support::trials::{Module, many_threads};

const MODULE: Module = Module("late_requests");

/// How long a client waits for an answer.
const SOCKET_TIMEOUT: &str = "3000";

/// Within which the last stable offset goes on: half of what a transaction may be left open.
const SECONDS: Duration = Duration::from_secs(30);

/// `INVALID_PRODUCER_EPOCH`, `PRODUCER_FENCED`
const FENCED: [i16; 2] = [47, 90];

pub fn trials() -> Vec<Trial> {
    vec![
        MODULE.trial_on(
            many_threads,
            "what_arrives_late_reaches_no_later_transaction",
            late_requests,
        ),
        MODULE.trial_on(
            many_threads,
            "without_a_renewal_a_late_commit_commits_the_next_transaction",
            counter_proof,
        ),
    ]
}

/// What arrives late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Commit,
    /// The call has a time limit of its own, and the next `begin` resumes it.
    CommitOfShortCall,
    Abort,
    /// A record of a transaction that was aborted.
    Record,
}

const ALL: [Late; 4] = [
    Late::Commit,
    Late::CommitOfShortCall,
    Late::Abort,
    Late::Record,
];

struct Setting {
    cluster: Cluster,
    proxy: Proxy,
    topic: String,
    /// What a reader of committed records has to see.
    expected: Vec<String>,
}

impl Setting {
    async fn new(cluster: Cluster) -> Self {
        let topic = cluster.create_topic(1, 3).await;
        let proxy = Proxy::new(&cluster);
        Self {
            cluster,
            proxy,
            topic,
            expected: Vec::new(),
        }
    }

    fn record(&self, text: &str) -> ProducerRecord<'static> {
        ProducerRecord::to(self.topic.as_str())
            .payload(text.to_owned())
            .into_owned()
    }

    async fn assert_seen(self) {
        let seen = spawn_blocking(move || seen(&self.cluster, &self.topic));
        assert_eq!(seen.await.unwrap(), self.expected);
    }

    /// No transaction is left open.
    async fn assert_goes_on(&self) {
        let started = Instant::now();
        let (brokers, topic) = (self.cluster.clone(), self.topic.clone());
        let goes_on = spawn_blocking(move || {
            while brokers.last_stable(&topic, 0) != brokers.end(&topic, 0) {
                assert!(started.elapsed() < SECONDS, "a transaction is left open");
            }
        });
        goes_on.await.unwrap();
    }
}

/// The records that are seen as committed, up to a last one, which this sends.
fn seen(cluster: &Cluster, topic: &str) -> Vec<String> {
    let runtime = many_threads();
    runtime.block_on(async {
        let producer: Producer = cluster.config().create().unwrap();
        let last = ProducerRecord::to(topic).payload("last");
        producer.send(last).await.unwrap();
        producer.close().await;
    });
    let is_last = |read: &Read| read.payload() == Some(b"last");
    let mut read = cluster.read_until(topic, 0, Isolation::Committed, is_last);
    read.pop();
    let text = |read: &Read| String::from_utf8(read.payload().unwrap().to_vec()).unwrap();
    read.iter().map(text).collect()
}

async fn late_requests(cluster: Cluster) {
    let trials = match env::var("TOKIO_RDKAFKA_LATE_REQUESTS") {
        Ok(number) => number.parse().expect("a number"),
        Err(_) => 6,
    };
    let mut setting = Setting::new(cluster).await;
    let mut config = setting.cluster.config();
    config
        .set("bootstrap.servers", setting.proxy.bootstrap_servers())
        .set("transactional.id", &setting.topic)
        .set("socket.timeout.ms", SOCKET_TIMEOUT)
        .set("request.timeout.ms", "2900")
        // The client gives up a record.
        .set("message.timeout.ms", "8000");
    let mut producer: TransactionalProducer = config.create().unwrap();
    producer.init(DEADLINE).await.unwrap();
    for trial in 0..trials {
        let late = ALL[trial % ALL.len()];
        let before = producer.renewals();
        let held = first_transaction(&mut setting, &mut producer, late, trial).await;

        // The next one, which gets what was held in its middle.
        let aborts = matches!(late, Late::Commit | Late::CommitOfShortCall);
        let transaction = producer.begin().await.unwrap();
        let texts = [format!("{trial}: second"), format!("{trial}: third")];
        if late == Late::Record {
            // So that it comes before those of this transaction, and in their place.
            let own = setting.proxy.hold(PRODUCE);
            let sent = transaction.enqueue(setting.record(&texts[0])).await;
            own.is_held().await;
            held.deliver().await;
            own.deliver().await;
            sent.unwrap().await.unwrap();
        } else {
            transaction.send(setting.record(&texts[0])).await.unwrap();
            // Behind the throttle time.
            let answer = held.deliver().await;
            let error = i16::from_be_bytes([answer[4], answer[5]]);
            assert!(FENCED.contains(&error), "{late:?} is answered by {error}");
        }
        transaction.send(setting.record(&texts[1])).await.unwrap();
        if aborts {
            transaction.abort().await.unwrap();
        } else {
            let committed = transaction.commit().await;
            committed.map_err(KafkaError::from).unwrap();
            setting.expected.extend(texts);
        }
        let expected = if aborts {
            TransactionOutcome::Aborted
        } else {
            TransactionOutcome::Committed
        };
        assert_eq!(producer.outcome().await, Some(expected), "{late:?}");
        assert!(producer.renewals() > before || late == Late::Record);
        setting.assert_goes_on().await;
    }
    producer.close().await;
    setting.assert_seen().await;
}

/// Ends a transaction with its outcome known, while a request of it is held.
async fn first_transaction(
    setting: &mut Setting,
    producer: &mut TransactionalProducer,
    late: Late,
    trial: usize,
) -> Held {
    let text = format!("{trial}: first");
    let transaction = producer.begin().await.unwrap();
    transaction.send(setting.record(&text)).await.unwrap();
    if late == Late::Record {
        let held = setting.proxy.hold(PRODUCE);
        let sent = transaction.enqueue(setting.record("late")).await.unwrap();
        held.is_held().await;
        // What the client sends again is held too.
        let again: Vec<_> = (0..20).map(|_| setting.proxy.hold(PRODUCE)).collect();
        sent.await.unwrap_err();
        transaction.abort().await.unwrap();
        setting.proxy.hold_no_more();
        assert_eq!(producer.outcome().await, Some(TransactionOutcome::Aborted));
        drop(again);
        return held;
    }
    let held = setting.proxy.hold(END_TXN);
    let expected = match late {
        Late::Commit => {
            // The client sends the request again.
            let committed = transaction.commit().await;
            committed.map_err(KafkaError::from).unwrap();
            TransactionOutcome::Committed
        }
        Late::CommitOfShortCall => {
            let short = Duration::from_millis(300);
            let failed = transaction.commit_timeout(short).await.unwrap_err();
            assert!(failed.is_retriable(), "{failed:?}");
            drop(failed);
            let outcome = producer.outcome().await;
            assert_eq!(outcome, Some(TransactionOutcome::Unknown));
            // It is known once the next one begins.
            producer.begin().await.unwrap().abort().await.unwrap();
            TransactionOutcome::Aborted
        }
        _ => {
            transaction.abort().await.unwrap();
            TransactionOutcome::Aborted
        }
    };
    held.is_held().await;
    assert_eq!(producer.outcome().await, Some(expected), "{late:?}");
    if late != Late::Abort {
        setting.expected.push(text);
    }
    held
}

/// The same with a producer of the crate `rdkafka`, which is librdkafka as it is: what it aborts is
/// seen as committed.
async fn counter_proof(cluster: Cluster) {
    let setting = Setting::new(cluster).await;
    let producer: BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", setting.proxy.bootstrap_servers())
        .set("transactional.id", &setting.topic)
        .set("linger.ms", "0")
        .set("socket.timeout.ms", SOCKET_TIMEOUT)
        .set("request.timeout.ms", "2900")
        .set("log_level", "3")
        .create()
        .unwrap();
    let (topic, held) = (setting.topic.clone(), setting.proxy.hold(END_TXN));
    let send = |producer: &BaseProducer, topic: &str, text: &str| {
        let record = BaseRecord::<(), str>::to(topic).payload(text);
        producer.send(record).unwrap();
        producer.flush(DEADLINE).unwrap();
    };
    let begun = {
        let topic = topic.clone();
        spawn_blocking(move || {
            producer.init_transactions(DEADLINE).unwrap();
            producer.begin_transaction().unwrap();
            send(&producer, &topic, "first");
            producer.commit_transaction(DEADLINE).unwrap();
            producer.begin_transaction().unwrap();
            send(&producer, &topic, "second");
            producer
        })
    };
    let producer = begun.await.unwrap();
    let answer = held.deliver().await;
    assert_eq!(i16::from_be_bytes([answer[4], answer[5]]), 0);
    let aborted = spawn_blocking(move || {
        // Its coordinator knows of no such transaction any more.
        let error = producer.abort_transaction(DEADLINE);
        (producer, error)
    });
    drop(aborted.await.unwrap());
    let seen = spawn_blocking(move || seen(&setting.cluster, &setting.topic));
    assert_eq!(seen.await.unwrap(), ["first", "second"]);
}
