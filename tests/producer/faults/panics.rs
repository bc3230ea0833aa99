//! Wakers and callbacks that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake};

use futures::FutureExt;
use tokio_rdkafka::{
    ApiKey, ClientContext, DeliveryResult, KafkaError, Producer, ProducerContext, PurgeConfig,
    RDKafkaErrorCode as Code, RDKafkaLogLevel,
};
use tracing::Level;

use super::{assert_as_given, hasty, record};
use crate::support::logs::captured;
use crate::support::mock::{cluster, until};

/// Panics in every callback, and counts.
#[derive(Default)]
struct Panicking {
    logs: AtomicUsize,
    errors: AtomicUsize,
    stats: AtomicUsize,
    deliveries: AtomicUsize,
}

impl Panicking {
    fn panic(counter: &AtomicUsize, callback: &str) -> ! {
        counter.fetch_add(1, Ordering::SeqCst);
        panic!("as asked in {callback}")
    }

    fn counts(&self) -> [usize; 4] {
        [&self.logs, &self.errors, &self.stats, &self.deliveries]
            .map(|counter| counter.load(Ordering::SeqCst))
    }
}

impl ClientContext for Panicking {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {
        Self::panic(&self.logs, "log")
    }

    fn error(&self, _: &KafkaError) {
        Self::panic(&self.errors, "error")
    }

    fn stats(&self, _: &str) {
        Self::panic(&self.stats, "stats")
    }
}

impl ProducerContext for Panicking {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        Self::panic(&self.deliveries, "delivery")
    }
}

/// Polls a future once, with a waker that panics.
fn poll_for_panic<F: Future + Unpin>(future: &mut F) {
    struct Panicking;

    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("as asked"));
        }
    }

    let waker = Arc::new(Panicking).into();
    let polled = future.poll_unpin(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

#[tokio::test]
async fn wakers_that_panic_stop_nothing() {
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let producer: Producer = hasty(&cluster).create().unwrap();
    let mut delivery = producer.enqueue(record("t", None)).await.unwrap();
    poll_for_panic(&mut delivery);
    poll_for_panic(&mut Box::pin(producer.flush()));
    let (mut flush, other_flush) = (Box::pin(producer.flush()), producer.flush());
    poll_for_panic(&mut flush);
    cluster.broker_up(1).unwrap();
    assert_eq!(other_flush.await.unwrap().delivered, 1);
    assert_eq!(flush.await.unwrap().delivered, 1);
    delivery.await.unwrap();

    let queue = PurgeConfig::default().queue();
    let (mut purge, other_purge) = (Box::pin(producer.purge(queue)), producer.purge(queue));
    poll_for_panic(&mut purge);
    assert_eq!(other_purge.await, 0);
    assert_eq!(purge.await, 0);
    producer.send(record("t", None)).await.unwrap();
    assert_eq!(producer.close().await.failed, 0);
}

#[tokio::test(flavor = "current_thread")]
async fn panicking_callbacks_are_caught_logged_and_counted_and_stall_nothing() {
    let (_guard, log) = captured(Level::INFO);
    let cluster = cluster("t", 1);
    cluster.broker_down(1).unwrap();
    let config = &mut hasty(&cluster);
    config
        .set("statistics.interval.ms", "10")
        .set("debug", "broker")
        .set("retries", "0");
    let producer = Producer::builder(config)
        .context(Panicking::default())
        .create()
        .unwrap();
    let context = Arc::clone(producer.context());
    until(|| context.counts()[..3].iter().all(|&count| count > 1)).await;
    cluster.broker_up(1).unwrap();

    for _ in 0..100 {
        producer.send(record("t", None)).await.unwrap();
    }
    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRequiredAcks]);
    let error = producer.send(record("t", None)).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::InvalidRequiredAcks));
    assert_as_given(error.record(), "t", None);
    producer.enqueue_detached(record("t", None)).await.unwrap();
    assert_eq!(producer.flush().await.unwrap().delivered, 1);
    assert_eq!(producer.close().await.failed, 0);

    let counts = context.counts();
    assert_eq!(counts[3], 102);
    let sum: usize = counts.iter().sum();
    assert_eq!(producer.callback_panics(), sum as u64, "{counts:?}");
    let log = log();
    for callback in ["log", "error", "stats", "delivery"] {
        assert!(
            log.contains(&format!("as asked in {callback}")),
            "{callback}"
        );
    }
    assert_eq!(log.matches("context panicked").count(), sum);
    assert_eq!(cluster.records("t").await.unwrap().len(), 101);
}
