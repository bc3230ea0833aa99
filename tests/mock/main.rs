//! The mock cluster, as producers and readers see it.
#![cfg(feature = "mock")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::types::RDKafkaErrorCode as ProducerErrorCode;
use tokio_rdkafka::{
    ApiKey, MockCluster, MockCoordinator, OwnedMessage, RDKafkaErrorCode, Timestamp,
};

fn producer(cluster: &MockCluster, extra: &[(&str, &str)]) -> FutureProducer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("linger.ms", "0")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "50");
    for &(name, value) in extra {
        config.set(name, value);
    }
    config.create().expect("a producer")
}

/// Sends, and awaits the delivery.
async fn send(producer: &FutureProducer, topic: &str, payload: &str) -> Result<i64, String> {
    let record = FutureRecord::<(), _>::to(topic)
        .partition(0)
        .payload(payload);
    match producer.send(record, Duration::ZERO).await {
        Ok(delivery) => Ok(delivery.offset),
        Err((error, _)) => Err(format!("{:?}", error.rdkafka_error_code())),
    }
}

fn payloads(records: &[OwnedMessage]) -> Vec<&str> {
    let payloads = records.iter().map(|record| record.payload().unwrap());
    payloads
        .map(|payload| std::str::from_utf8(payload).unwrap())
        .collect()
}

async fn code_of_records(cluster: &MockCluster, topic: &str) -> RDKafkaErrorCode {
    let error = cluster.records(topic).await.unwrap_err();
    error.code().expect("a code")
}

fn produce_requests(cluster: &MockCluster) -> Vec<i32> {
    let requests = cluster.requests().into_iter();
    requests
        .filter(|request| request.api_key() == ApiKey::Produce)
        .map(|request| request.broker_id())
        .collect()
}

#[tokio::test]
async fn records_come_back_byte_for_byte_and_in_order() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 2, 1).unwrap();
    let producer = producer(&cluster, &[("compression.codec", "lz4")]);

    let bytes: Vec<u8> = (0..=255).collect();
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "null",
            value: None::<&[u8]>,
        })
        .insert(Header {
            key: "empty",
            value: Some(b"" as &[u8]),
        })
        .insert(Header {
            key: "bytes",
            value: Some(&bytes),
        })
        .insert(Header {
            key: "bytes",
            value: Some("again"),
        });
    type Case<'a> = (i32, Option<&'a [u8]>, Option<&'a [u8]>);
    let cases: [Case; 5] = [
        (1, Some(b"key"), Some(b"in the second partition")),
        (0, Some(&bytes), Some(&bytes)),
        (0, Some(b"tombstone"), None),
        (0, None, Some(b"")),
        (0, Some(b""), Some(b"empty key")),
    ];
    for (index, (partition, key, payload)) in cases.into_iter().enumerate() {
        let mut record = FutureRecord::to("t")
            .partition(partition)
            .timestamp(1_700_000_000_000 + i64::try_from(index).unwrap());
        record.key = key;
        record.payload = payload;
        if index == 1 {
            record = record.headers(headers.clone());
        }
        let delivery = producer.send(record, Duration::ZERO).await.unwrap();
        assert_eq!(
            delivery.timestamp,
            rdkafka::Timestamp::LogAppendTime(1234),
            "the limit that the docs tell of"
        );
    }

    let records = cluster.records("t").await.unwrap();
    let found: Vec<_> = records
        .iter()
        .map(|record| (record.partition(), record.key(), record.payload()))
        .collect();
    assert_eq!(found[..4], cases[1..]);
    assert_eq!(found[4], cases[0]);
    let offsets: Vec<_> = records.iter().map(|record| record.offset()).collect();
    assert_eq!(offsets, [Some(0), Some(1), Some(2), Some(3), Some(0)]);
    assert!(records.iter().all(|record| record.topic() == "t"));
    assert_eq!(
        records[2].timestamp(),
        Timestamp::CreateTime(1_700_000_000_003)
    );

    let headers: Vec<_> = records[0]
        .headers()
        .iter()
        .map(|header| (header.name, header.value))
        .collect();
    assert_eq!(
        headers,
        [
            ("null", None),
            ("empty", Some(b"" as &[u8])),
            ("bytes", Some(&bytes[..])),
            ("bytes", Some(b"again")),
        ]
    );
    assert!(records[1].headers().is_empty());
}

#[tokio::test]
async fn many_records_in_many_partitions() {
    const COUNT: usize = 5_000;
    let cluster = MockCluster::new(3).unwrap();
    let producer = producer(&cluster, &[("linger.ms", "5")]);
    let deliveries: Vec<_> = (0..COUNT)
        .map(|index| {
            let payload = index.to_string();
            let record = FutureRecord::to("auto").key(&payload).payload(&payload);
            producer.send_result(record).unwrap()
        })
        .collect();
    for delivery in deliveries {
        delivery.await.unwrap().unwrap();
    }
    let records = cluster.records("auto").await.unwrap();
    assert_eq!(records.len(), COUNT);
    assert_eq!(
        records.last().unwrap().partition(),
        3,
        "four partitions by default"
    );
    for pair in records.windows(2) {
        let place = |record: &OwnedMessage| (record.partition(), record.offset().unwrap());
        assert!(place(&pair[0]) < place(&pair[1]));
    }
}

#[tokio::test]
async fn records_of_nothing() {
    let cluster = MockCluster::new(2).unwrap();
    for topic in ["nowhere", "nowhere"] {
        // Looking for it does not create it.
        let code = code_of_records(&cluster, topic).await;
        assert_eq!(code, RDKafkaErrorCode::UnknownTopicOrPartition);
    }
    assert_eq!(
        code_of_records(&cluster, "").await,
        RDKafkaErrorCode::InvalidArgument
    );
    assert_eq!(
        code_of_records(&cluster, "a\0b").await,
        RDKafkaErrorCode::InvalidArgument
    );

    cluster.create_topic("t", 3, 2).unwrap();
    assert!(cluster.records("t").await.unwrap().is_empty());

    let error = RDKafkaErrorCode::TopicAuthorizationFailed;
    cluster.topic_error("t", error).unwrap();
    assert_eq!(code_of_records(&cluster, "t").await, error);
    cluster.topic_error("t", RDKafkaErrorCode::NoError).unwrap();
    assert!(cluster.records("t").await.unwrap().is_empty());

    cluster.partition_leader("t", 1, None).unwrap();
    let code = code_of_records(&cluster, "t").await;
    assert_eq!(code, RDKafkaErrorCode::LeaderNotAvailable);
}

#[tokio::test]
async fn a_dropped_read_is_harmless() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    {
        let mut reading = pin!(cluster.records("t"));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(reading.as_mut().poll(&mut cx), Poll::Pending));
    }
    assert!(cluster.records("t").await.unwrap().is_empty());
    // And one whose thread outlives the cluster.
    let mut reading = Box::pin(cluster.records("t"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(reading.as_mut().poll(&mut cx), Poll::Pending));
    drop(reading);
    drop(cluster);
}

#[tokio::test]
async fn request_errors_fail_the_next_requests() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let producer = producer(&cluster, &[]);

    cluster.request_errors(
        ApiKey::Produce,
        &[
            RDKafkaErrorCode::InvalidRecord,
            RDKafkaErrorCode::NoError,
            RDKafkaErrorCode::InvalidRecord,
        ],
    );
    let failed = |code: ProducerErrorCode| Err(format!("{:?}", Some(code)));
    assert_eq!(
        send(&producer, "t", "a").await,
        failed(ProducerErrorCode::InvalidRecord)
    );
    assert_eq!(send(&producer, "t", "b").await, Ok(0));
    assert_eq!(
        send(&producer, "t", "c").await,
        failed(ProducerErrorCode::InvalidRecord)
    );
    assert_eq!(send(&producer, "t", "d").await, Ok(1));

    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::InvalidRecord; 3]);
    cluster.clear_request_errors(ApiKey::Produce);
    assert_eq!(send(&producer, "t", "e").await, Ok(2));

    // A closed connection: the producer tries again.
    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::BrokerTransportFailure]);
    assert_eq!(send(&producer, "t", "f").await, Ok(3));
    let records = cluster.records("t").await.unwrap();
    assert_eq!(payloads(&records), ["b", "d", "e", "f"]);

    // A broker's own errors take the place of the cluster's, also when they are used up.
    let delay = Duration::from_millis(60);
    cluster
        .broker_request_errors(
            1,
            ApiKey::Produce,
            &[
                (RDKafkaErrorCode::InvalidRecord, None),
                (RDKafkaErrorCode::NoError, Some(delay)),
            ],
        )
        .unwrap();
    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::InvalidRecord; 3]);
    assert_eq!(
        send(&producer, "t", "g").await,
        failed(ProducerErrorCode::InvalidRecord)
    );
    let start = std::time::Instant::now();
    assert_eq!(send(&producer, "t", "h").await, Ok(4));
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    assert_eq!(send(&producer, "t", "i").await, Ok(5));
}

#[tokio::test]
async fn round_trip_time_delays_answers() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let producer = producer(&cluster, &[]);
    assert_eq!(send(&producer, "t", "a").await, Ok(0));
    let delay = Duration::from_millis(60);
    cluster.broker_round_trip_time(1, delay).unwrap();
    let start = std::time::Instant::now();
    assert_eq!(send(&producer, "t", "b").await, Ok(1));
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    cluster.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    assert_eq!(cluster.records("t").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_broker_goes_down_and_comes_back() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    let producer = producer(&cluster, &[]);
    assert_eq!(send(&producer, "t", "before").await, Ok(0));

    cluster.broker_down(1).unwrap();
    cluster.broker_down(1).unwrap();
    assert_eq!(
        code_of_records(&cluster, "t").await,
        RDKafkaErrorCode::LeaderNotAvailable
    );
    let waiting = send(&producer, "t", "meanwhile");
    let mut waiting = pin!(waiting);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(waiting.as_mut().poll(&mut cx), Poll::Pending));
    cluster.broker_up(1).unwrap();
    assert_eq!(waiting.await, Ok(1));
    assert_eq!(
        payloads(&cluster.records("t").await.unwrap()),
        ["before", "meanwhile"]
    );

    cluster.broker_down(-1).unwrap();
    cluster.broker_up(-1).unwrap();
    assert_eq!(send(&producer, "t", "after").await, Ok(2));
}

#[tokio::test]
async fn a_partition_changes_its_leader() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    cluster.start_request_tracking();
    let settings = [("retry.backoff.ms", "10"), ("message.timeout.ms", "20000")];
    let producer = producer(&cluster, &settings);
    assert_eq!(send(&producer, "t", "first").await, Ok(0));
    assert_eq!(produce_requests(&cluster), [1]);

    // The producer learns it from the old leader's answer.
    cluster.partition_leader("t", 0, Some(2)).unwrap();
    assert_eq!(send(&producer, "t", "second").await, Ok(1));
    let requests = produce_requests(&cluster);
    assert_eq!((requests[1], requests.last()), (1, Some(&2)));
    assert_eq!(cluster.records("t").await.unwrap().len(), 2);
}

/// With the newest version of Produce, librdkafka's handler follows a null pointer here.
#[tokio::test]
async fn a_partition_loses_its_leader() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    cluster.start_request_tracking();
    let producer = producer(&cluster, &[("message.timeout.ms", "3000")]);
    assert_eq!(send(&producer, "t", "a").await, Ok(0));
    cluster.partition_leader("t", 0, None).unwrap();
    assert_eq!(
        send(&producer, "t", "b").await,
        Err(format!("{:?}", Some(ProducerErrorCode::MessageTimedOut)))
    );
    assert!(
        produce_requests(&cluster).len() >= 2,
        "the mock had to answer a Produce request"
    );
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    assert_eq!(payloads(&cluster.records("t").await.unwrap()), ["a"]);
}

#[tokio::test]
async fn others_lead_what_a_removed_broker_led() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.partition_leader("t", 0, Some(2)).unwrap();
    let producer = producer(&cluster, &[]);
    assert_eq!(send(&producer, "t", "a").await, Ok(0));
    cluster.broker_decommission(2).unwrap();
    assert_eq!(send(&producer, "t", "b").await, Ok(1));
    assert_eq!(payloads(&cluster.records("t").await.unwrap()), ["a", "b"]);

    use RDKafkaErrorCode as Code;
    let code = |result: Result<(), tokio_rdkafka::KafkaError>| result.unwrap_err().code();
    let gone = Some(Code::BrokerNotAvailable);
    assert_eq!(code(cluster.broker_decommission(2)), gone);
    assert_eq!(code(cluster.broker_down(2)), gone);
    assert_eq!(code(cluster.partition_leader("t", 0, Some(2))), gone);
    let last = Some(Code::InvalidArgument);
    assert_eq!(code(cluster.broker_decommission(1)), last);
}

#[tokio::test]
async fn a_follower_serves_readers() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    let producer = producer(&cluster, &[]);
    assert_eq!(send(&producer, "t", "a").await, Ok(0));
    cluster.partition_follower("t", 0, 2).unwrap();
    cluster.broker_rack(-1, "somewhere").unwrap();
    cluster.start_request_tracking();
    assert_eq!(payloads(&cluster.records("t").await.unwrap()), ["a"]);
    let fetched_from_follower = cluster
        .requests()
        .iter()
        .any(|request| request.api_key() == ApiKey::Fetch && request.broker_id() == 2);
    assert!(fetched_from_follower);
}

#[tokio::test]
async fn requests_are_tracked() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let producer = producer(&cluster, &[]);
    assert_eq!(send(&producer, "t", "a").await, Ok(0));
    assert!(cluster.requests().is_empty());

    cluster.start_request_tracking();
    for offset in 1..=3 {
        assert_eq!(send(&producer, "t", "b").await, Ok(offset));
    }
    assert_eq!(produce_requests(&cluster), [1, 1, 1]);
    let requests = cluster.requests();
    assert!(requests.is_sorted_by_key(|request| request.timestamp()));
    let shown = format!("{:?}", requests[0]);
    assert!(shown.contains("broker_id: 1"), "{shown}");

    cluster.start_request_tracking();
    assert!(produce_requests(&cluster).is_empty());
    assert_eq!(send(&producer, "t", "c").await, Ok(4));
    assert_eq!(produce_requests(&cluster), [1]);
    cluster.stop_request_tracking();
    assert!(cluster.requests().is_empty());
    assert_eq!(send(&producer, "t", "d").await, Ok(5));
    assert!(cluster.requests().is_empty());
}

#[tokio::test]
async fn two_clusters_at_once() {
    let (left, right) = (MockCluster::new(1).unwrap(), MockCluster::new(2).unwrap());
    assert_ne!(left.bootstrap_servers(), right.bootstrap_servers());
    assert_eq!(right.bootstrap_servers().split(',').count(), 2);
    left.create_topic("t", 1, 1).unwrap();
    right.create_topic("t", 1, 1).unwrap();
    let (to_left, to_right) = (producer(&left, &[]), producer(&right, &[]));
    assert_eq!(send(&to_left, "t", "left").await, Ok(0));
    assert_eq!(send(&to_right, "t", "right").await, Ok(0));
    let (in_left, in_right) = tokio::join!(left.records("t"), right.records("t"));
    assert_eq!(payloads(&in_left.unwrap()), ["left"]);
    assert_eq!(payloads(&in_right.unwrap()), ["right"]);
    drop(left);
    assert_eq!(send(&to_right, "t", "still there").await, Ok(1));
}

#[tokio::test]
async fn it_can_be_dropped_under_connected_producers() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let producer = producer(&cluster, &[("message.timeout.ms", "3000")]);
    assert_eq!(send(&producer, "t", "a").await, Ok(0));
    drop(cluster);
    assert_eq!(
        send(&producer, "t", "b").await,
        Err(format!("{:?}", Some(ProducerErrorCode::MessageTimedOut)))
    );
}

#[tokio::test]
async fn old_batches_go_where_the_docs_say() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let producer = producer(&cluster, &[]);
    let megabyte = "x".repeat(990_000);
    for offset in 0..8 {
        assert_eq!(send(&producer, "t", &megabyte).await, Ok(offset));
    }
    let records = cluster.records("t").await.unwrap();
    let offsets: Vec<_> = records.iter().map(|record| record.offset()).collect();
    assert_eq!(offsets, [Some(3), Some(4), Some(5), Some(6), Some(7)]);
}

#[tokio::test]
#[cfg_attr(
    feature = "dynamic-linking",
    ignore = "the mock cluster of librdkafka 2.15.1 writes markers"
)]
async fn transactions_leave_no_markers() {
    let cluster = MockCluster::new(3).unwrap();
    cluster.create_topic("t", 1, 3).unwrap();
    let id = MockCoordinator::Transaction("tx".to_owned());
    cluster.coordinator(id, 2).unwrap();
    cluster.start_request_tracking();
    let producer = producer(&cluster, &[("transactional.id", "tx")]);
    let limit = Duration::from_secs(20);
    producer.init_transactions(limit).unwrap();
    producer.begin_transaction().unwrap();
    assert_eq!(send(&producer, "t", "aborted").await, Ok(0));
    producer.abort_transaction(limit).unwrap();
    producer.begin_transaction().unwrap();
    assert_eq!(send(&producer, "t", "committed").await, Ok(1));
    producer.commit_transaction(limit).unwrap();
    let records = cluster.records("t").await.unwrap();
    assert_eq!(payloads(&records), ["aborted", "committed"]);
    let ends: Vec<_> = cluster
        .requests()
        .iter()
        .filter(|request| request.api_key() == ApiKey::EndTxn)
        .map(|request| request.broker_id())
        .collect();
    assert_eq!(ends, [2, 2]);
}

/// Each of these would index out of bounds, allocate without bounds or abort in librdkafka.
#[test]
fn what_librdkafka_would_not_survive_is_refused() {
    use RDKafkaErrorCode as Code;
    for brokers in [i32::MIN, -1, 0, 101, i32::MAX] {
        let error = MockCluster::new(brokers).unwrap_err();
        assert_eq!(error.code(), Some(Code::InvalidArgument));
        assert!(error.to_string().contains("brokers"), "{error}");
    }
    let cluster = MockCluster::new(2).unwrap();
    let code = |result: Result<(), tokio_rdkafka::KafkaError>| {
        result.err().map(|error| error.code().expect("a code"))
    };
    for partitions in [i32::MIN, -1, 0, 100_001, i32::MAX] {
        let result = cluster.create_topic("t", partitions, 1);
        assert_eq!(code(result), Some(Code::InvalidArgument));
    }
    for factor in [i32::MIN, -1, 0] {
        let result = cluster.create_topic("t", 1, factor);
        assert_eq!(code(result), Some(Code::InvalidArgument));
    }
    cluster.create_topic("t", 4, i32::MAX).unwrap();
    assert_eq!(
        code(cluster.create_topic("t", 4, 1)),
        Some(Code::TopicAlreadyExists)
    );
    for topic in ["", "a\0b", &"x".repeat(250)] {
        let result = cluster.create_topic(topic, 1, 1);
        assert_eq!(code(result), Some(Code::InvalidArgument));
        let result = cluster.topic_error(topic, Code::NoError);
        assert_eq!(code(result), Some(Code::InvalidArgument));
    }
    for partition in [i32::MIN, -1, 100_000, i32::MAX] {
        for topic in ["t", "new"] {
            let result = cluster.partition_leader(topic, partition, Some(1));
            assert_eq!(code(result), Some(Code::InvalidArgument));
            let result = cluster.partition_follower(topic, partition, 1);
            assert_eq!(code(result), Some(Code::InvalidArgument));
        }
    }
    assert_eq!(
        code(cluster.partition_leader("t", 4, None)),
        Some(Code::UnknownTopicOrPartition)
    );
    for broker in [i32::MIN, -2, 0, 3, i32::MAX] {
        let down = Some(Code::BrokerNotAvailable);
        assert_eq!(code(cluster.broker_down(broker)), down);
        assert_eq!(code(cluster.broker_up(broker)), down);
        assert_eq!(code(cluster.broker_decommission(broker)), down);
        assert_eq!(code(cluster.broker_rack(broker, "r")), down);
        let result = cluster.broker_round_trip_time(broker, Duration::MAX);
        assert_eq!(code(result), down);
        let result = cluster.broker_request_errors(broker, ApiKey::Fetch, &[]);
        assert_eq!(code(result), down);
        let result = cluster.partition_leader("t", 0, Some(broker));
        assert_eq!(code(result), down);
        let group = MockCoordinator::Group("g".to_owned());
        assert_eq!(code(cluster.coordinator(group, broker)), down);
    }
}

#[test]
fn it_is_shared_between_threads() {
    let cluster = MockCluster::new(2).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cluster = &cluster;
            scope.spawn(move || {
                for round in 0..50 {
                    let topic = format!("t{thread}-{round}");
                    cluster.create_topic(&topic, 2, 2).unwrap();
                    cluster.partition_leader(&topic, 1, Some(2)).unwrap();
                    cluster.request_errors(ApiKey::Fetch, &[RDKafkaErrorCode::NoError]);
                    cluster.start_request_tracking();
                    cluster.requests();
                    cluster.clear_request_errors(ApiKey::Fetch);
                }
            });
        }
    });
    assert!(format!("{cluster:?}").contains("127.0.0.1"));
}
