//! What tells of a producer is asked at bad times, from bad places, and by bad recorders.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tokio_rdkafka::{
    ClientConfig, ClientContext, DeliveryResult, InterceptedRecord, KafkaError, Producer,
    ProducerContext, ProducerRecord, RDKafkaLogLevel,
};

use tracing::Level;

use crate::support::logs::captured;
use crate::support::mock::{DEADLINE, cluster, config, until};

/// Calls all of them. Returns the health's state.
fn look<C: ProducerContext>(producer: &Producer<C>) -> &'static str {
    let metrics = producer.metrics();
    let sum = metrics.delivered.records + metrics.failed.records + metrics.in_flight.records;
    assert_eq!(metrics.enqueued.records, sum);
    if let Err(error) = producer.statistics() {
        assert!(error.is_closed(), "{error}");
    }
    producer.record_metrics(Duration::ZERO);
    producer.record_metrics(Duration::MAX);
    let health = producer.health().borrow().clone();
    assert!(!format!("{producer:?} {metrics:?} {health:?} {health}").is_empty());
    health.state()
}

/// Looks from each of its callbacks.
#[derive(Default)]
struct Looking {
    // Weak, because a context that holds its own producer would never be dropped.
    producer: OnceLock<Weak<Producer<Arc<Self>>>>,
    looks: [AtomicUsize; 5],
}

impl Looking {
    fn look(&self, from: usize) {
        if let Some(producer) = self.producer.get().and_then(Weak::upgrade) {
            look(&producer);
            self.looks[from].fetch_add(1, Ordering::SeqCst);
        }
    }

    fn have_looked(&self, from: &[usize]) -> bool {
        let count = |from: &usize| self.looks[*from].load(Ordering::SeqCst);
        from.iter().all(|from| count(from) > 0)
    }
}

impl ClientContext for Looking {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {
        self.look(0);
    }

    fn error(&self, _: &KafkaError) {
        self.look(1);
    }

    fn stats(&self, _: &str) {
        self.look(2);
    }
}

impl ProducerContext for Looking {
    type DeliveryOpaque = ();

    fn on_send(&self, _: &mut InterceptedRecord<'_, '_>) {
        self.look(3);
    }

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        self.look(4);
    }
}

fn looking(mut config: ClientConfig) -> (Arc<Producer<Arc<Looking>>>, Arc<Looking>) {
    let context = Arc::new(Looking::default());
    let producer = config
        .set("statistics.interval.ms", "20")
        .create_with_context(Arc::clone(&context))
        .unwrap();
    let producer = Arc::new(producer);
    let own = context.producer.set(Arc::downgrade(&producer));
    assert!(own.is_ok());
    (producer, context)
}

#[tokio::test]
async fn each_callback_may_look() {
    let cluster = cluster("t", 1);
    let (producer, context) = looking(config(&cluster));
    producer.send(ProducerRecord::to("t")).await.unwrap();
    until(|| context.have_looked(&[2, 3, 4])).await;
    cluster.broker_down(1).unwrap();
    until(|| context.have_looked(&[0, 1])).await;
    producer.close().await;
    assert_eq!(producer.callback_panics(), 0);
    assert_eq!(look(&producer), "terminated");
}

/// Nobody has answered yet, and nobody ever will.
#[tokio::test]
async fn before_a_broker_answers_and_after_the_close() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = ClientConfig::new();
    config.set(
        "bootstrap.servers",
        silent.local_addr().unwrap().to_string(),
    );
    let (producer, _context) = looking(config);
    assert_eq!(look(&producer), "connecting");
    let blocking = Arc::clone(&producer);
    let from_blocking = tokio::task::spawn_blocking(move || look(&blocking));
    assert_eq!(from_blocking.await.unwrap(), "connecting");
    for _ in 0..1_000 {
        look(&producer);
    }
    let outside = Arc::clone(&producer);
    let from_outside = thread::spawn(move || look(&outside));
    assert_eq!(from_outside.join().unwrap(), "connecting");
    producer.close().await;
    for _ in 0..1_000 {
        assert_eq!(look(&producer), "terminated");
    }
}

#[test]
fn after_the_runtime_has_ended() {
    let cluster = cluster("t", 1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (producer, mut health) = runtime.block_on(async {
        let (producer, _) = looking(config(&cluster));
        producer.send(ProducerRecord::to("t")).await.unwrap();
        (Arc::clone(&producer), producer.health())
    });
    drop(runtime);
    let end = futures::executor::block_on(async {
        while health.changed().await.is_ok() {}
        health.borrow().state()
    });
    assert_eq!(end, "terminated");
    assert_eq!(look(&producer), "terminated");
    assert_eq!(producer.metrics().delivered.records, 1);
}

/// Stands at the first gauge until it is let go.
#[derive(Debug)]
struct Blocking {
    stands: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Recorder for Blocking {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        let _ = self.stands.send(());
        let _ = self.go.lock().unwrap().recv();
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// It holds the thread that it blocks, and nothing else: no lock of the producer.
#[test]
fn a_recorder_that_blocks_delays_neither_a_delivery_nor_the_close() {
    let (stands, is_standing) = channel();
    let (release, go) = channel();
    let recorder = Blocking {
        stands,
        go: Mutex::new(go),
    };
    let cluster = cluster("t", 1);
    // The runtime of the producer, whose only thread blocks.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let producer: Producer = {
        let _inside = runtime.enter();
        config(&cluster).create().unwrap()
    };
    producer.record_metrics(Duration::ZERO);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let driving = thread::spawn(move || {
        let _guard = metrics::set_default_local_recorder(&recorder);
        runtime.block_on(stopped).unwrap();
    });
    is_standing.recv_timeout(DEADLINE).unwrap();
    futures::executor::block_on(async {
        producer.send(ProducerRecord::to("t")).await.unwrap();
        assert_eq!(producer.metrics().delivered.records, 1);
        assert_eq!(producer.close().await.failed, 0);
    });
    drop(release);
    stop.send(()).unwrap();
    driving.join().unwrap();
}

/// Keeps the names and labels that it gets.
#[derive(Debug, Default)]
struct Named(Mutex<String>);

impl Named {
    fn keep(&self, key: &Key) {
        self.0.lock().unwrap().push_str(&format!("{key:?}"));
    }
}

impl Recorder for Named {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.keep(key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.keep(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.keep(key);
        Histogram::noop()
    }
}

/// Nothing that tells of a producer shows a secret, a key or a payload, whatever librdkafka logs.
#[tokio::test]
async fn nothing_shows_a_secret() {
    const HIDDEN: [&str; 5] = [
        "t0p-s3cret-password",
        "t0p-s3cret-token",
        "MIIEvQIBADANBgkqhkiG9w0BAQ",
        "the-k3y",
        "the-p4yload",
    ];
    let recorded = Named::default();
    let _recorder = metrics::set_default_local_recorder(&recorded);
    let (_guard, log) = captured(Level::TRACE);
    let cluster = cluster("t", 1);
    let mut config = config(&cluster);
    let key =
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----\n";
    config
        .set("debug", "all")
        .set("client.id", "shown")
        .set("statistics.interval.ms", "20")
        .set("sasl.password", HIDDEN[0])
        .set("sasl.oauthbearer.client.secret", HIDDEN[1])
        .set("ssl.key.pem", key);
    let producer: Producer = config.create().unwrap();
    producer.record_metrics(Duration::ZERO);
    let mut statistics = producer.statistics().unwrap();
    let mut health = producer.health();
    let record = || {
        ProducerRecord::to("t")
            .key("the-k3y")
            .payload("the-p4yload")
    };
    producer.send(record()).await.unwrap();
    let failed = producer.send(record().partition(7)).await.unwrap_err();
    statistics.wait_for(Option::is_some).await.unwrap();
    health.wait_for(|it| it.is_ready()).await.unwrap();
    until(|| recorded.0.lock().unwrap().contains("_UNKNOWN_PARTITION")).await;
    let mut shown = format!(
        "{config:?} {producer:?} {:?} {:?} {:?} {failed} {:?}",
        producer.metrics(),
        *statistics.borrow(),
        *health.borrow(),
        failed.error(),
    );
    shown.push_str(&format!("{:?}", producer.close().await));
    let (log, labels) = (log(), recorded.0.lock().unwrap().clone());
    for text in [&shown, &log, &labels] {
        assert!(text.contains("shown"), "{text}");
        for hidden in HIDDEN {
            assert!(!text.contains(hidden), "{hidden} shows");
        }
    }
}
