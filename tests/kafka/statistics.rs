//! librdkafka's statistics as structs, of a cluster of three nodes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::Trial;
use tokio::time::timeout;
use tokio_rdkafka::{
    ClientContext, DeliveryResult, Producer, ProducerContext, ProducerRecord, TransactionalProducer,
};

use crate::support::kafka::{Cluster, DEADLINE};
use crate::support::statistics::read_whole;
use crate::support::trials::Module;

const MODULE: Module = Module("statistics");

pub fn trials() -> Vec<Trial> {
    vec![
        MODULE.trial("every_field_of_a_document_is_known", every_field_is_known),
        MODULE.trial("counts_are_those_of_the_records", counts),
    ]
}

/// Keeps the documents.
#[derive(Default)]
struct Documents(Mutex<Vec<String>>);

impl ClientContext for Documents {
    fn stats(&self, json: &str) {
        self.0.lock().unwrap().push(json.to_owned());
    }
}

impl ProducerContext for Documents {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

async fn every_field_is_known(cluster: Cluster) {
    let topic = cluster.create_topic(3, 3).await;
    let mut producer: TransactionalProducer<Arc<Documents>> = cluster
        .config()
        .set("transactional.id", &topic)
        .set("statistics.interval.ms", "50")
        .create_with_context(Arc::default())
        .unwrap();
    let mut receiver = producer.statistics().unwrap();
    producer.init(DEADLINE).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    for partition in 0..3 {
        let record = ProducerRecord::to(&*topic).partition(partition);
        transaction.send(record.payload("v")).await.unwrap();
    }
    let open = receiver.wait_for(|it| {
        let eos = it.as_ref().and_then(|it| it.eos.as_ref());
        eos.is_some_and(|eos| eos.txn_state == "InTransaction" && eos.producer_id >= 0)
            && it.as_ref().is_some_and(|it| it.txmsgs == 3)
    });
    // The borrow must not last: nothing new could be written.
    let open = timeout(DEADLINE, open)
        .await
        .expect("in time")
        .unwrap()
        .clone();
    let open = open.unwrap();
    transaction.commit().await.unwrap();
    let ids: Vec<_> = open.brokers.values().map(|it| it.nodeid).collect();
    assert!([1, 2, 3].iter().all(|id| ids.contains(id)), "{ids:?}");
    assert!(open.brokers.contains_key("TxnCoordinator"));
    for partition in 0..3 {
        let partition = &open.topics[&topic].partitions[&partition];
        assert!((1..=3).contains(&partition.leader), "{partition:?}");
        assert!(partition.leader_epoch >= 0, "{partition:?}");
        assert_eq!((partition.txmsgs, partition.msgs), (1, 1));
    }
    producer.close().await;
    let documents = producer.context().0.lock().unwrap().clone();
    assert!(documents.len() > 1);
    for json in documents {
        read_whole(&json);
    }
}

async fn counts(cluster: Cluster) {
    const RECORDS: u64 = 1_000;
    let topic = cluster.create_topic(3, 3).await;
    let producer: Producer = cluster
        .config()
        .set("statistics.interval.ms", "50")
        .create()
        .unwrap();
    let mut receiver = producer.statistics().unwrap();
    let records = (0..RECORDS).map(|_| ProducerRecord::to(&*topic).payload("payload"));
    let sent = futures::StreamExt::count(producer.send_all(records)).await;
    assert_eq!(sent as u64, RECORDS);
    let all = receiver.wait_for(|it| {
        it.as_ref()
            .is_some_and(|it| it.msg_cnt == 0 && it.txmsgs >= RECORDS)
    });
    let all = timeout(DEADLINE, all)
        .await
        .expect("in time")
        .unwrap()
        .clone();
    let all = all.unwrap();
    // Nothing failed, so nothing was sent again.
    assert_eq!((all.txmsgs, all.txmsg_bytes), (RECORDS, 7 * RECORDS));
    // The counts of this crate agree.
    let metrics = producer.metrics();
    assert_eq!(metrics.delivered.records, all.txmsgs);
    assert_eq!(metrics.delivered.bytes, all.txmsg_bytes);
    let partitions = all.topics[&topic].partitions.values();
    assert_eq!(partitions.map(|it| it.txmsgs).sum::<u64>(), RECORDS);
    assert!(producer.close_timeout(Duration::from_secs(30)).await.failed == 0);
}
