//! What is exported to the `metrics` facade.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tokio_rdkafka::{
    ApiKey, KafkaError, Producer, ProducerRecord, RDKafkaErrorCode, TransactionalProducer,
};

use crate::support::mock::{DEADLINE, cluster, config, until};

const OFTEN: Duration = Duration::from_millis(10);

/// Keeps what was recorded, by `name{label="value",…}`.
#[derive(Clone, Debug, Default)]
struct Recorded(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
    histograms: BTreeMap<String, Vec<(f64, usize)>>,
    described: BTreeMap<String, (Option<Unit>, String)>,
}

impl Recorded {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn counter(&self, key: &str) -> u64 {
        self.state().counters.get(key).copied().unwrap_or(0)
    }

    fn count(&self, key: &str) -> usize {
        let state = self.state();
        let values = state.histograms.get(key).into_iter().flatten();
        values.map(|(_, count)| count).sum()
    }
}

#[derive(Debug)]
struct Handle(Recorded, String);

impl CounterFn for Handle {
    fn increment(&self, value: u64) {
        *self.0.state().counters.entry(self.1.clone()).or_default() += value;
    }

    fn absolute(&self, _: u64) {
        panic!("producers with one label would overwrite each other");
    }
}

impl GaugeFn for Handle {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.0.state().gauges.insert(self.1.clone(), value);
    }
}

impl HistogramFn for Handle {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        let mut state = self.0.state();
        let values = state.histograms.entry(self.1.clone()).or_default();
        values.push((value, count));
    }
}

impl Recorded {
    fn handle(&self, key: &Key) -> Arc<Handle> {
        let labels = key
            .labels()
            .map(|it| format!("{}={:?}", it.key(), it.value()));
        let labels: Vec<_> = labels.collect();
        let key = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::new(Handle(self.clone(), key))
    }

    fn describe(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        let description = (unit, description.into_owned());
        self.state()
            .described
            .insert(name.as_str().to_owned(), description);
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(name, unit, description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(name, unit, description);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(name, unit, description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.handle(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.handle(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.handle(key))
    }
}

#[tokio::test]
async fn each_topic_and_each_error_has_its_count() {
    let recorded = Recorded::default();
    let _guard = metrics::set_default_local_recorder(&recorded);
    let cluster = cluster("a", 1);
    cluster.create_topic("b", 1, 1).unwrap();
    let producer: Producer = config(&cluster)
        .set("client.id", "shop")
        .set("sasl.password", "secret")
        .set("message.max.bytes", "2000")
        .create()
        .unwrap();
    producer.record_metrics(OFTEN);
    // Another one would count everything twice.
    producer.clone().record_metrics(OFTEN);
    // Before the first failure: Prometheus counts what a series grows by, not its first value.
    for name in ["failed", "refused"] {
        let name = format!("kafka.producer.{name}.messages{{client=\"shop\"}}");
        until(|| recorded.state().counters.get(&name) == Some(&0)).await;
    }
    for topic in ["a", "b", "b"] {
        let record = ProducerRecord::to(topic).payload("123");
        producer.send(record).await.unwrap();
    }
    cluster.request_errors(ApiKey::Produce, &[RDKafkaErrorCode::InvalidRecord]);
    producer.send(ProducerRecord::to("b")).await.unwrap_err();
    let large = ProducerRecord::to("b").payload(vec![0; 3_000]);
    producer.send(large).await.unwrap_err();

    // Whether they were exported meanwhile or not.
    let assert_latencies = || {
        let metrics = producer.metrics();
        assert_eq!(metrics.delivered.records, 3);
        assert_eq!(metrics.delivery_latency.count(), 3);
    };
    assert_latencies();
    let sent = |topic: &str, error: &str| {
        recorded.counter(&format!(
            "messaging.client.sent.messages{{client=\"shop\",topic=\"{topic}\"{error}}}"
        ))
    };
    until(|| sent("b", ",error.type=\"INVALID_RECORD\"") == 1).await;
    assert_eq!((sent("a", ""), sent("b", "")), (1, 2));
    assert_latencies();
    let duration = "messaging.client.operation.duration{client=\"shop\",topic=\"b\"}";
    assert_eq!(recorded.count(duration), 2);
    assert!(
        recorded.state().histograms[duration]
            .iter()
            .all(|(it, _)| *it < 60.0)
    );
    let shop = |name: &str| recorded.counter(&format!("kafka.producer.{name}"));
    assert_eq!(shop("delivered.bytes{client=\"shop\",topic=\"b\"}"), 6);
    until(|| shop("enqueued.messages{client=\"shop\"}") == 4).await;
    assert_eq!(shop("enqueued.bytes{client=\"shop\"}"), 9);
    until(|| shop("failed.messages{client=\"shop\"}") == 1).await;
    until(|| shop("refused.messages{client=\"shop\"}") == 1).await;
    let refused = "refusals{client=\"shop\",error.type=\"_MSG_SIZE_TOO_LARGE\"}";
    until(|| shop(refused) + shop(&refused.replace("_MSG", "MSG")) == 1).await;

    let health = |state: &str| {
        let key = format!("kafka.producer.health{{client=\"shop\",state=\"{state}\"}}");
        recorded.state().gauges.get(&key) == Some(&1.0)
    };
    until(|| health("up")).await;
    producer.close().await;
    until(|| health("terminated") && !health("up")).await;
    // The last export comes at the end.
    let in_flight = "kafka.producer.in_flight.messages{client=\"shop\"}";
    until(|| recorded.state().gauges[in_flight] == 0.0).await;
    let limit = "kafka.producer.capacity.limit.messages{client=\"shop\"}";
    assert!(recorded.state().gauges[limit] > 0.0);
    assert!(!format!("{recorded:?}").contains("secret"));
}

/// Exported numbers come at the latest with the close, whatever the interval.
#[tokio::test]
async fn nothing_is_lost_at_the_close() {
    let recorded = Recorded::default();
    let _guard = metrics::set_default_local_recorder(&recorded);
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    producer.record_metrics(Duration::from_secs(3_600));
    for _ in 0..100 {
        producer
            .enqueue_detached(ProducerRecord::to("t"))
            .await
            .unwrap();
    }
    producer.close().await;
    let sent = "messaging.client.sent.messages{client=\"rdkafka\",topic=\"t\"}";
    until(|| recorded.counter(sent) == 100).await;
}

/// A panic of the recorder neither ends the export nor harms the producer.
#[tokio::test]
async fn a_panicking_recorder_is_survived() {
    #[derive(Debug)]
    struct Panicking(Recorded);
    impl Recorder for Panicking {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
            self.0.register_counter(key, metadata)
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            std::panic::resume_unwind(Box::new("as asked"));
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }
    let recorder = Panicking(Recorded::default());
    let _guard = metrics::set_default_local_recorder(&recorder);
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    producer.record_metrics(OFTEN);
    producer.send(ProducerRecord::to("t")).await.unwrap();
    let enqueued = "kafka.producer.enqueued.messages{client=\"rdkafka\"}";
    until(|| recorder.0.counter(enqueued) > 0).await;
    producer.send(ProducerRecord::to("t")).await.unwrap();
    assert_eq!(producer.close().await.failed, 0);
}

/// The client that replaces another one after a fatal error is exported, too.
#[tokio::test]
async fn a_replaced_client_is_exported_too() {
    let recorded = Recorded::default();
    let _guard = metrics::set_default_local_recorder(&recorded);
    let cluster = cluster("t", 1);
    let mut producer: TransactionalProducer = config(&cluster)
        .set("transactional.id", "id")
        .create()
        .unwrap();
    producer.record_metrics(OFTEN);
    producer.init(DEADLINE).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    transaction.send(ProducerRecord::to("t")).await.unwrap();
    let code = RDKafkaErrorCode::InvalidTransactionalState;
    cluster.request_errors(ApiKey::EndTxn, &[code]);
    let error = KafkaError::from(transaction.commit().await.unwrap_err());
    assert!(error.is_fatal(), "{error:?}");
    let transaction = producer.begin().await.unwrap();
    transaction.send(ProducerRecord::to("t")).await.unwrap();
    transaction.commit().await.unwrap();
    let sent = "messaging.client.sent.messages{client=\"rdkafka\",topic=\"t\"}";
    until(|| recorded.counter(sent) == 2).await;
    let renewals = "kafka.producer.renewals{client=\"rdkafka\"}";
    until(|| recorded.counter(renewals) == 1).await;
    producer.close().await;
}
