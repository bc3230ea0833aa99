//! Exports what a producer counts to the `metrics` facade.

use std::mem;
use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::future::select;
use metrics::Label;
use tokio::sync::watch;

use super::metric_names::{self as names, Kind};
use crate::client::{ProducerContext, TopicCount};
use crate::driver::Shared;
use crate::error::RDKafkaErrorCode;
use crate::producer::{Access, Producer};
use crate::sync::{Deadline, catch_panic};
use crate::transaction::TransactionalProducer;
use crate::values::{Health, Histogram, Metrics};

/// A shorter interval than this is lengthened.
const SHORTEST: Duration = Duration::from_millis(10);

impl<C: ProducerContext, A: Access> Producer<C, A> {
    /// Exports the producer's [`metrics`](Self::metrics) to the `metrics` facade, every `interval`.
    ///
    /// One call is enough, for all clones: later ones do nothing. A task does it until the producer
    /// has closed, and then a last time. It does not keep the producer open.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn run(producer: tokio_rdkafka::Producer) {
    /// // After the recorder was installed, for instance that of `metrics-exporter-prometheus`.
    /// producer.record_metrics(Duration::from_secs(1));
    /// # }
    /// ```
    ///
    /// The page [`docs::telemetry`](crate::docs::telemetry#the-metrics-facade) has the names, units
    /// and labels. The label `client` is the configured `client.id`: give each producer of a process
    /// its own. The label `topic` has up to 100 topics. Those that come later share the name
    /// `(other)`.
    ///
    /// # Cost
    ///
    /// No recorder is called for a record. The driver counts the records of each event for its topic
    /// as well, in 8 KiB for each topic. A thread of the process, `rdkafka-timer`, wakes the task. On
    /// an idle producer, too, an interval takes some ten microseconds. It holds a receiver of
    /// [`health`](Self::health), with its cost.
    pub fn record_metrics(&self, interval: Duration) {
        let shared = self.shared();
        if shared.begin_topics() {
            let recorder = Recorder::new(shared.core.configured_client_id(), self.health());
            self.spawn(record(Arc::clone(shared), recorder, interval.max(SHORTEST)));
        }
    }
}

impl<C: ProducerContext> TransactionalProducer<C> {
    /// Exports the producer's [`metrics`](Self::metrics) to the `metrics` facade, as
    /// [`Producer::record_metrics`] does.
    ///
    /// It goes on if a [renewal](Self#renewal) replaces the client.
    pub fn record_metrics(&self, interval: Duration) {
        self.on_each_client(move |producer| producer.record_metrics(interval));
    }
}

/// Exports until the producer has terminated.
async fn record<C: ProducerContext>(
    shared: Arc<Shared<C>>,
    mut recorder: Recorder,
    interval: Duration,
) {
    loop {
        let has_ended = shared.has_reported();
        let (metrics, topics) = (shared.metrics(), shared.take_topics());
        // The recorder is foreign code.
        let _ = catch_panic(|| recorder.publish(metrics, topics));
        if has_ended {
            return;
        }
        let pause = Box::pin(Deadline::after(interval));
        drop(select(pause, Box::pin(shared.reported())).await);
    }
}

/// What was exported last.
struct Recorder {
    client: Arc<str>,
    health: watch::Receiver<Health>,
    last: Metrics,
}

impl Recorder {
    fn new(client: &str, health: watch::Receiver<Health>) -> Self {
        static DESCRIBED: Once = Once::new();
        DESCRIBED.call_once(|| {
            let _ = catch_panic(describe);
        });
        Self {
            client: client.into(),
            health,
            last: Metrics::default(),
        }
    }

    fn labels(&self, others: &[(&'static str, String)]) -> Vec<Label> {
        let client = Label::new("client", Arc::clone(&self.client));
        let others = others
            .iter()
            .map(|(name, value)| Label::new(*name, value.clone()));
        std::iter::once(client).chain(others).collect()
    }

    fn publish(&mut self, metrics: Metrics, topics: Vec<(Box<str>, TopicCount)>) {
        let labels = self.labels(&[]);
        // First: what a panicking recorder misses is not exported twice.
        let last = &mem::replace(&mut self.last, metrics.clone());
        for (name, now, before) in [
            (
                names::ENQUEUED_MESSAGES,
                metrics.enqueued.records,
                last.enqueued.records,
            ),
            (
                names::ENQUEUED_BYTES,
                metrics.enqueued.bytes,
                last.enqueued.bytes,
            ),
            // From the start, at 0. A count by error begins with its first error, and a rate of
            // Prometheus does not see the first value of a series.
            (
                names::FAILED_MESSAGES,
                metrics.failed.records,
                last.failed.records,
            ),
            (names::REFUSED_MESSAGES, metrics.refused, last.refused),
            (
                names::RETRIES,
                metrics.retries.unwrap_or(0),
                last.retries.unwrap_or(0),
            ),
            (names::RENEWALS, metrics.renewals, last.renewals),
            (
                names::CALLBACK_PANICS,
                metrics.callback_panics,
                last.callback_panics,
            ),
        ] {
            metrics::counter!(name, labels.clone()).increment(now.saturating_sub(before));
        }
        for (name, value) in [
            (names::IN_FLIGHT_MESSAGES, metrics.in_flight.records),
            (names::IN_FLIGHT_BYTES, metrics.in_flight.bytes),
            (names::WAITING, metrics.waiting),
            (names::ACQUIRED_MESSAGES, metrics.acquired.records),
            (names::ACQUIRED_BYTES, metrics.acquired.bytes),
            (names::LIMIT_MESSAGES, metrics.max_records),
            (names::LIMIT_BYTES, metrics.max_bytes),
        ] {
            metrics::gauge!(name, labels.clone()).set(value as f64);
        }
        let current = self.health.borrow().state();
        for state in Health::STATES {
            let labels = self.labels(&[("state", state.to_owned())]);
            let is_current = f64::from(u8::from(state == current));
            metrics::gauge!(names::HEALTH, labels).set(is_current);
        }
        for (code, count) in &metrics.refused_by_code {
            let before = last.refused_by_code.get(code).copied().unwrap_or(0);
            let labels = self.labels(&[("error.type", error_type(*code))]);
            metrics::counter!(names::REFUSALS, labels).increment(count - before);
        }
        let waits = metrics.capacity_wait.since(&last.capacity_wait);
        record_all(names::CAPACITY_WAIT, &labels, &waits, seconds);
        let turns = metrics.reports_per_turn.since(&last.reports_per_turn);
        record_all(names::REPORTS_PER_TURN, &labels, &turns, |count| count);
        for (topic, count) in topics {
            self.publish_topic(&topic, &count);
        }
    }

    fn publish_topic(&self, topic: &str, count: &TopicCount) {
        let labels = self.labels(&[("topic", topic.to_owned())]);
        let delivered = count.delivered;
        metrics::counter!(names::SENT_MESSAGES, labels.clone()).increment(delivered.records);
        metrics::counter!(names::DELIVERED_BYTES, labels.clone()).increment(delivered.bytes);
        let latency = &count.delivery_latency;
        record_all(names::OPERATION_DURATION, &labels, latency, seconds);
        for (code, count) in &count.failed_by_code {
            let error = ("error.type", error_type(*code));
            let labels = self.labels(&[("topic", topic.to_owned()), error]);
            metrics::counter!(names::SENT_MESSAGES, labels).increment(*count);
        }
    }
}

/// Records each bucket's middle as often as it has values.
fn record_all(
    name: &'static str,
    labels: &[Label],
    histogram: &Histogram,
    unit: impl Fn(f64) -> f64,
) {
    let recorded = metrics::histogram!(name, labels.to_vec());
    for (values, count) in histogram.buckets() {
        let (first, last) = (*values.start(), *values.end());
        let last = last.min(histogram.max().max(first));
        let middle = (first as f64 + last as f64) / 2.0;
        recorded.record_many(unit(middle), usize::try_from(count).unwrap_or(usize::MAX));
    }
}

fn seconds(micros: f64) -> f64 {
    micros / 1e6
}

/// Returns librdkafka's name of a code, such as `_MSG_TIMED_OUT`.
fn error_type(code: RDKafkaErrorCode) -> String {
    code.name().into_owned()
}

/// Registers units and descriptions.
fn describe() {
    for &(name, kind, unit, description) in names::ALL {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, unit, description),
            Kind::Gauge => metrics::describe_gauge!(name, unit, description),
            Kind::Histogram => metrics::describe_histogram!(name, unit, description),
        }
    }
}
