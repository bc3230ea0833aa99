//! The asynchronous producer on the mock cluster.

use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{StreamExt, stream};
use tokio_rdkafka::{
    ApiKey, BaseProducer, ClientConfig, Headers, KafkaError, MockCluster, MockRequest, Persistence,
    Producer, ProducerContext, ProducerRecord, PurgeConfig, RDKafkaErrorCode, SendError,
    WeakProducer,
};

use crate::support::mock::{
    Counting, DEADLINE, cluster, config, payloads, produce_requests, until, until_records,
};

#[tokio::test]
async fn send_resolves_with_increasing_offsets() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    for expected in 0..10 {
        let delivery = producer
            .send(ProducerRecord::to("t").payload("v"))
            .await
            .unwrap();
        assert_eq!(delivery.partition(), 0);
        assert_eq!(delivery.offset(), Some(expected));
        assert_eq!(delivery.persistence(), Persistence::Persisted);
        assert_eq!(delivery.broker_id(), Some(1));
        assert!(delivery.latency() > Duration::ZERO);
    }
    assert_eq!(producer.in_flight_count(), 0);
}

#[tokio::test]
async fn a_record_arrives_as_it_was_given() {
    let cluster = cluster("t", 3);
    let producer: Producer = config(&cluster).create().unwrap();
    let headers = Headers::new()
        .append("h", Some("1"))
        .append("h", Some(&[0xff, 0x00, 0xfe]))
        .append("null", None::<&str>)
        .append("empty", Some(""));
    let record = ProducerRecord::to("t")
        .key("key")
        .payload([0, 159, 146, 150])
        .partition(2)
        .timestamp(1_234_567_890_123)
        .headers(headers.clone());
    producer.send(record).await.unwrap();
    producer
        .send(ProducerRecord::to("t").partition(2))
        .await
        .unwrap();
    producer
        .send(ProducerRecord::to("t").key("").payload("").partition(2))
        .await
        .unwrap();

    let records = cluster.records("t").await.unwrap();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].partition(), 2);
    assert_eq!(records[0].key(), Some(&b"key"[..]));
    assert_eq!(records[0].payload(), Some(&[0, 159, 146, 150][..]));
    assert_eq!(records[0].headers(), &headers);
    assert_eq!(records[0].timestamp().to_millis(), Some(1_234_567_890_123));
    assert_eq!((records[1].key(), records[1].payload()), (None, None));
    assert_eq!(
        (records[2].key(), records[2].payload()),
        (Some(&b""[..]), Some(&b""[..]))
    );
}

#[tokio::test]
async fn enqueue_fixes_the_order() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let mut futures = Vec::new();
    for index in 0..5_000 {
        let record = ProducerRecord::to("t").payload(index.to_string());
        futures.push(producer.enqueue(record).await.unwrap());
    }
    for (index, delivery) in join_all(futures).await.into_iter().enumerate() {
        assert_eq!(delivery.unwrap().offset(), Some(index as i64));
    }
    let expected: Vec<_> = (0..5_000).map(|index| index.to_string()).collect();
    assert_eq!(payloads(&cluster, "t").await, expected);
}

#[tokio::test]
async fn a_failed_delivery_gives_the_record_back_as_it_was_given() {
    let cluster = cluster("t", 4);
    let producer: Producer = config(&cluster).set("retries", "0").create().unwrap();
    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::InvalidRequiredAcks]);
    let headers = Headers::new().append("h", Some("v"));
    let record = ProducerRecord::to("t")
        .key("k")
        .payload("p")
        .timestamp(99)
        .headers(headers.clone());
    let error = producer.send(record).await.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::InvalidRequiredAcks));
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert!(!error.is_retriable());
    let record = error.into_record();
    // As requested: none, although the partitioner had chosen one.
    assert_eq!(
        (record.get_partition(), record.get_timestamp()),
        (None, Some(99))
    );
    assert_eq!(
        (record.get_key(), record.get_payload()),
        (Some(&b"k"[..]), Some(&b"p"[..]))
    );
    assert_eq!(record.get_headers(), &headers);
    producer.send(record).await.unwrap();
}

#[tokio::test]
async fn no_offset_is_invented_without_acknowledgements() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("acks", "0")
        .set("linger.ms", "50")
        .create()
        .unwrap();
    let mut futures = Vec::new();
    // More than 1 001 in a batch: librdkafka counts up from −1001.
    for _ in 0..3_000 {
        futures.push(
            producer
                .enqueue(ProducerRecord::to("t").payload("v"))
                .await
                .unwrap(),
        );
    }
    for delivery in join_all(futures).await {
        let delivery = delivery.unwrap();
        assert_eq!(delivery.offset(), None);
        assert_eq!(delivery.persistence(), Persistence::PossiblyPersisted);
    }
}

#[tokio::test]
async fn an_unknown_partition_is_an_error_with_the_record() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    producer
        .send(ProducerRecord::to("t").payload("known now"))
        .await
        .unwrap();
    let error = producer
        .send(ProducerRecord::to("t").payload("p").partition(7))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::UnknownPartition));
    let (record, opaque, _) = error.into_parts();
    assert_eq!((record.get_partition(), opaque), (Some(7), Some(())));
    assert_eq!(producer.in_flight_count(), 0);
}

/// Those that wait share the answers; those that come later do not wait.
#[tokio::test]
async fn a_partition_that_never_appears_costs_a_few_requests_and_says_how_many_there_are() {
    let cluster = cluster("t", 3);
    let producer: Producer = config(&cluster).create().unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    cluster.start_request_tracking();
    let to = || producer.send(ProducerRecord::to("t").payload("p").partition(7));
    // Each after the other, they would take 1500 s.
    let started = Instant::now();
    let results = join_all((0..500).map(|_| to())).await;
    assert!(started.elapsed() < DEADLINE);
    for result in results {
        assert_does_not_exist(&result.unwrap_err());
    }
    let started = Instant::now();
    for _ in 0..500 {
        to().await.unwrap_err();
    }
    assert!(started.elapsed() < DEADLINE);
    // An answer that was late tells of no partitions.
    let started = Instant::now();
    while !assert_does_not_exist(&to().await.unwrap_err()) {
        assert!(started.elapsed() < DEADLINE);
    }
    let requests = cluster.requests();
    let metadata = requests
        .iter()
        .filter(|it| it.api_key() == ApiKey::Metadata);
    let count = metadata.count();
    // At most one in 20 ms for 3 s, and one a second then: far fewer than there are records.
    assert!((1..300).contains(&count), "{count} requests");
    assert_eq!(producer.in_flight_count(), 0);
}

/// The error says so, and how many partitions there are unless the answer was late. Returns whether
/// it says how many.
fn assert_does_not_exist(error: &SendError) -> bool {
    let text = error.to_string();
    assert!(
        text.contains("partition 7 of topic \"t\" does not exist"),
        "{text}"
    );
    let says_how_many = text.contains("3 partitions");
    assert!(says_how_many || error.source().is_some(), "{text}");
    says_how_many
}

/// They do not wait for the request of one another.
#[tokio::test]
async fn brokers_that_do_not_answer_hold_up_many_unknown_partitions_no_longer_than_one() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    let minute = Duration::from_secs(60);
    cluster.broker_round_trip_time(-1, minute).unwrap();
    let to = || producer.enqueue(ProducerRecord::to("t").payload("p").partition(7));
    let started = Instant::now();
    for result in join_all((0..20).map(|_| to())).await {
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(RDKafkaErrorCode::UnknownPartition));
        assert!(error.source().is_some(), "{error}");
    }
    // Each after the other, they would take 60 s.
    assert!(started.elapsed() < Duration::from_secs(30));
    // It is too late to wait for the partition, which would be 3 s each time.
    let started = Instant::now();
    for _ in 0..5 {
        to().await.unwrap_err();
    }
    assert!(started.elapsed() < Duration::from_secs(12));
    assert_eq!(producer.in_flight_count(), 0);
}

#[tokio::test]
async fn the_wait_for_a_partition_ends_at_the_callers_time_limit() {
    const TOPICS: [&str; 5] = ["1", "2", "3", "4", "5"];
    let cluster = MockCluster::new(1).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    for topic in TOPICS {
        cluster.create_topic(topic, 1, 1).unwrap();
        producer.send(ProducerRecord::to(topic)).await.unwrap();
    }
    let limit = Duration::from_millis(100);
    let started = Instant::now();
    for topic in TOPICS {
        let record = ProducerRecord::to(topic).payload("p").partition(7);
        let error = producer.send_timeout(record, limit).await.unwrap_err();
        assert_eq!(error.code(), Some(RDKafkaErrorCode::UnknownPartition));
    }
    // Without it, each would take 3 s.
    assert!(started.elapsed() < Duration::from_secs(12));
}

#[tokio::test]
async fn a_call_that_does_not_wait_asks_for_an_unknown_partition_once() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    cluster.start_request_tracking();
    for _ in 0..100 {
        let refused = producer.try_enqueue(ProducerRecord::to("t").partition(7));
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("partition 7 of topic \"t\" is not known"),
            "{error}"
        );
    }
    let is_metadata = |it: &MockRequest| it.api_key() == ApiKey::Metadata;
    until(|| cluster.requests().iter().any(is_metadata)).await;
    producer.close().await;
    let count = cluster.requests().into_iter().filter(is_metadata).count();
    assert!(count < 20, "{count} requests");
}

#[tokio::test]
async fn a_record_over_the_clients_own_limit_names_it_with_the_size() {
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    config.set("message.max.bytes", "2000");
    let producer: Producer = config.create().unwrap();
    let base: BaseProducer = config.create().unwrap();
    let headers = Headers::new().append("h", Some(&[0; 100]));
    let key = [0; 50];
    // 36 bytes of framing, and 1 + 100 + 1 + 2 for the header.
    let record = |payload| {
        let record = ProducerRecord::to("t").payload(vec![0; payload]).key(key);
        record.headers(headers.clone())
    };
    producer.send(record(1_810)).await.unwrap();
    let errors = [
        producer.send(record(1_811)).await.unwrap_err().to_string(),
        producer.try_enqueue(record(1_811)).unwrap_err().to_string(),
        producer
            .reserve()
            .await
            .unwrap()
            .send(record(1_811))
            .await
            .unwrap_err()
            .to_string(),
        base.send(record(1_811)).unwrap_err().to_string(),
    ];
    for error in errors {
        assert!(error.contains("up to 2001 bytes"), "{error}");
        assert!(
            error.contains("message.max.bytes of this producer allows 2000"),
            "{error}"
        );
    }
    let plain = (0..2).map(|_| {
        ProducerRecord::to("t")
            .key(vec![0; 1_990])
            .payload("12345678901")
    });
    let results: Vec<_> = producer.send_all(plain).collect().await;
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.error().field(), Some("payload"));
        assert!(error.to_string().contains("up to 2037 bytes"), "{error}");
    }
}

#[tokio::test]
async fn the_error_of_a_record_that_found_no_capacity_tells_how_long_it_waited() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .create()
        .unwrap();
    cluster.broker_down(1).unwrap();
    let first = producer.try_enqueue(ProducerRecord::to("t")).unwrap();
    let limit = Duration::from_millis(300);
    let send = producer.send_timeout(ProducerRecord::to("t"), limit);
    let error = send.await.unwrap_err();
    assert!(error.is_queue_full());
    assert!(
        error.waited_for_capacity() >= Duration::from_millis(200),
        "{error}"
    );
    assert!(error.latency().is_none());
    assert!(error.to_string().contains(" s for capacity): "), "{error}");
    producer.close_timeout(Duration::ZERO).await;
    first.await.unwrap_err();
}

/// librdkafka does not tell that it is about the topic, nor that replicas are missing.
#[tokio::test]
async fn a_time_out_without_a_failed_broker_names_other_reasons() {
    let cluster = cluster("t", 1);
    cluster.partition_leader("t", 0, None).unwrap();
    let producer: Producer = config(&cluster)
        .set("message.timeout.ms", "1000")
        .create()
        .unwrap();
    let error = producer.send(ProducerRecord::to("t")).await.unwrap_err();
    assert_eq!(error.code(), Some(RDKafkaErrorCode::MessageTimedOut));
    assert!(std::error::Error::source(&error).is_none());
    let text = error.to_string();
    assert!(
        text.contains("Local: Message timed out, and no broker"),
        "{text}"
    );
    assert!(text.contains("may have no leader"), "{text}");
    producer.close().await;
}

/// One line tells how long it waited for what, and why no broker took it.
#[tokio::test]
async fn the_error_of_a_record_that_waited_tells_its_story() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .set("message.timeout.ms", "1000")
        .create()
        .unwrap();
    // On a busy machine the first may time out.
    while producer.send(ProducerRecord::to("t")).await.is_err() {}
    cluster.broker_down(1).unwrap();
    producer.ready(DEADLINE).await.unwrap_err();
    let first = producer.send(ProducerRecord::to("t")).await.unwrap_err();
    let permit = producer.try_reserve().unwrap();
    let mut second = pin!(producer.send(ProducerRecord::to("t")));
    assert!(futures::poll!(&mut second).is_pending());
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(permit);
    let second = second.await.unwrap_err();
    assert!(first.waited_for_capacity().is_zero());
    assert!(!first.to_string().contains("for capacity"), "{first}");
    assert!(second.waited_for_capacity() >= Duration::from_millis(500));
    for error in [first, second] {
        assert!(error.latency().unwrap() >= Duration::from_millis(900));
        let text = error.to_string();
        assert!(text.contains(" s in the queue): "), "{text}");
        let source = std::error::Error::source(&error).expect("the failure of a broker");
        assert!(source.to_string().contains("127.0.0.1"), "{source}");
        if !error.waited_for_capacity().is_zero() {
            assert!(text.contains(" s for capacity, "), "{text}");
        }
    }
}

/// librdkafka itself says no more than that the topic is unknown.
#[tokio::test]
async fn a_topic_that_was_refused_keeps_the_brokers_reason() {
    let cluster = cluster("t", 1);
    let code = RDKafkaErrorCode::InvalidTopic;
    cluster.topic_error("t", code).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    let first = producer.send(ProducerRecord::to("t")).await.unwrap_err();
    assert_eq!(first.code(), Some(code), "{first}");
    let second = producer.send(ProducerRecord::to("t")).await.unwrap_err();
    assert_eq!(
        second.code(),
        Some(RDKafkaErrorCode::UnknownTopic),
        "{second}"
    );
    let cause = std::error::Error::source(&second).expect("the reason");
    let cause = cause
        .downcast_ref::<KafkaError>()
        .expect("an error of Kafka");
    assert_eq!(cause.code(), Some(code));
}

#[tokio::test]
async fn callbacks_run_once_for_each_message_before_its_future() {
    let cluster = cluster("t", 1);
    let producer = Producer::builder(&config(&cluster))
        .context(Counting::default())
        .create()
        .unwrap();
    for index in 0..100 {
        let record = ProducerRecord::with_opaque_to("t", index).payload("v");
        let future = producer.enqueue(record).await.unwrap();
        if index % 2 == 0 {
            future.await.unwrap();
            assert!(producer.context().seen().contains(&index));
        }
        producer
            .enqueue_detached(ProducerRecord::with_opaque_to("t", 1_000 + index))
            .await
            .unwrap();
        producer
            .try_enqueue_detached(ProducerRecord::with_opaque_to("t", 2_000 + index))
            .unwrap();
    }
    producer.flush().await.unwrap();
    let mut seen = producer.context().seen();
    seen.sort_unstable();
    let expected: Vec<_> = (0..100).chain(1_000..1_100).chain(2_000..2_100).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_panicking_callback_stalls_nothing() {
    struct Panicking;
    impl tokio_rdkafka::ClientContext for Panicking {}
    impl ProducerContext for Panicking {
        type DeliveryOpaque = bool;
        fn delivery(&self, _: &tokio_rdkafka::DeliveryResult<'_>, panics: bool) {
            assert!(!panics, "as asked");
        }
    }
    let cluster = cluster("t", 1);
    let producer = Producer::builder(&config(&cluster))
        .context(Panicking)
        .create()
        .unwrap();
    producer
        .send(ProducerRecord::with_opaque_to("t", true))
        .await
        .unwrap();
    assert_eq!(producer.callback_panics(), 1);
    for _ in 0..1_000 {
        let record = ProducerRecord::with_opaque_to("t", false);
        drop(producer.enqueue(record).await.unwrap());
    }
    let report = producer.flush().await.unwrap();
    assert_eq!(report.failed, 0);
    assert_eq!(producer.callback_panics(), 1);
    assert_eq!(cluster.records("t").await.unwrap().len(), 1_001);
}

#[tokio::test]
async fn flush_does_not_wait_for_linger() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "60000").create().unwrap();
    let started = Instant::now();
    let mut futures = Vec::new();
    for _ in 0..10 {
        futures.push(
            producer
                .enqueue(ProducerRecord::to("t").payload("v"))
                .await
                .unwrap(),
        );
    }
    let report = producer.flush().await.unwrap();
    assert_eq!((report.delivered, report.failed), (10, 0));
    assert!(started.elapsed() < Duration::from_secs(30));
    for future in futures {
        future.await.unwrap();
    }
    assert_eq!(producer.flush().await.unwrap().delivered, 0);
}

#[tokio::test]
async fn flush_at_its_time_says_how_many_are_left() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    for _ in 0..3 {
        producer
            .enqueue_detached(ProducerRecord::to("t").payload("v"))
            .await
            .unwrap();
    }
    let error = producer
        .flush_timeout(Duration::from_millis(10))
        .await
        .unwrap_err();
    assert!(error.is_timed_out());
    assert_eq!(error.remaining(), 3);
    cluster.broker_up(1).unwrap();
    assert_eq!(producer.flush().await.unwrap().delivered, 3);
}

#[tokio::test]
async fn purge_resolves_what_it_gives_up() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "60000").create().unwrap();
    let mut futures = Vec::new();
    for index in 0..20 {
        let record = ProducerRecord::to("t").payload(index.to_string());
        futures.push(producer.enqueue(record).await.unwrap());
    }
    assert_eq!(
        producer
            .purge(PurgeConfig::default().queue().inflight())
            .await,
        20
    );
    for (index, result) in join_all(futures).await.into_iter().enumerate() {
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some(RDKafkaErrorCode::PurgeQueue));
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert_eq!(
            error.record().get_payload(),
            Some(index.to_string().as_bytes())
        );
    }
    assert_eq!(producer.in_flight_count(), 0);
}

#[tokio::test]
async fn a_producer_serves_a_thread_outside_of_the_runtime() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "5")
        .create()
        .unwrap();
    let worker = {
        let producer = producer.clone();
        std::thread::spawn(move || {
            (0..200)
                .map(|index| {
                    let record = ProducerRecord::to("t").payload(index.to_string());
                    producer.blocking_enqueue(record).unwrap()
                })
                .collect::<Vec<_>>()
        })
    };
    let futures = tokio::task::spawn_blocking(move || worker.join().unwrap())
        .await
        .unwrap();
    for (index, delivery) in join_all(futures).await.into_iter().enumerate() {
        assert_eq!(delivery.unwrap().offset(), Some(index as i64));
    }
}

#[tokio::test]
async fn a_context_sends_from_its_callback_through_a_weak_handle() {
    #[derive(Default)]
    struct Resending {
        producer: std::sync::OnceLock<WeakProducer<Arc<Resending>>>,
        resent: AtomicUsize,
    }
    impl tokio_rdkafka::ClientContext for Resending {}
    impl ProducerContext for Resending {
        type DeliveryOpaque = u32;
        fn delivery(&self, _: &tokio_rdkafka::DeliveryResult<'_>, left: u32) {
            let producer = self.producer.get().and_then(WeakProducer::upgrade);
            if let (Some(producer), 1..) = (producer, left) {
                let record = ProducerRecord::with_opaque_to("t", left - 1);
                producer.try_enqueue_detached(record).unwrap();
                self.resent.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    let cluster = cluster("t", 1);
    let context = Arc::new(Resending::default());
    let producer = Producer::builder(&config(&cluster))
        .context(Arc::clone(&context))
        .create()
        .unwrap();
    context.producer.set(producer.downgrade()).unwrap();
    producer
        .send(ProducerRecord::with_opaque_to("t", 10))
        .await
        .unwrap();
    until(|| context.resent.load(Ordering::SeqCst) == 10 && producer.in_flight_count() == 0).await;
    drop(producer);
    assert!(context.producer.get().unwrap().upgrade().is_none());
    until_records(&cluster, "t", 11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_a_small_queue() {
    let cluster = cluster("t", 4);
    let producer: Producer = config(&cluster)
        .set("queue.buffering.max.messages", "50")
        .create()
        .unwrap();
    let tasks = (0..8).map(|task| {
        let producer = producer.clone();
        tokio::spawn(async move {
            for index in 0..500 {
                let payload = format!("{task}-{index}");
                producer
                    .send(ProducerRecord::to("t").payload(payload))
                    .await
                    .unwrap();
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(cluster.records("t").await.unwrap().len(), 4_000);
}

#[test]
fn without_a_time_driver_all_but_the_timed_forms_work() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let cluster = cluster("t", 1);
        let producer: Producer = config(&cluster)
            .set("queue.buffering.max.messages", "2")
            .create()
            .unwrap();
        let sends = (0..20).map(|_| producer.send(ProducerRecord::to("t").payload("v")));
        for delivery in join_all(sends).await {
            delivery.unwrap();
        }
        producer.flush().await.unwrap();
        producer.purge(PurgeConfig::default().queue()).await;
        let report = producer.close_timeout(Duration::from_secs(60)).await;
        assert_eq!(report.failed, 0);
    });
}

#[test]
fn a_producer_is_made_for_a_runtime_from_outside() {
    let cluster = cluster("t", 1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let outside: Result<Producer, KafkaError> = config(&cluster).create();
    assert!(outside.unwrap_err().to_string().contains("runtime"));
    let config = config(&cluster);
    let producer = Producer::builder(&config)
        .runtime(runtime.handle().clone())
        .create()
        .unwrap();
    let future = producer
        .blocking_enqueue(ProducerRecord::to("t").payload("v"))
        .unwrap();
    // Its future needs no runtime at all.
    assert_eq!(
        futures::executor::block_on(future).unwrap().offset(),
        Some(0)
    );
}

#[tokio::test]
async fn a_dropped_future_does_not_cancel_its_message() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "60000").create().unwrap();
    drop(
        producer
            .enqueue(ProducerRecord::to("t").payload("kept"))
            .await
            .unwrap(),
    );
    {
        let mut send = std::pin::pin!(producer.send(ProducerRecord::to("t").payload("kept too")));
        assert!(matches!(futures::poll!(&mut send), Poll::Pending));
    }
    producer.flush().await.unwrap();
    assert_eq!(payloads(&cluster, "t").await, ["kept", "kept too"]);
}

#[tokio::test]
async fn several_producers_share_a_context_and_a_runtime() {
    let cluster: MockCluster = cluster("t", 1);
    let context = Arc::new(Counting::default());
    let mut producers = Vec::new();
    for _ in 0..16 {
        let config = config(&cluster);
        producers.push(
            Producer::builder(&config)
                .context(Arc::clone(&context))
                .create()
                .unwrap(),
        );
    }
    let sends = producers
        .iter()
        .enumerate()
        .map(|(index, producer)| producer.send(ProducerRecord::with_opaque_to("t", index)));
    for delivery in join_all(sends).await {
        delivery.unwrap();
    }
    let mut seen = context.seen();
    seen.sort_unstable();
    assert_eq!(seen, (0..16).collect::<Vec<_>>());
}

/// Tasks that wait by the thousand, and `buffer_unordered`, keep and move them.
#[tokio::test]
async fn a_waiting_send_is_small() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let record = || ProducerRecord::to("t").payload("v");
    let of_record = size_of_val(&record());
    assert!(size_of_val(&producer.send(record())) <= of_record + 184);
    assert!(size_of_val(&producer.enqueue(record())) <= of_record + 176);
}

/// As the method's documentation says.
#[test]
fn an_enqueue_yields_once_in_1024_although_there_is_capacity() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = cluster("t", 1);
    let _entered = runtime.enter();
    let producer: Producer = config(&cluster).create().unwrap();
    let polled = || {
        let record = ProducerRecord::to("t").payload("v");
        futures::FutureExt::now_or_never(producer.enqueue(record))
    };
    // This thread has enqueued nothing before.
    let none: Vec<_> = (1..=3072).filter(|_| polled().is_none()).collect();
    assert_eq!(none, [1024, 2048, 3072]);
    // Its record was not sent, and `try_enqueue` does not yield.
    assert_eq!(runtime.block_on(producer.flush()).unwrap().failed, 0);
    assert!((0..3072).all(|_| producer.try_enqueue(ProducerRecord::to("t")).is_ok()));
    let report = runtime.block_on(producer.close());
    assert_eq!(report.failed + report.undelivered, 0);
    let arrived = runtime.block_on(cluster.records("t")).unwrap();
    assert_eq!(arrived.len(), 2 * 3072 - 3);
}

/// Without linger, what comes while requests are under way goes together into the next one.
#[tokio::test]
async fn concurrent_sends_without_linger_share_requests() {
    const SENDERS: usize = 256;
    const RECORDS: usize = 10_000;
    let cluster = cluster("t", 4);
    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("linger.ms", "0")
        .create()
        .unwrap();
    // One after another, each leaves at once.
    cluster.start_request_tracking();
    for _ in 0..5 {
        producer.send(ProducerRecord::to("t")).await.unwrap();
    }
    assert_eq!(produce_requests(&cluster), 5);
    cluster
        .broker_round_trip_time(-1, Duration::from_millis(40))
        .unwrap();
    let sends = (0..RECORDS).map(|_| producer.send(ProducerRecord::to("t").payload("v")));
    let mut sends = stream::iter(sends).buffer_unordered(SENDERS);
    while let Some(sent) = sends.next().await {
        sent.unwrap();
    }
    drop(sends);
    // One a round trip at most. With librdkafka's defaults, these are 750 and more.
    let requests = produce_requests(&cluster) - 5;
    assert!(requests <= 400, "{requests} requests");
    producer.close().await;
}
