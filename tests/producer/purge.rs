//! Purges beside others that go on sending.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio_rdkafka::{
    ClientContext, DeliveryResult, MockCluster, Producer, ProducerContext, ProducerRecord,
    PurgeConfig, WeakProducer,
};

use crate::support::mock::{DEADLINE, blocking_until, cluster, config, produce_requests, until};

/// Sends a record for each that was delivered. Returns from a callback only when the next report is
/// in the queue, so the driver never finds it empty.
struct Chain {
    producer: OnceLock<WeakProducer<Arc<Chain>>>,
    cluster: MockCluster,
    sent: AtomicUsize,
    is_over: AtomicBool,
}

impl ClientContext for Chain {}

impl ProducerContext for Chain {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        let producer = self.producer.get().and_then(WeakProducer::upgrade);
        let Some(producer) = producer else { return };
        if !self.is_over.load(Ordering::SeqCst) {
            self.send(&producer);
            // The last request is sent after the report of the one before.
            let is_over = || self.is_over.load(Ordering::SeqCst);
            let sent = self.sent.load(Ordering::SeqCst);
            blocking_until(|| is_over() || produce_requests(&self.cluster) == sent);
        }
    }
}

impl Chain {
    fn send(&self, producer: &Producer<Arc<Chain>>) {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let record = ProducerRecord::to("t").payload("v");
        producer.try_enqueue_detached(record).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_ends_while_others_go_on_sending() {
    let chain = Arc::new(Chain {
        producer: OnceLock::new(),
        cluster: cluster("t", 1),
        sent: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    });
    chain.cluster.start_request_tracking();
    let producer = Producer::builder(
        config(&chain.cluster)
            .set("max.in.flight", "1")
            .set("batch.num.messages", "1"),
    )
    .context(Arc::clone(&chain))
    .create()
    .unwrap();
    assert!(chain.producer.set(producer.downgrade()).is_ok());
    chain.send(&producer);
    chain.send(&producer);
    until(|| chain.sent.load(Ordering::SeqCst) > 10).await;
    // It selects nothing, so that the chain goes on.
    let purge = producer.purge(PurgeConfig::default());
    let purged = tokio::time::timeout(DEADLINE / 4, purge).await;
    chain.is_over.store(true, Ordering::SeqCst);
    assert_eq!(purged, Ok(0));
    producer.flush().await.unwrap();
}

/// `non_blocking` would let it end before the reports are there.
#[tokio::test]
async fn a_purge_waits_for_the_reports_of_broker_threads() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("linger.ms", "100000")
        .create()
        .unwrap();
    for _ in 0..100 {
        for _ in 0..10 {
            let record = ProducerRecord::to("t").partition(0);
            producer.enqueue_detached(record).await.unwrap();
        }
        let everything = PurgeConfig::default().queue().inflight();
        assert_eq!(producer.purge(everything.non_blocking()).await, 10);
        assert_eq!(producer.in_flight_count(), 0);
    }
}
