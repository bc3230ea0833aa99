//! What a transaction leaves behind does not reach the next one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rdkafka::message::Message as _;
use tokio::task::spawn_blocking;
use tokio_rdkafka::{
    ClientContext, DeliveryResult, KafkaError, ProducerContext, ProducerRecord, Transaction,
    TransactionOutcome, TransactionalProducer,
};

use crate::support::kafka::{Cluster, DEADLINE, Isolation, Read};
use crate::support::trials::{Module, one_thread};

const MODULE: Module = Module("renewal");

pub fn trials() -> Vec<Trial> {
    vec![
        MODULE.trial("a_refused_record_spoils_no_later_transaction", |cluster| {
            refused_records(cluster, false)
        }),
        MODULE.trial_alone(
            one_thread,
            "nor_does_one_that_is_refused_while_a_node_dies",
            |cluster| refused_records(cluster, true),
        ),
        MODULE.trial(
            "the_older_producer_stays_fenced_also_while_it_renews",
            fencing,
        ),
        MODULE.trial(
            "a_late_commit_does_not_reach_the_next_transaction",
            late_commits,
        ),
    ]
}

/// The ways in which a broker refuses a record of such a topic.
#[derive(Clone, Copy, Debug)]
enum Refused {
    WithoutKey,
    AmongOthers,
    TooLarge,
    FromTheFuture,
}

const WAYS: [Refused; 4] = [
    Refused::WithoutKey,
    Refused::AmongOthers,
    Refused::TooLarge,
    Refused::FromTheFuture,
];

const PICKY: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("max.message.bytes", "2000"),
    ("message.timestamp.after.max.ms", "3600000"),
];

async fn picky_topic(cluster: &Cluster) -> String {
    let topic = Cluster::new_name();
    cluster.create_topic_with(&topic, 1, 3, &PICKY).await;
    topic
}

async fn producer(cluster: &Cluster, topic: &str) -> TransactionalProducer {
    let mut config = cluster.config();
    config.set("transactional.id", topic);
    let mut producer: TransactionalProducer = config.create().unwrap();
    producer.init(DEADLINE).await.unwrap();
    producer
}

fn record(topic: &str, text: String) -> ProducerRecord<'_> {
    ProducerRecord::to(topic).key(text.clone()).payload(text)
}

/// Sends records, one of which the broker refuses.
async fn send_bad(transaction: &Transaction<'_>, topic: &str, way: Refused) {
    let bad = || record(topic, "bad".to_owned());
    let records = match way {
        Refused::WithoutKey => vec![ProducerRecord::to(topic).payload("bad")],
        Refused::AmongOthers => vec![bad(), ProducerRecord::to(topic).payload("bad"), bad()],
        Refused::TooLarge => vec![bad().payload("x".repeat(3000))],
        Refused::FromTheFuture => vec![bad().timestamp(i64::MAX / 2)],
    };
    let bad = records.len() / 2;
    let mut deliveries = Vec::new();
    for record in records {
        deliveries.push(transaction.enqueue(record).await.unwrap());
    }
    // A flush, and a commit that has begun before, would wait for message.timeout.ms: librdkafka
    // keeps a record that was in flight behind the bad one until the abort.
    deliveries.swap_remove(bad).await.unwrap_err();
}

async fn bad_transaction(producer: &mut TransactionalProducer, topic: &str, way: Refused) {
    bad_transaction_while(producer, topic, way, None).await;
}

/// The same, while that node dies.
async fn bad_transaction_while(
    producer: &mut TransactionalProducer,
    topic: &str,
    way: Refused,
    dies: Option<i32>,
) {
    let transaction = producer.begin().await.unwrap();
    let first = record(topic, "bad".to_owned());
    transaction.send(first).await.unwrap();
    if let Some(node) = dies {
        let killed = spawn_blocking(move || Cluster::node("kill", node));
        killed.await.unwrap();
    }
    send_bad(&transaction, topic, way).await;
    let error = transaction.commit().await.unwrap_err();
    assert!(error.requires_abort(), "{way:?}: {error:?}");
    error.into_parts().0.unwrap().abort().await.unwrap();
}

async fn good_transaction(
    producer: &mut TransactionalProducer,
    topic: &str,
    turn: usize,
) -> Result<(), KafkaError> {
    let transaction = producer.begin().await?;
    for part in 0..3 {
        let record = record(topic, format!("{turn}.{part}"));
        transaction.enqueue_detached(record).await?;
    }
    transaction.commit().await.map_err(KafkaError::from)
}

async fn refused_records(cluster: Cluster, kills: bool) {
    let topic = picky_topic(&cluster).await;
    let mut producer = producer(&cluster, &topic).await;
    let mut expected = Vec::new();
    let mut bad = 0;
    let mut dead = None;
    for turn in 0..20 {
        if turn % 3 == 0 {
            // The transactions between commit without it.
            revive(&cluster, &topic, dead.take()).await;
            dead = match bad {
                1 | 4 if kills => Some(cluster.leader(&topic, 0)),
                2 | 6 if kills => Some(cluster.coordinator("__transaction_state", &topic)),
                _ => None,
            };
            let way = WAYS[bad % WAYS.len()];
            bad_transaction_while(&mut producer, &topic, way, dead).await;
            bad += 1;
            let outcome = producer.outcome().await;
            assert_eq!(outcome, Some(TransactionOutcome::Aborted));
        } else {
            good_transaction(&mut producer, &topic, turn).await.unwrap();
            expected.extend((0..3).map(|part| format!("{turn}.{part}")));
        }
    }
    revive(&cluster, &topic, dead).await;
    if kills {
        // A connection that broke is another reason.
        assert!(producer.renewals() >= bad as u64);
    } else {
        assert_eq!(producer.renewals(), bad as u64);
    }
    let last = expected.last().cloned().unwrap();
    let is_last = |read: &Read| read.payload() == Some(last.as_bytes());
    let read = cluster.read_until(&topic, 0, Isolation::Committed, is_last);
    let texts = read
        .iter()
        .map(|read| String::from_utf8(read.payload().unwrap().to_vec()).unwrap());
    assert_eq!(texts.collect::<Vec<_>>(), expected);
    producer.close().await;
}

/// Starts a node, and waits until it is a part of the whole again.
async fn revive(cluster: &Cluster, topic: &str, dead: Option<i32>) {
    let Some(node) = dead else {
        return;
    };
    let (cluster, topic) = (cluster.clone(), topic.to_owned());
    let revived = spawn_blocking(move || {
        Cluster::node("start", node);
        let started = Instant::now();
        for topic in [topic.as_str(), "__transaction_state"] {
            while !cluster.is_whole_for(node, topic) {
                assert!(started.elapsed() < DEADLINE, "node {node} is not back");
            }
        }
    });
    revived.await.unwrap();
}

/// The producer that was initialized last wins, whatever the other one is about.
async fn fencing(cluster: Cluster) {
    for trial in 0..50_u64 {
        let topic = picky_topic(&cluster).await;
        let mut older = producer(&cluster, &topic).await;
        bad_transaction(&mut older, &topic, Refused::WithoutKey).await;
        let mut config = cluster.config();
        config.set("transactional.id", &topic);
        let mut newer: TransactionalProducer = config.create().unwrap();
        let renewed = if trial % 5 == 0 {
            newer.init(DEADLINE).await.unwrap();
            older.begin().await.map(drop)
        } else {
            // In the middle of the renewal.
            let init = async {
                tokio::time::sleep(Duration::from_micros(500 * trial)).await;
                newer.init(DEADLINE).await.unwrap();
            };
            let begin = async { older.begin().await.map(drop) };
            futures::join!(begin, init).0
        };
        if let Err(error) = renewed {
            assert!(error.is_fenced(), "{error:?}");
        } else {
            assert_ne!(trial % 5, 0);
        }
        good_transaction(&mut newer, &topic, 1).await.unwrap();
        // Again and again.
        for turn in 2..4 {
            let error = good_transaction(&mut older, &topic, turn).await;
            let error = error.unwrap_err();
            assert!(error.is_fenced(), "trial {trial}: {error:?}");
        }
        good_transaction(&mut newer, &topic, 4).await.unwrap();
        assert_eq!(newer.renewals(), 0);
        older.close().await;
        newer.close().await;
    }
}

/// Keeps the producer's id and epoch, which the statistics have.
#[derive(Clone, Debug, Default)]
struct Identity(Arc<Mutex<Option<(i64, i16)>>>);

impl Identity {
    async fn next(&self) -> (i64, i16) {
        *self.0.lock().unwrap() = None;
        let started = Instant::now();
        loop {
            if let Some(identity) = *self.0.lock().unwrap() {
                return identity;
            }
            assert!(started.elapsed() < DEADLINE, "no statistics");
            tokio::task::yield_now().await;
        }
    }
}

impl ClientContext for Identity {
    fn stats(&self, json: &str) {
        let field = |name: &str| {
            let (_, rest) = json.split_once(name)?;
            let end = rest.find([',', '}'])?;
            rest[..end].trim().parse::<i64>().ok()
        };
        let id = field("\"producer_id\":").expect("an id");
        let epoch = field("\"producer_epoch\":").expect("an epoch");
        *self.0.lock().unwrap() = Some((id, epoch.try_into().unwrap()));
    }
}

impl ProducerContext for Identity {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Sends a request to commit, as it could arrive late from a connection that the client has given
/// up. Returns the coordinator's error.
fn commit_late(id: &str, (producer, epoch): (i64, i16)) -> i16 {
    let mut body = Vec::new();
    // EndTxn, version 1, correlation id 7 in 32 bits, no client id.
    for number in [26_i16, 1, 0, 7, -1] {
        body.extend(number.to_be_bytes());
    }
    body.extend((id.len() as i16).to_be_bytes());
    body.extend(id.as_bytes());
    body.extend(producer.to_be_bytes());
    body.extend(epoch.to_be_bytes());
    body.push(1);
    const NOT_COORDINATOR: i16 = 16;
    let answers = [1, 2, 3].map(|node| answer_of(node, &body));
    let mut answers = answers.into_iter().filter(|&it| it != NOT_COORDINATOR);
    answers.next().expect("a coordinator")
}

/// Returns the error that the node answers.
fn answer_of(node: i32, body: &[u8]) -> i16 {
    let mut connection = TcpStream::connect(("127.0.0.1", Cluster::port(node))).unwrap();
    connection.set_read_timeout(Some(DEADLINE)).unwrap();
    connection
        .write_all(&(body.len() as i32).to_be_bytes())
        .unwrap();
    connection.write_all(body).unwrap();
    // The length, the correlation id, the throttle time, the error.
    let mut answer = [0; 14];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(answer[4..8], [0, 0, 0, 7]);
    i16::from_be_bytes([answer[12], answer[13]])
}

async fn late_commits(cluster: Cluster) {
    const FENCED: [i16; 2] = [47, 90];
    let topic = picky_topic(&cluster).await;
    let mut config = cluster.config();
    config.set("transactional.id", &topic);
    config.set("statistics.interval.ms", "20");
    let identity = Identity::default();
    let mut producer: TransactionalProducer<Identity> =
        config.create_with_context(identity.clone()).unwrap();
    producer.init(DEADLINE).await.unwrap();
    for turn in 0..10 {
        let transaction = producer.begin().await.unwrap();
        let before = identity.next().await;
        transaction
            .send(record(&topic, "bad".to_owned()))
            .await
            .unwrap();
        let bad = ProducerRecord::to(&topic).payload("bad");
        transaction.send(bad).await.unwrap_err();
        transaction.abort().await.unwrap();
        let transaction = producer.begin().await.unwrap();
        transaction
            .send(record(&topic, "bad".to_owned()))
            .await
            .unwrap();
        let error = commit_late(&topic, before);
        assert!(FENCED.contains(&error), "turn {turn}: {error}");
        // The same under the current epoch, as without a renewal, would commit what is there.
        if turn == 9 {
            let now = identity.next().await;
            assert_eq!((now.0, now.1 > before.1), (before.0, true));
            assert_eq!(commit_late(&topic, now), 0);
        }
        let _ = transaction.abort().await;
    }
    assert_eq!(producer.renewals(), 10);
    producer.close().await;
}
