//! The hook that sees each record before it is produced.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt, stream};
use tokio::task::spawn_blocking;
use tokio_rdkafka::{
    Access, ApiKey, BaseProducer, ClientConfig, ClientContext, DeliveryResult, Headers,
    InterceptedRecord, MockCluster, OwnedMessage, ProduceExt, Producer, ProducerContext,
    ProducerRecord, PurgeConfig, RDKafkaErrorCode as Code, TransactionalProducer,
};
use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{DEADLINE, Drop, assert_capacity_is_whole, cluster, config, payloads};
use crate::support::mock::{poll_then_drop, until, until_records};

type Hook = Box<dyn Fn(&mut InterceptedRecord<'_, '_>) + Send + Sync>;

struct Hooked {
    hook: Hook,
    calls: AtomicUsize,
}

impl Hooked {
    fn new(hook: impl Fn(&mut InterceptedRecord<'_, '_>) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            hook: Box::new(hook),
            calls: AtomicUsize::new(0),
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl ClientContext for Hooked {}

impl ProducerContext for Hooked {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}

    fn on_send(&self, record: &mut InterceptedRecord<'_, '_>) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        (self.hook)(record);
    }
}

type Hooking = Producer<Arc<Hooked>>;

/// Adds to everything, so that what is done twice shows.
fn change_all(record: &mut InterceptedRecord<'_, '_>) {
    record.set_topic(format!("{}-sent", record.topic()));
    record.set_key([record.key().unwrap_or_default(), b"+"].concat());
    record.set_payload([record.payload().unwrap_or_default(), b"+"].concat());
    record.set_timestamp(record.timestamp().unwrap_or_default() + 1);
    record.headers_mut().push("hook", "1");
}

/// It was changed once.
fn assert_changed(message: &OwnedMessage) {
    assert_eq!(message.topic(), "t-sent");
    assert_eq!(message.key(), Some(&b"k+"[..]));
    assert_eq!(message.payload(), Some(&b"v+"[..]));
    assert_eq!(message.timestamp().to_millis(), Some(1_001));
    let expected = Headers::new().append("h", "0").append("hook", "1");
    assert_eq!(message.headers(), &expected);
}

fn record() -> ProducerRecord<'static> {
    let record = ProducerRecord::to("t")
        .key("k")
        .payload("v")
        .header("h", "0");
    record.timestamp(1_000)
}

/// It is as the caller passed it.
fn assert_unchanged<D>(record: &ProducerRecord<'_, D>) {
    assert_eq!(record.get_topic(), "t");
    assert_eq!(record.get_key(), Some(&b"k"[..]));
    assert_eq!(record.get_payload(), Some(&b"v"[..]));
    assert_eq!(record.get_timestamp(), Some(1_000));
    assert_eq!(record.get_partition(), None);
    assert_eq!(record.get_headers(), &Headers::new().append("h", "0"));
}

async fn hooked(
    cluster: &MockCluster,
    configure: impl FnOnce(&mut ClientConfig),
    hook: impl Fn(&mut InterceptedRecord<'_, '_>) + Send + Sync + 'static,
) -> Hooking {
    let mut config = config(cluster);
    configure(&mut config);
    config.create_with_context(Hooked::new(hook)).unwrap()
}

/// Sends in each way that a handle has. Returns the number of records.
async fn send_by_each<A: Access>(producer: &Producer<Arc<Hooked>, A>) -> usize {
    producer.send(record()).await.unwrap();
    producer.send_timeout(record(), DEADLINE).await.unwrap();
    let enqueued = producer.enqueue(record()).await;
    enqueued.unwrap().await.unwrap();
    let enqueued = producer.enqueue_timeout(record(), DEADLINE).await;
    enqueued.unwrap().await.unwrap();
    producer.try_enqueue(record()).unwrap().await.unwrap();
    producer.enqueue_detached(record()).await.unwrap();
    producer.try_enqueue_detached(record()).unwrap();
    for permit in [
        producer.reserve().await.unwrap(),
        producer.reserve_bytes(2).await.unwrap(),
        producer.try_reserve().unwrap(),
    ] {
        permit.send(record()).await.unwrap();
    }
    let permit = producer.reserve_owned().await.unwrap();
    permit.send(record()).await.unwrap();
    let topic = producer.topic("t").unwrap();
    let by_handle = ProducerRecord::to(&topic)
        .key("k")
        .payload("v")
        .header("h", "0");
    producer.send(by_handle.timestamp(1_000)).await.unwrap();
    let mut sink = producer.sink();
    sink.send_all(&mut stream::iter([Ok(record()), Ok(record())]))
        .await
        .unwrap();
    let results = producer.send_all([record(), record()]);
    assert!(results.all(async |result| result.is_ok()).await);
    let items = stream::iter([((), [record(), record()])]);
    items.produce(producer).next().await.unwrap().1.unwrap();
    let items = stream::iter([((), record())]);
    let mut results = items.produce_each(producer);
    results.next().await.unwrap().1.unwrap();
    let blocking = producer.clone();
    spawn_blocking(move || {
        blocking.blocking_send(record()).unwrap();
        drop(blocking.blocking_enqueue(record()).unwrap());
        blocking.blocking_enqueue_detached(record()).unwrap();
    })
    .await
    .unwrap();
    22
}

#[tokio::test]
async fn each_way_to_send_calls_it_once_for_each_record() {
    let cluster = cluster("t", 1);
    let producer = hooked(&cluster, |_| (), change_all).await;
    let sent = send_by_each(&producer).await;
    assert_eq!(producer.context().calls(), sent);
    assert_eq!(producer.close().await.failed, 0);
    let records = cluster.records("t-sent").await.unwrap();
    assert_eq!(records.len(), sent);
    records.iter().for_each(assert_changed);
}

#[tokio::test]
async fn a_transaction_calls_it_too() {
    let cluster = cluster("t", 1);
    let mut producer: TransactionalProducer<Arc<Hooked>> = config(&cluster)
        .set("transactional.id", "tests")
        .create_with_context(Hooked::new(change_all))
        .unwrap();
    producer.init(DEADLINE).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    let sent = send_by_each(&transaction.handle()).await;
    transaction.commit().await.unwrap();
    assert_eq!(producer.context().calls(), sent);
    let records = cluster.records("t-sent").await.unwrap();
    records.iter().for_each(assert_changed);
}

#[tokio::test]
async fn a_base_producer_calls_it_too() {
    let cluster = cluster("t", 1);
    let producer: BaseProducer<Arc<Hooked>> = config(&cluster)
        .set("queue.buffering.max.messages", "2")
        .create_with_context(Hooked::new(change_all))
        .unwrap();
    producer.send(record()).unwrap();
    producer.try_enqueue(record()).unwrap();
    let error = producer.send(record()).unwrap_err();
    assert!(error.is_queue_full(), "{error}");
    assert_unchanged(error.record());
    producer.flush(DEADLINE).unwrap();
    producer.send(error.into_record()).unwrap();
    producer.flush(DEADLINE).unwrap();
    let records = cluster.records("t-sent").await.unwrap();
    assert_eq!(records.len(), 3);
    records.iter().for_each(assert_changed);
}

/// While it waits for capacity, it is polled again and again.
#[tokio::test]
async fn a_record_that_waits_is_seen_once() {
    let cluster = cluster("t", 1);
    let small = |config: &mut ClientConfig| {
        config.set("queue.buffering.max.messages", "1");
    };
    let producer = hooked(&cluster, small, change_all).await;
    let records = || (0..20).map(|_| record());
    let results = producer.send_all(records());
    assert!(results.all(async |result| result.is_ok()).await);
    let items = stream::iter(records()).map(|record| ((), [record]));
    let results = items.produce(&producer);
    assert!(results.all(async |(_, result)| result.is_ok()).await);
    let items = stream::iter(records()).map(|record| ((), record));
    let results = items.produce_each(&producer);
    assert!(results.all(async |(_, result)| result.is_ok()).await);
    let sends = (0..20).map(|_| producer.send(record()));
    let results = futures::future::join_all(sends).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(producer.context().calls(), 80);
    let records = cluster.records("t-sent").await.unwrap();
    assert_eq!(records.len(), 80);
    records.iter().for_each(assert_changed);
}

/// A hook that changes nothing is called once, too.
#[tokio::test]
async fn a_record_that_is_not_changed_is_seen_once() {
    let cluster = cluster("t", 1);
    let small = |config: &mut ClientConfig| {
        config.set("queue.buffering.max.messages", "1");
    };
    let producer = hooked(&cluster, small, |_| ()).await;
    let results = producer.send_all((0..20).map(|_| record()));
    assert!(results.all(async |result| result.is_ok()).await);
    assert_eq!(producer.context().calls(), 20);
}

#[tokio::test]
async fn a_refused_record_comes_back_as_it_was_passed() {
    let cluster = cluster("t", 1);
    let one = |config: &mut ClientConfig| {
        config
            .set("queue.buffering.max.messages", "1")
            .set("linger.ms", "60000");
    };
    let producer = hooked(&cluster, one, change_all).await;
    let first = producer.try_enqueue(record()).unwrap();
    let error = producer.try_enqueue(record()).unwrap_err();
    assert!(error.is_queue_full(), "{error}");
    assert_unchanged(error.record());
    let error = producer.try_enqueue_detached(error.into_record());
    assert_unchanged(error.unwrap_err().record());
    let error = producer.send_timeout(record(), Duration::ZERO).await;
    let error = error.unwrap_err();
    assert!(error.is_queue_full(), "{error}");
    assert_unchanged(error.record());
    // Nobody gets a record that was still waiting.
    let waiting = poll_then_drop(producer.send(record()), 1, Drop::AtOnce).await;
    assert!(waiting.is_none());
    producer.flush().await.unwrap();
    first.await.unwrap();
    let sent = producer.enqueue(error.into_record()).await.unwrap();
    producer.flush().await.unwrap();
    sent.await.unwrap();
    let records = cluster.records("t-sent").await.unwrap();
    assert_eq!(records.len(), 2);
    records.iter().for_each(assert_changed);
    assert_capacity_is_whole(&producer, 1);
    // After the close.
    producer.close().await;
    let error = producer.send(record()).await.unwrap_err();
    assert_unchanged(error.record());
    let error = producer.send_all([record()]).next().await.unwrap();
    assert_unchanged(error.unwrap_err().record());
    let results = stream::iter([((), record())]).produce_each(&producer);
    let (_, error) = { results }.next().await.unwrap();
    assert_unchanged(error.unwrap_err().record());
}

/// The checks see what the hook has made of the record.
#[tokio::test]
async fn an_invalid_change_is_refused_and_undone() {
    let hooks: [fn(&mut InterceptedRecord<'_, '_>); 4] = [
        |record| record.set_partition(-2),
        |record| record.set_timestamp(-1),
        |record| record.set_topic("not valid"),
        |record| record.headers_mut().push("n\0ul", ""),
    ];
    for (hook, field) in hooks
        .into_iter()
        .zip(["partition", "timestamp", "topic", "headers"])
    {
        let cluster = cluster("t", 1);
        let producer = hooked(&cluster, |_| (), hook).await;
        let error = producer.send(record()).await.unwrap_err();
        assert_eq!(error.error().field(), Some(field), "{error}");
        assert_unchanged(error.record());
        let error = producer.try_enqueue(record()).unwrap_err();
        assert_unchanged(error.record());
        let error = producer.reserve().await.unwrap().send(record()).await;
        assert_unchanged(error.unwrap_err().record());
        let mut sink = producer.sink();
        assert_unchanged(sink.send(record()).await.unwrap_err().record());
        let error = producer.send_all([record()]).next().await.unwrap();
        assert_unchanged(error.unwrap_err().record());
    }
}

#[tokio::test]
async fn an_undelivered_record_comes_back_as_it_was_passed() {
    let cluster = cluster("t-sent", 1);
    let slow = |config: &mut ClientConfig| {
        config.set("linger.ms", "60000");
    };
    let producer = hooked(&cluster, slow, change_all).await;
    let purged = producer.enqueue(record()).await.unwrap();
    // A batch, which has headers and so none, and one without.
    let plain = || ProducerRecord::to("t").payload("v");
    let by_batch = hooked(&cluster, slow, |record| record.set_payload("changed")).await;
    let mut results = by_batch.send_all([plain(), plain()]);
    let first = poll_then_drop(results.next(), 1, Drop::AtOnce).await;
    assert!(first.is_none());
    until(|| by_batch.in_flight_count() == 2).await;
    for producer in [&producer, &by_batch] {
        producer.purge(PurgeConfig::default().queue()).await;
    }
    let error = purged.await.unwrap_err();
    assert_eq!(error.code(), Some(Code::PurgeQueue));
    assert_unchanged(error.record());
    for result in results.collect::<Vec<_>>().await {
        let error = result.unwrap_err();
        assert_eq!(error.record().get_payload(), Some(&b"v"[..]));
        assert_eq!(error.record().get_timestamp(), None);
    }
    // It is changed once, although it was sent twice.
    let sent = producer.enqueue(error.into_record()).await.unwrap();
    producer.flush().await.unwrap();
    sent.await.unwrap();
    let records = cluster.records("t-sent").await.unwrap();
    assert_eq!(records.len(), 1);
    assert_changed(&records[0]);
    // The report of a close has it, too.
    producer.enqueue_detached(record()).await.unwrap();
    let report = producer.close_timeout(Duration::ZERO).await;
    assert_unchanged(report.records()[0].record());
}

#[tokio::test]
async fn the_records_of_a_refused_batch_are_changed_once() {
    let cluster = cluster("t-sent", 1);
    let slow = |config: &mut ClientConfig| {
        config.set("linger.ms", "50");
    };
    let producer = hooked(&cluster, slow, change_all).await;
    producer.send(record()).await.unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRecord]);
    let results = producer.send_all([record(), record()]);
    let results = results.resend_refused_batches();
    assert!(results.all(async |result| result.is_ok()).await);
    assert_eq!(producer.context().calls(), 5);
    let records = cluster.records("t-sent").await.unwrap();
    assert_eq!(records.len(), 3);
    records.iter().for_each(assert_changed);
}

/// The call asks for the partition several times.
#[tokio::test]
async fn a_record_that_waits_for_its_partition_is_seen_once() {
    let cluster = cluster("t-sent", 1);
    let producer = hooked(
        &cluster,
        |_| (),
        |record| {
            change_all(record);
            record.set_partition(7);
        },
    )
    .await;
    let error = producer.send(record()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::UnknownPartition));
    assert_unchanged(error.record());
    assert_eq!(producer.context().calls(), 1);
}

#[tokio::test]
async fn the_limits_count_what_it_makes_of_the_payload() {
    let cluster = cluster("t", 1);
    let one_kilobyte = |config: &mut ClientConfig| {
        config
            .set("queue.buffering.max.kbytes", "1")
            .set("linger.ms", "60000");
    };
    // Payloads of 10 bytes become larger than half of the queue.
    let grow = |record: &mut InterceptedRecord<'_, '_>| record.set_payload(vec![b'x'; 600]);
    let producer = hooked(&cluster, one_kilobyte, grow).await;
    let small = || ProducerRecord::to("t").payload("0123456789");
    let first = producer.try_enqueue(small()).unwrap();
    let error = producer.try_enqueue(small()).unwrap_err();
    assert!(error.is_queue_full(), "{error}");
    assert_eq!(error.record().get_payload(), Some(&b"0123456789"[..]));
    producer.flush().await.unwrap();
    first.await.unwrap();
    // A reservation is for the changed payload.
    let error = producer
        .reserve_bytes(10)
        .await
        .unwrap()
        .send(small())
        .await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("600 bytes"), "{error}");
    assert_eq!(error.record().get_payload(), Some(&b"0123456789"[..]));
    let delivery = producer.reserve_bytes(600).await.unwrap().send(small());
    producer.flush().await.unwrap();
    delivery.await.unwrap();
    // All bytes are there again: neither more nor less was released than acquired.
    drop(producer.reserve_bytes(1024).await.unwrap());
    // One that shrinks records lets in what would be too large.
    let shrink = |record: &mut InterceptedRecord<'_, '_>| record.set_payload("x");
    let producer = hooked(&cluster, one_kilobyte, shrink).await;
    let large = ProducerRecord::to("t").payload(vec![b'v'; 5_000]);
    let delivery = producer.try_enqueue(large).unwrap();
    producer.flush().await.unwrap();
    delivery.await.unwrap();
    drop(producer.reserve_bytes(1024).await.unwrap());
}

/// What panics after it has changed something has changed nothing.
#[tokio::test]
async fn a_panic_loses_no_record() {
    let (_guard, log) = captured(Level::INFO);
    let cluster = cluster("t", 1);
    let producer = hooked(
        &cluster,
        |_| (),
        |record| {
            change_all(record);
            panic!("as asked");
        },
    )
    .await;
    let sent = send_by_each(&producer).await;
    assert_eq!(producer.callback_panics(), sent as u64);
    assert_eq!(producer.close().await.failed, 0);
    let records = cluster.records("t").await.unwrap();
    assert_eq!(records.len(), sent);
    for message in records {
        assert_eq!(message.payload(), Some(&b"v"[..]));
        assert_eq!(message.headers(), &Headers::new().append("h", "0"));
    }
    assert!(
        log().contains("callback=\"on_send\" panic=\"as asked\""),
        "{}",
        log()
    );
}

/// It is called without a lock.
#[tokio::test]
async fn it_may_send_records_itself() {
    let cluster = cluster("t", 1);
    // Otherwise it may be asked for its records before a client has had it created.
    cluster.create_topic("audit", 1, 1).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    let audit = producer.clone();
    let mut transactional: TransactionalProducer<Arc<Hooked>> = config(&cluster)
        .set("transactional.id", "tests")
        .create_with_context(Hooked::new(move |record| {
            let topic = format!("audit of {}", record.topic());
            audit
                .try_enqueue_detached(ProducerRecord::to("audit").payload(topic))
                .unwrap();
        }))
        .unwrap();
    transactional.init(DEADLINE).await.unwrap();
    let transaction = transactional.begin().await.unwrap();
    transaction.send(record()).await.unwrap();
    transaction.commit().await.unwrap();
    until_records(&cluster, "audit", 1).await;
    assert_eq!(payloads(&cluster, "audit").await, ["audit of t"]);
}

/// librdkafka borrows the payload that the hook has set, and the caller's is kept meanwhile.
#[tokio::test]
async fn payloads_that_were_replaced_are_dropped_once() {
    struct Counted(Arc<AtomicUsize>);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &[b'v'; 2_000]
        }
    }
    impl std::ops::Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("as asked");
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = |drops: &Arc<AtomicUsize>| bytes::Bytes::from_owner(Counted(Arc::clone(drops)));
    let cluster = cluster("t", 1);
    let hooks_drops = Arc::clone(&drops);
    let producer = hooked(
        &cluster,
        |_| (),
        move |record| {
            record.set_payload(bytes::Bytes::from_owner(Counted(Arc::clone(&hooks_drops))));
        },
    )
    .await;
    let record = ProducerRecord::to("t").payload(counted(&drops));
    producer.send(record).await.unwrap();
    until(|| drops.load(Ordering::SeqCst) == 2).await;
    let invalid = ProducerRecord::to("t")
        .partition(-2)
        .payload(counted(&drops));
    let error = producer.send(invalid).await.unwrap_err();
    assert_eq!(drops.load(Ordering::SeqCst), 3);
    let payload = error.record().get_payload().unwrap();
    assert_eq!(payload.len(), 2_000);
    // Its drop would panic here.
    std::mem::forget(error);
    assert_eq!(producer.close().await.failed, 0);
}
