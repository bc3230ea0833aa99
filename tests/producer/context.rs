//! Contexts: logs, errors, statistics, and what is sent between threads.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_rdkafka::{
    BaseProducer, ClientConfig, ClientContext, Deliveries, DeliveryFuture, DeliveryResult,
    EnqueueError, KafkaError, MockCluster, Persistence, ProduceEach, ProduceError, Producer,
    ProducerContext, ProducerRecord, ProducerSink, RDKafkaErrorCode, RDKafkaLogLevel, SendAll,
    SendError, SinkStatistics, Timestamp, Topic, TransactionalProducer, WeakProducer,
};
use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{Counting, DEADLINE, cluster, config, until};

/// Keeps what is reported to it.
#[derive(Default)]
struct Keeping {
    logs: Mutex<Vec<(RDKafkaLogLevel, String, String)>>,
    errors: Mutex<Vec<KafkaError>>,
    stats: Mutex<Vec<String>>,
}

impl ClientContext for Keeping {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.logs
            .lock()
            .unwrap()
            .push((level, facility.to_owned(), message.to_owned()));
    }

    fn error(&self, error: &KafkaError) {
        self.errors.lock().unwrap().push(error.clone());
    }

    fn stats(&self, json: &str) {
        self.stats.lock().unwrap().push(json.to_owned());
    }
}

impl ProducerContext for Keeping {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

fn unreachable() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1");
    config
}

fn poll_until<C: ProducerContext>(producer: &BaseProducer<C>, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "the condition never came");
        producer.poll(Duration::from_millis(20));
    }
}

#[test]
fn errors_logs_and_statistics_reach_the_context() {
    let producer: BaseProducer<Keeping> = unreachable()
        .set("statistics.interval.ms", "20")
        .set("debug", "broker")
        .set_log_level(RDKafkaLogLevel::Debug)
        .create_with_context(Keeping::default())
        .unwrap();
    let context = producer.context();
    let all_down = |error: &KafkaError| error.code() == Some(RDKafkaErrorCode::AllBrokersDown);
    poll_until(&producer, || {
        context.errors.lock().unwrap().iter().any(all_down)
            && context.stats.lock().unwrap().len() > 1
            && context
                .logs
                .lock()
                .unwrap()
                .iter()
                .any(|log| log.0 == RDKafkaLogLevel::Debug)
    });
    // One event is one call: all brokers are down once, as long as none has been up.
    assert_eq!(
        context
            .errors
            .lock()
            .unwrap()
            .iter()
            .filter(|error| all_down(error))
            .count(),
        1
    );
    assert!(context.stats.lock().unwrap()[0].starts_with('{'));
    assert!(
        context
            .logs
            .lock()
            .unwrap()
            .iter()
            .all(|log| !log.1.is_empty() && !log.2.is_empty())
    );
}

#[test]
fn by_default_logs_go_to_tracing_without_secrets() {
    let (guard, text) = captured(Level::TRACE);
    let producer: BaseProducer = unreachable()
        .set("debug", "all")
        .set("client.id", "has-t0p-s3cret-in-it")
        .set("sasl.username", "t0p-s3cret")
        .create()
        .unwrap();
    producer.send(ProducerRecord::to("t").payload("v")).unwrap();
    poll_until(&producer, || text().contains("Connection refused"));
    drop(producer);
    drop(guard);
    let text = text();
    assert!(text.contains("librdkafka") && text.contains("facility=") && text.contains("DEBUG"));
    assert!(
        text.contains("[redacted]") && !text.contains("t0p-s3cret"),
        "a secret shows"
    );
}

#[tokio::test]
async fn panicking_log_error_and_stats_callbacks_stall_nothing() {
    struct Panicking;
    impl ClientContext for Panicking {
        fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {
            panic!("as asked")
        }
        fn error(&self, _: &KafkaError) {
            panic!("as asked")
        }
        fn stats(&self, _: &str) {
            panic!("as asked")
        }
    }
    impl ProducerContext for Panicking {
        type DeliveryOpaque = ();
        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
    }
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    config
        .set("statistics.interval.ms", "10")
        .set("debug", "broker");
    let producer = Producer::builder(&config)
        .context(Panicking)
        .create()
        .unwrap();
    until(|| producer.callback_panics() > 3).await;
    producer
        .send(ProducerRecord::to("t").payload("v"))
        .await
        .unwrap();
    assert_eq!(producer.close().await.failed, 0);
}

/// What a stream of pairs makes.
type Results = ProduceEach<futures::stream::Empty<((), ProducerRecord<'static>)>>;

#[test]
fn what_goes_between_threads_can() {
    fn is_shared<T: Send + Sync + Unpin + 'static>() {}
    is_shared::<Producer>();
    is_shared::<Producer<Arc<Counting>>>();
    is_shared::<WeakProducer>();
    is_shared::<TransactionalProducer>();
    is_shared::<BaseProducer>();
    is_shared::<DeliveryFuture>();
    is_shared::<Topic>();
    is_shared::<ClientConfig>();
    is_shared::<KafkaError>();
    is_shared::<SendError>();
    is_shared::<EnqueueError<'static>>();
    is_shared::<ProduceError>();
    is_shared::<Deliveries>();
    is_shared::<SinkStatistics>();
    is_shared::<SendAll<std::vec::IntoIter<ProducerRecord<'static>>>>();
    is_shared::<Results>();
    fn is_moved<T: Send + Unpin + 'static>() {}
    // It keeps the handler of failures, which need not be `Sync`.
    is_moved::<ProducerSink>();
    is_shared::<MockCluster>();
}

#[tokio::test]
async fn the_futures_of_sends_can_be_spawned() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    let payload = String::from("borrowed");
    is_send(producer.send(ProducerRecord::to("t").payload(&payload)))
        .await
        .unwrap();
    is_send(producer.enqueue(ProducerRecord::to("t")))
        .await
        .unwrap()
        .await
        .unwrap();
    is_send(producer.flush()).await.unwrap();
    is_send(producer.close()).await;
}

/// What a delivery callback is told of a message.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    partition: i32,
    offset: Option<i64>,
    timestamp: Timestamp,
    persistence: Persistence,
    broker_id: Option<i32>,
}

/// Keeps it, with the latency.
#[derive(Default)]
struct Telling(Mutex<Vec<(Told, Duration)>>);

impl ClientContext for Telling {}

impl ProducerContext for Telling {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let message = result.as_ref().unwrap();
        let told = Told {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp(),
            persistence: message.persistence(),
            broker_id: message.broker_id(),
        };
        self.0.lock().unwrap().push((told, message.latency()));
    }
}

/// The callback asks librdkafka's functions; the future has what the driver read in bulk.
#[tokio::test]
async fn a_delivery_has_what_its_callback_was_told() {
    const COUNT: usize = 1_000;
    for acks in ["all", "0"] {
        let cluster = cluster("t", 1);
        let round_trip = Duration::from_millis(20);
        let producer: Producer<Telling> = config(&cluster)
            .set("acks", acks)
            .create_with_context(Telling::default())
            .unwrap();
        producer.send(ProducerRecord::to("t")).await.unwrap();
        cluster.broker_round_trip_time(-1, round_trip).unwrap();
        let began = Instant::now();
        let mut futures = Vec::new();
        for _ in 0..COUNT {
            futures.push(producer.enqueue(ProducerRecord::to("t")).await.unwrap());
        }
        let mut deliveries = Vec::new();
        for future in futures {
            deliveries.push(future.await.unwrap());
        }
        let elapsed = began.elapsed();
        let mut told = producer.context().0.lock().unwrap().split_off(1);
        assert_eq!(told.len(), COUNT);
        // Several events may come in another order than their messages were sent.
        told.sort_by_key(|(told, _)| told.offset);
        for (delivery, (told, latency)) in deliveries.iter().zip(told) {
            let delivered = Told {
                partition: delivery.partition(),
                offset: delivery.offset(),
                timestamp: delivery.timestamp(),
                persistence: delivery.persistence(),
                broker_id: delivery.broker_id(),
            };
            assert_eq!(delivered, told);
            assert_eq!(told.offset.is_some(), acks == "all");
            // The clock was read before the callback.
            assert!(delivery.latency() <= elapsed, "{:?}", delivery.latency());
            if acks == "all" {
                assert!(delivery.latency() <= latency);
                assert!(delivery.latency() >= round_trip);
            }
        }
        producer.close().await;
    }
}
