//! librdkafka's statistics as structs.

use std::sync::{Arc, Mutex};

use tokio::runtime::{self, Handle};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rdkafka::{
    ApiKey, BaseProducer, ClientConfig, ClientContext, DeliveryResult, MockCluster, Producer,
    ProducerContext, ProducerRecord, RDKafkaErrorCode, Statistics, TransactionalProducer,
};

use crate::support::mock::{DEADLINE, blocking_until, cluster, config, until};
use crate::support::statistics::read_whole;

type Receiver = watch::Receiver<Option<Arc<Statistics>>>;

/// Keeps the documents.
#[derive(Default)]
struct Documents(Mutex<Vec<String>>);

impl Documents {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn any(&self, is_wanted: impl Fn(&Statistics) -> bool) -> bool {
        self.all().iter().any(|json| is_wanted(&read_whole(json)))
    }
}

impl ClientContext for Documents {
    fn stats(&self, json: &str) {
        self.0.lock().unwrap().push(json.to_owned());
    }
}

impl ProducerContext for Documents {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

fn often(cluster: &MockCluster) -> ClientConfig {
    let mut config = config(cluster);
    config.set("statistics.interval.ms", "20");
    config
}

/// Waits for statistics with that property.
async fn until_statistics(
    receiver: &mut Receiver,
    is_wanted: impl Fn(&Statistics) -> bool,
) -> Arc<Statistics> {
    let found = receiver.wait_for(|it| it.as_deref().is_some_and(&is_wanted));
    let found = timeout(DEADLINE, found).await;
    found.expect("in time").expect("open").clone().unwrap()
}

/// Waits until the producer gives no more statistics.
async fn until_ended(mut receiver: Receiver) {
    let ended = async { while receiver.changed().await.is_ok() {} };
    timeout(DEADLINE, ended).await.expect("in time");
}

#[tokio::test]
async fn every_field_of_a_document_of_librdkafka_is_known() {
    let cluster = cluster("t", 3);
    let producer = Producer::builder(often(&cluster).set("enable.idempotence", "true"))
        .context(Documents::default())
        .create()
        .unwrap();
    for partition in 0..3 {
        let record = ProducerRecord::to("t").payload("v").partition(partition);
        producer.send(record).await.unwrap();
    }
    let documents = producer.context();
    until(|| {
        documents.any(|statistics| {
            let eos = statistics.eos.as_ref().unwrap();
            let toppars = statistics.brokers.values().flat_map(|it| it.toppars.keys());
            statistics.txmsgs == 3 && eos.producer_id >= 0 && toppars.count() == 3
        })
    })
    .await;

    let desynchronized = RDKafkaErrorCode::OutOfOrderSequenceNumber;
    cluster.request_errors(ApiKey::Produce, &[desynchronized]);
    let record = ProducerRecord::to("t").payload("v").partition(0);
    producer.send(record).await.unwrap_err();
    let error = producer.fatal_error().unwrap();
    until(|| {
        documents.any(|statistics| {
            let fatal = statistics.fatal.as_ref();
            fatal.is_some_and(|it| it.cnt > 0 && error.to_string().contains(&it.reason))
        })
    })
    .await;
}

#[tokio::test]
async fn a_transactional_producers_document_is_known() {
    let cluster = cluster("t", 1);
    let mut config = often(&cluster);
    config.set("transactional.id", "tests");
    let mut producer: TransactionalProducer<Documents> =
        config.create_with_context(Documents::default()).unwrap();
    let mut receiver = producer.statistics().unwrap();
    producer.init(DEADLINE).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    // A transaction's handle may look.
    let mut of_handle = transaction.handle().statistics().unwrap();
    transaction
        .send(ProducerRecord::to("t").payload("v"))
        .await
        .unwrap();
    let is_open = |statistics: &Statistics| {
        let eos = statistics.eos.as_ref().unwrap();
        statistics.txmsgs == 1 && eos.txn_state == "InTransaction" && eos.txn_may_enq
    };
    until_statistics(&mut receiver, is_open).await;
    until_statistics(&mut of_handle, is_open).await;
    transaction.commit().await.unwrap();
    let committed = until_statistics(&mut receiver, |it| {
        it.eos.as_ref().is_some_and(|eos| eos.txn_state == "Ready")
    });
    assert!(committed.await.brokers.contains_key("TxnCoordinator"));
    for json in producer.context().all() {
        read_whole(&json);
    }
    producer.close().await;
    until_ended(receiver).await;
    let error = producer.statistics().unwrap_err();
    assert!(error.is_closed(), "{error:?}");
}

#[tokio::test]
async fn statistics_have_the_numbers_of_what_was_sent() {
    const RECORDS: u64 = 10;
    const KEY: &[u8] = b"key";
    const PAYLOAD: &[u8] = b"payload";
    let cluster = cluster("t", 2);
    let producer: Producer = often(&cluster).set("client.id", "tests").create().unwrap();
    let mut receiver = producer.statistics().unwrap();
    for _ in 0..RECORDS {
        let record = ProducerRecord::to("t").key(KEY).payload(PAYLOAD);
        producer.send(record.partition(1)).await.unwrap();
    }
    let statistics = until_statistics(&mut receiver, |it| it.txmsgs == RECORDS).await;
    assert_eq!(statistics.client_id, "tests");
    assert!(statistics.name.starts_with("tests#producer-"));
    assert_eq!(statistics.client_type, "producer");
    assert!(statistics.time > 1_700_000_000 && statistics.age > 0 && statistics.ts > 0);
    let size = RECORDS * (KEY.len() + PAYLOAD.len()) as u64;
    assert_eq!(statistics.txmsg_bytes, size);
    // The producer limits its queue itself.
    assert_eq!(statistics.msg_max, 0);
    assert_eq!(statistics.msg_size_max, i32::MAX as u64 * 1024);

    let partitions = &statistics.topics["t"].partitions;
    let partition = &partitions[&1];
    assert_eq!((partition.partition, partition.leader), (1, 1));
    assert_eq!((partition.txmsgs, partition.txbytes), (RECORDS, size));
    assert_eq!(partition.msgs, RECORDS);
    assert_eq!(partitions[&0].txmsgs, 0);
    assert_eq!(statistics.topics["t"].topic, "t");

    let broker = statistics.brokers.values().find(|it| it.nodeid == 1);
    let broker = broker.expect("the broker");
    assert_eq!(broker.nodename, cluster.bootstrap_servers());
    assert_eq!((&*broker.state, &*broker.source), ("UP", "learned"));
    assert_eq!(broker.req["Produce"], i64::try_from(RECORDS).unwrap());
    assert_eq!(broker.toppars["t-1"].partition, 1);
    let sent: u64 = statistics.brokers.values().map(|it| it.tx).sum();
    // Read a moment later.
    assert!(statistics.tx >= sent);
    assert_eq!(statistics.eos, None);
    assert_eq!(statistics.fatal, None);
}

#[tokio::test]
async fn latencies_are_those_since_the_document_before() {
    let cluster = cluster("t", 1);
    let producer = Producer::builder(&often(&cluster))
        .context(Documents::default())
        .create()
        .unwrap();
    for _ in 0..10 {
        let record = ProducerRecord::to("t").payload("v");
        producer.send(record).await.unwrap();
    }
    let total = |count: fn(&Statistics) -> i64| {
        let documents = producer.context().all();
        documents.iter().map(|it| count(&read_whole(it))).sum()
    };
    let sent = || -> i64 { total(|it| it.brokers.values().map(|it| it.int_latency.cnt).sum()) };
    until(|| sent() == 10).await;
    let batches = || -> i64 { total(|it| it.topics["t"].batchcnt.sum) };
    until(|| batches() == 10).await;
    let rtts = || -> i64 { total(|it| it.brokers.values().map(|it| it.rtt.cnt).sum()) };
    until(|| rtts() >= 10).await;
}

#[tokio::test]
async fn receivers_share_the_newest_and_end_with_the_producer() {
    let cluster = cluster("t", 1);
    let producer: Producer = often(&cluster).create().unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut first = producer.clone().statistics().unwrap();
    let (mut clone, mut second) = (first.clone(), producer.statistics().unwrap());
    assert!(second.borrow().is_none());
    let newest = until_statistics(&mut first, |_| true).await;
    let later = |it: &Statistics| it.ts >= newest.ts;
    until_statistics(&mut clone, later).await;
    until_statistics(&mut second, later).await;
    assert_eq!(tasks(), before + 2);
    // One that is late need not wait for the next document.
    let mut late = producer.statistics().unwrap();
    until_statistics(&mut late, later).await;
    drop((late, second));
    // Nobody parses what nobody reads.
    until(|| tasks() == before + 1).await;
    drop(first);
    assert_eq!(tasks(), before + 1);

    let weak = producer.downgrade();
    drop(producer);
    assert!(weak.upgrade().is_none(), "a receiver keeps it open");
    let last = clone.clone();
    until_ended(clone).await;
    assert!(last.borrow().is_some(), "the last value stays");
}

#[tokio::test]
async fn a_producer_without_statistics_says_so() {
    let cluster = cluster("t", 1);
    for interval in [None, Some("0")] {
        let mut config = config(&cluster);
        if let Some(interval) = interval {
            config.set("statistics.interval.ms", interval);
        }
        let producer: Producer = config.create().unwrap();
        let error = producer.statistics().unwrap_err();
        assert_eq!(error.field(), Some("statistics.interval.ms"));
        assert!(error.to_string().contains("statistics.interval.ms is 0"));
        producer.close().await;
        assert!(producer.statistics().unwrap_err().is_closed());
    }
}

#[test]
fn a_runtime_that_ends_ends_the_statistics() {
    let cluster = cluster("t", 1);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (producer, receiver) = runtime.block_on(async {
        let producer: Producer = often(&cluster).create().unwrap();
        let mut receiver = producer.statistics().unwrap();
        until_statistics(&mut receiver, |_| true).await;
        (producer, receiver)
    });
    drop(runtime);
    futures::executor::block_on(until_ended_without_timers(receiver));
    assert!(producer.statistics().unwrap_err().is_closed());
}

async fn until_ended_without_timers(mut receiver: Receiver) {
    while receiver.changed().await.is_ok() {}
}

#[test]
fn a_base_producer_parses_what_its_context_gets() {
    let cluster = cluster("t", 1);
    let producer: BaseProducer<Documents> = often(&cluster)
        .set("queue.buffering.max.messages", "5000")
        .create_with_context(Documents::default())
        .unwrap();
    producer.send(ProducerRecord::to("t").payload("v")).unwrap();
    blocking_until(|| {
        producer.poll(std::time::Duration::from_millis(10));
        let documents = producer.context();
        documents.any(|it| it.txmsgs == 1 && it.msg_max == 5_000)
    });
}

#[tokio::test]
async fn a_receiver_goes_on_when_a_renewal_replaces_the_client() {
    let cluster = cluster("t", 1);
    let mut config = often(&cluster);
    config.set("transactional.id", "tests");
    let mut producer: TransactionalProducer = config.create().unwrap();
    let mut receiver = producer.statistics().unwrap();
    producer.init(DEADLINE).await.unwrap();
    let before = until_statistics(&mut receiver, |_| true).await;
    let transaction = producer.begin().await.unwrap();
    let record = ProducerRecord::to("t").payload("v");
    transaction.send(record).await.unwrap();
    let code = RDKafkaErrorCode::InvalidTransactionalState;
    cluster.request_errors(ApiKey::EndTxn, &[code]);
    transaction.commit().await.unwrap_err();
    drop(producer.begin().await.unwrap());
    assert_eq!(producer.renewals(), 1);
    // Each client has a name of its own.
    until_statistics(&mut receiver, |it| it.name != before.name).await;
    let mut other = producer.statistics().unwrap();
    until_statistics(&mut other, |it| it.name != before.name).await;
    producer.close().await;
    until_ended(receiver).await;
}
