//! What a transaction leaves behind does not reach the next one.

use std::time::Duration;

use libtest_mimic::Trial;
use rdkafka::message::Message as _;
use tokio_rdkafka::{
    KafkaError, ProducerRecord, Transaction, TransactionOutcome, TransactionalProducer,
};

use crate::support::kafka::{Cluster, DEADLINE, Isolation, Read};
use crate::support::trials::Module;

const MODULE: Module = Module("renewal");

pub fn trials() -> Vec<Trial> {
    vec![
        MODULE.trial(
            "a_refused_record_spoils_no_later_transaction",
            refused_records,
        ),
        MODULE.trial(
            "the_older_producer_stays_fenced_also_while_it_renews",
            fencing,
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
    for record in records {
        transaction.enqueue_detached(record).await.unwrap();
    }
    assert!(transaction.flush().await.unwrap().failed > 0, "{way:?}");
}

async fn bad_transaction(producer: &mut TransactionalProducer, topic: &str, way: Refused) {
    let transaction = producer.begin().await.unwrap();
    let first = record(topic, "bad".to_owned());
    transaction.send(first).await.unwrap();
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

async fn refused_records(cluster: Cluster) {
    let topic = picky_topic(&cluster).await;
    let mut producer = producer(&cluster, &topic).await;
    let mut expected = Vec::new();
    let mut bad = 0;
    let started = std::time::Instant::now();
    for turn in 0..20 {
        if turn % 3 == 0 {
            bad_transaction(&mut producer, &topic, WAYS[bad % WAYS.len()]).await;
            bad += 1;
            eprintln!("bad {turn} {:?}", started.elapsed());
            let outcome = producer.outcome().await;
            assert_eq!(outcome, Some(TransactionOutcome::Aborted));
        } else {
            good_transaction(&mut producer, &topic, turn).await.unwrap();
            eprintln!("good {turn} {:?}", started.elapsed());
            expected.extend((0..3).map(|part| format!("{turn}.{part}")));
        }
    }
    assert_eq!(producer.renewals(), bad as u64);
    let last = expected.last().cloned().unwrap();
    let is_last = |read: &Read| read.payload() == Some(last.as_bytes());
    let read = cluster.read_until(&topic, 0, Isolation::Committed, is_last);
    let texts = read
        .iter()
        .map(|read| String::from_utf8(read.payload().unwrap().to_vec()).unwrap());
    assert_eq!(texts.collect::<Vec<_>>(), expected);
    producer.close().await;
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
