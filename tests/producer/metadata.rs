//! What a producer tells of its cluster, on the mock cluster.

use std::error::Error as _;
use std::future::Future;
use std::io::Read;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::oneshot;
use tokio::time;
use tokio_rdkafka::{
    Broker, ClientConfig, KafkaError, MockCluster, PartitionInfo, Producer, ProducerRecord,
    RDKafkaErrorCode, RDKafkaLogLevel, TransactionalProducer,
};

use crate::support::mock::{DEADLINE, Drop, cluster, config, poll_then_drop, until};

fn ids(partitions: &[PartitionInfo]) -> Vec<i32> {
    partitions.iter().map(PartitionInfo::id).collect()
}

/// A producer that has nobody to ask.
fn lonely() -> Producer {
    ClientConfig::new()
        .set("bootstrap.servers", "127.0.0.1:1")
        .set_log_level(RDKafkaLogLevel::Emerg)
        .create()
        .unwrap()
}

/// The three requests, with nothing but their errors.
async fn all_errors(producer: &Producer, timeout: Duration) -> Vec<KafkaError> {
    let cluster = async { producer.cluster(timeout).await.unwrap_err() };
    let partitions = async { producer.partitions_for("t", timeout).await.unwrap_err() };
    let topics = async { producer.topics(timeout).await.unwrap_err() };
    let (cluster, partitions, topics) = futures::join!(cluster, partitions, topics);
    vec![cluster, partitions, topics]
}

#[tokio::test]
async fn a_cluster_has_an_id_and_brokers() {
    let cluster = MockCluster::new(3).unwrap();
    cluster.broker_rack(2, "cellar").unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    let info = producer.cluster(DEADLINE).await.unwrap();
    assert!(info.id().starts_with("mockCluster"), "{info:?}");
    let ids: Vec<_> = info.brokers().iter().map(Broker::id).collect();
    assert_eq!(ids, [1, 2, 3]);
    let addresses: Vec<_> = info
        .brokers()
        .iter()
        .map(|broker| format!("{}:{}", broker.host(), broker.port()))
        .collect();
    assert_eq!(addresses.join(","), cluster.bootstrap_servers());
    assert_eq!(info.broker(2).and_then(Broker::rack), Some("cellar"));
    assert!(info.broker(4).is_none());
    // The mock names a controller that does not exist.
    assert!(info.controller().is_none(), "{info:?}");
}

#[tokio::test]
async fn partitions_have_leaders_and_replicas() {
    let cluster = MockCluster::new(3).unwrap();
    cluster.create_topic("t", 4, 2).unwrap();
    cluster.partition_leader("t", 1, Some(3)).unwrap();
    cluster.partition_leader("t", 2, None).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    let partitions = producer.partitions_for("t", DEADLINE).await.unwrap();
    assert_eq!(ids(&partitions), [0, 1, 2, 3]);
    assert_eq!(partitions[1].leader(), Some(3));
    assert_eq!(partitions[2].leader(), None);
    for partition in &partitions {
        assert_eq!(partition.replicas().len(), 2, "{partition:?}");
        assert_eq!(partition.isr().len(), 2, "{partition:?}");
    }
    let (leader, replicas) = (partitions[0].leader().unwrap(), partitions[0].replicas());
    assert!(replicas.contains(&leader), "{partitions:?}");
}

#[tokio::test]
async fn unknown_topics_differ_from_those_that_may_not_be_seen() {
    let cluster = cluster("t", 1);
    let forbidden = RDKafkaErrorCode::TopicAuthorizationFailed;
    cluster.topic_error("forbidden", forbidden).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    let code = async |topic: &str| {
        let error = producer.partitions_for(topic, DEADLINE).await.unwrap_err();
        assert!(!error.is_timed_out() && !error.is_closed(), "{error}");
        error.code()
    };
    let unknown = Some(RDKafkaErrorCode::UnknownTopicOrPartition);
    assert_eq!(code("nowhere").await, unknown);
    // Asking did not make it.
    assert_eq!(code("nowhere").await, unknown);
    assert_eq!(code("forbidden").await, Some(forbidden));
    for bad in ["", "nul\0", &"long".repeat(63)] {
        let error = producer.partitions_for(bad, DEADLINE).await.unwrap_err();
        assert_eq!(error.field(), Some("topic"), "{error}");
    }
    let topics = producer.topics(DEADLINE).await.unwrap();
    let found: Vec<_> = topics
        .iter()
        .map(|topic| (topic.name(), topic.error().and_then(KafkaError::code)))
        .collect();
    assert_eq!(found, [("forbidden", Some(forbidden)), ("t", None)]);
}

#[tokio::test]
async fn topics_come_by_name_with_their_partitions() {
    let cluster = MockCluster::new(3).unwrap();
    let producer: Producer = config(&cluster).create().unwrap();
    assert!(producer.topics(DEADLINE).await.unwrap().is_empty());
    for (topic, partitions) in [("b", 2), ("c", 1), ("a", 3)] {
        cluster.create_topic(topic, partitions, 2).unwrap();
    }
    cluster.partition_leader("b", 1, None).unwrap();
    let topics = producer.topics(DEADLINE).await.unwrap();
    let found: Vec<_> = topics
        .iter()
        .map(|topic| (topic.name(), ids(topic.partitions())))
        .collect();
    assert_eq!(
        found,
        [("a", vec![0, 1, 2]), ("b", vec![0, 1]), ("c", vec![0])]
    );
    for topic in &topics {
        let alone = producer.partitions_for(topic.name(), DEADLINE).await;
        assert_eq!(alone.unwrap(), topic.partitions());
    }
    assert_eq!(topics[1].partitions()[1].leader(), None);
}

#[tokio::test]
async fn without_an_answer_they_time_out() {
    let producer = lonely();
    let started = Instant::now();
    for millis in [0, 200, 1_200] {
        for error in all_errors(&producer, Duration::from_millis(millis)).await {
            assert!(error.is_timed_out(), "{error}");
            assert_eq!(error.code(), Some(RDKafkaErrorCode::OperationTimedOut));
        }
    }
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1_400), "{took:?}");
    // The broker is there, and says nothing.
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    producer.cluster(DEADLINE).await.unwrap();
    let never = Duration::from_secs(30);
    cluster.broker_round_trip_time(-1, never).unwrap();
    let started = Instant::now();
    for error in all_errors(&producer, Duration::from_millis(200)).await {
        assert!(error.is_timed_out(), "{error}");
    }
    for error in all_errors(&producer, Duration::ZERO).await {
        assert!(error.is_timed_out(), "{error}");
    }
    let took = started.elapsed();
    assert!(took < never / 2, "{took:?}");
}

#[tokio::test]
async fn if_no_broker_answers_the_error_says_why() {
    let producer = lonely();
    let moment = Duration::from_millis(100);
    let known = async {
        while producer
            .cluster(moment)
            .await
            .unwrap_err()
            .source()
            .is_none()
        {}
    };
    time::timeout(DEADLINE, known).await.unwrap();
    for error in all_errors(&producer, moment).await {
        let why = error.source().expect("it is known").to_string();
        assert!(why.contains("127.0.0.1:1"), "{why}");
    }
}

/// Why no broker answered before is not why none answers now.
#[tokio::test]
async fn an_answer_disproves_what_failed_before_it() {
    const LIMIT: Duration = Duration::from_secs(1);
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set_log_level(RDKafkaLogLevel::Emerg)
        .create()
        .unwrap();
    producer.cluster(DEADLINE).await.unwrap();
    cluster.broker_down(1).unwrap();
    for error in all_errors(&producer, LIMIT).await {
        assert!(error.source().is_some(), "{error:?}");
    }
    cluster.broker_up(1).unwrap();
    producer.cluster(DEADLINE).await.unwrap();
    // It is up, and late.
    cluster.broker_round_trip_time(1, DEADLINE).unwrap();
    for error in all_errors(&producer, LIMIT).await {
        assert!(
            error.is_timed_out() && error.source().is_none(),
            "{error:?}"
        );
    }
}

/// No timer of tokio's is needed.
#[test]
fn they_need_no_time_driver_and_block_no_worker() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let cluster = cluster("t", 2);
        let producer: Producer = config(&cluster).create().unwrap();
        let slow = Duration::from_millis(300);
        cluster.broker_round_trip_time(-1, slow).unwrap();
        let asking = async {
            let (cluster, partitions, topics) = futures::join!(
                producer.cluster(DEADLINE),
                producer.partitions_for("t", DEADLINE),
                producer.topics(Duration::MAX),
            );
            cluster.unwrap();
            assert_eq!(partitions.unwrap().len(), 2);
            assert_eq!(topics.unwrap().len(), 1);
        };
        // The one thread there is goes on meanwhile.
        let mut turns = 0_u64;
        let mut asking = std::pin::pin!(asking);
        while futures::poll!(asking.as_mut()).is_pending() {
            turns += 1;
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
        assert!(turns > 5, "{turns} turns");
    });
}

#[tokio::test]
async fn many_at_a_time_get_their_own_answers() {
    let cluster = MockCluster::new(1).unwrap();
    for partitions in 1..=20 {
        let topic = format!("t{partitions}");
        cluster.create_topic(&topic, partitions, 1).unwrap();
    }
    let producer: Producer = config(&cluster).create().unwrap();
    let asked = (1..=20).chain(1..=20).map(|partitions: usize| {
        let producer = producer.clone();
        async move {
            let topic = format!("t{partitions}");
            let found = producer.partitions_for(&topic, DEADLINE).await.unwrap();
            assert_eq!(found.len(), partitions);
            let info = producer.cluster(DEADLINE).await.unwrap();
            assert_eq!(info.brokers().len(), 1);
        }
    });
    join_all(asked).await;
}

async fn drop_at_every_point<F: Future>(producer: &Producer, request: impl Fn() -> F) {
    for polls in 0..3 {
        for drop in [Drop::AtOnce, Drop::WhenWoken] {
            poll_then_drop(request(), polls, drop).await;
            // What was dropped is in nobody's way.
            let delivery = producer.send(ProducerRecord::to("t").payload("v")).await;
            delivery.unwrap();
            producer.cluster(DEADLINE).await.unwrap();
        }
    }
}

#[tokio::test]
async fn dropping_one_does_no_harm() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    drop_at_every_point(&producer, || producer.cluster(DEADLINE)).await;
    drop_at_every_point(&producer, || producer.partitions_for("t", DEADLINE)).await;
    drop_at_every_point(&producer, || producer.topics(DEADLINE)).await;
    // With answers still to come at the end.
    cluster
        .broker_round_trip_time(-1, Duration::from_millis(200))
        .unwrap();
    poll_then_drop(producer.cluster(DEADLINE), 1, Drop::AtOnce).await;
    poll_then_drop(producer.partitions_for("t", DEADLINE), 1, Drop::AtOnce).await;
    poll_then_drop(producer.topics(DEADLINE), 1, Drop::AtOnce).await;
    producer.close().await;
}

#[tokio::test]
async fn a_closed_producer_answers_so() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    producer.close().await;
    for error in all_errors(&producer, DEADLINE).await {
        assert!(error.is_closed(), "{error}");
    }
}

/// Those that wait learn of the close, before their time is over, whichever way they ask.
#[tokio::test]
async fn a_close_ends_the_waiting() {
    for before in [0, 700] {
        let producer = lonely();
        let asking = async {
            for error in all_errors(&producer, DEADLINE).await {
                assert!(error.is_closed(), "{error}");
            }
        };
        let closing = async {
            time::sleep(Duration::from_millis(before)).await;
            producer.close().await;
        };
        let started = Instant::now();
        futures::join!(asking, closing);
        assert!(started.elapsed() < DEADLINE / 2);
    }
}

/// A future that nobody polls holds up no end.
#[tokio::test]
async fn a_future_that_is_left_lying_delays_no_close() {
    let producer = lonely();
    let mut left = Box::pin(producer.cluster(DEADLINE));
    assert!(futures::poll!(left.as_mut()).is_pending());
    time::timeout(DEADLINE / 2, producer.close()).await.unwrap();
    assert!(left.await.unwrap_err().is_closed());
}

/// The runtime goes with a request under way.
#[test]
fn the_end_of_the_runtime_ends_the_waiting() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let producer = {
        let _inside = runtime.enter();
        lonely()
    };
    let mut asking = Box::pin(producer.cluster(DEADLINE));
    let other = tokio::runtime::Runtime::new().unwrap();
    other.block_on(async {
        assert!(futures::poll!(asking.as_mut()).is_pending());
        runtime.shutdown_background();
        assert!(asking.await.unwrap_err().is_closed());
        until(|| producer.is_closed()).await;
    });
}

/// Connections break at once, for a while. Then the broker is silent.
#[tokio::test]
async fn failures_in_quick_succession_do_not_delay_a_close() {
    const BROKEN: usize = 200;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let producer: Producer = ClientConfig::new()
        .set(
            "bootstrap.servers",
            listener.local_addr().unwrap().to_string(),
        )
        .set("api.version.request", "false")
        .set("broker.version.fallback", "0.9.0")
        .set("reconnect.backoff.ms", "5")
        .set("reconnect.backoff.max.ms", "20")
        .set_log_level(RDKafkaLogLevel::Emerg)
        .create()
        .unwrap();
    let (silent, is_silent) = oneshot::channel();
    thread::spawn(move || {
        for _ in 0..BROKEN {
            let (mut connection, _) = listener.accept().unwrap();
            let _ = connection.read(&mut [0; 100]);
        }
        let (mut connection, _) = listener.accept().unwrap();
        let _ = connection.read(&mut [0; 100]);
        silent.send(()).unwrap();
        // Until the client ends it.
        let _ = connection.read_to_end(&mut Vec::new());
    });
    let asking = async { producer.topics(Duration::MAX).await.unwrap_err() };
    let closing = async {
        is_silent.await.unwrap();
        producer.close().await;
    };
    let both = async { futures::join!(asking, closing) };
    let (error, ()) = time::timeout(DEADLINE, both).await.unwrap();
    assert!(error.is_closed(), "{error}");
}

/// A paused clock jumps to the next timer while all tasks wait.
#[tokio::test(start_paused = true)]
async fn brokers_answer_in_real_time() {
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let slow = Duration::from_millis(50);
    cluster.broker_round_trip_time(-1, slow).unwrap();
    producer.ready(DEADLINE).await.unwrap();
    producer.cluster(DEADLINE).await.unwrap();
    producer.partitions_for("t", DEADLINE).await.unwrap();
    assert_eq!(producer.topics(DEADLINE).await.unwrap().len(), 1);
    let sent = producer.try_enqueue(ProducerRecord::to("t")).unwrap();
    assert_eq!(producer.close_timeout(DEADLINE).await.delivered, 1);
    sent.await.unwrap();
    let error = lonely().cluster(slow).await.unwrap_err();
    assert!(error.is_timed_out(), "{error}");
    let error = lonely().ready(slow).await.unwrap_err();
    assert!(error.is_timed_out(), "{error}");
    let error = lonely().ready(DEADLINE).await.unwrap_err();
    assert!(!error.is_timed_out(), "{error}");
}

#[tokio::test]
async fn a_transactional_producer_tells_the_same() {
    let cluster = cluster("t", 3);
    let mut producer: TransactionalProducer = config(&cluster)
        .set("transactional.id", "tests")
        .create()
        .unwrap();
    let partitions = producer.partitions_for("t", DEADLINE).await.unwrap();
    assert_eq!(ids(&partitions), [0, 1, 2]);
    assert_eq!(producer.cluster(DEADLINE).await.unwrap().brokers().len(), 1);
    assert_eq!(producer.topics(DEADLINE).await.unwrap().len(), 1);
    producer.close().await;
}
