//! A span for each record.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt, stream};
use tokio_rdkafka::{
    ApiKey, BaseProducer, ClientConfig, ClientContext, DeliveryResult, InterceptedRecord,
    ProduceExt, Producer, ProducerContext, ProducerRecord, PurgeConfig, RDKafkaErrorCode as Code,
    TransactionalProducer,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Instrument, Level, Span, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{self, LookupSpan};

use crate::support::logs::ask_all_subscribers;
use crate::support::mock::{
    DEADLINE, Drop, assert_capacity_is_whole, cluster, config, poll_then_drop, until,
};

/// A span that has ended, or not yet.
#[derive(Clone, Debug, Default)]
struct Seen {
    target: String,
    parent: Option<String>,
    fields: BTreeMap<String, String>,
    is_closed: bool,
}

impl Seen {
    fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    fn assert_fields(&self, fields: &[(&str, Option<&str>)]) {
        for (field, value) in fields {
            assert_eq!(self.get(field), *value, "{field} of {self:#?}");
        }
    }
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields
            .insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let again = self
            .fields
            .insert(field.name().to_owned(), format!("{value:?}"));
        // Exporters would show it twice.
        assert!(again.is_none(), "{field} was recorded twice");
    }
}

#[derive(Clone, Default)]
struct Spans {
    seen: Arc<Mutex<Vec<Seen>>>,
    panics_at: Option<At>,
}

/// What a subscriber may do badly.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    New,
    Record,
    Enter,
    Exit,
    Close,
}

impl Spans {
    fn panic_if(&self, at: At, name: &str) {
        assert!(self.panics_at != Some(at) || name != "send", "as asked");
    }

    /// Those of the crate.
    fn all(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap().clone();
        let ours = seen
            .into_iter()
            .filter(|seen| seen.target == "tokio_rdkafka::send");
        ours.collect()
    }

    fn closed(&self) -> Vec<Seen> {
        self.all()
            .into_iter()
            .filter(|seen| seen.is_closed)
            .collect()
    }

    /// The one that there is, once it has ended.
    async fn only(&self) -> Seen {
        until(|| !self.closed().is_empty()).await;
        let mut all = self.all();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.pop().unwrap()
    }

    fn forget(&self) {
        assert_eq!(self.all().len(), self.closed().len(), "all have ended");
        self.seen.lock().unwrap().clear();
    }
}

/// Where the span is among those that were seen.
struct Place(usize);

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut seen = Seen {
            target: span.metadata().target().to_owned(),
            parent: span.parent().map(|parent| parent.name().to_owned()),
            ..Seen::default()
        };
        attributes.record(&mut seen);
        let mut all = self.seen.lock().unwrap();
        span.extensions_mut().insert(Place(all.len()));
        all.push(seen);
        drop(all);
        self.panic_if(At::New, span.name());
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let place = span.extensions().get::<Place>().unwrap().0;
        if let Some(seen) = self.seen.lock().unwrap().get_mut(place) {
            values.record(seen);
        }
        self.panic_if(At::Record, span.name());
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.panic_if(At::Enter, context.span(id).unwrap().name());
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.panic_if(At::Exit, context.span(id).unwrap().name());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let place = span.extensions().get::<Place>().unwrap().0;
        if let Some(seen) = self.seen.lock().unwrap().get_mut(place) {
            seen.is_closed = true;
        }
        self.panic_if(At::Close, span.name());
    }
}

fn spans() -> (DefaultGuard, Spans) {
    seen_by(Spans::default())
}

fn seen_by(spans: Spans) -> (DefaultGuard, Spans) {
    ask_all_subscribers();
    let subscriber = registry::Registry::default().with(spans.clone());
    (tracing::subscriber::set_default(subscriber), spans)
}

fn record() -> ProducerRecord<'static> {
    ProducerRecord::to("t")
        .key("the-key")
        .payload("the-payload")
}

/// What a delivered record's span has.
fn assert_delivered(span: &Seen) {
    assert!(span.is_closed, "{span:#?}");
    span.assert_fields(&[
        ("otel.name", Some("send t")),
        ("otel.kind", Some("producer")),
        ("otel.status_code", None),
        ("error.type", None),
        ("messaging.system", Some("kafka")),
        ("messaging.operation.name", Some("send")),
        ("messaging.operation.type", Some("send")),
        ("messaging.destination.name", Some("t")),
        ("messaging.destination.partition.id", Some("0")),
        ("messaging.kafka.message.tombstone", None),
        ("messaging.message.body.size", Some("11")),
        ("tokio_rdkafka.key.size", Some("7")),
        ("tokio_rdkafka.persistence", Some("persisted")),
    ]);
    let client = span.get("messaging.client.id").unwrap();
    assert!(client.starts_with("rdkafka#producer-"), "{client}");
    let offset: i64 = span.get("messaging.kafka.offset").unwrap().parse().unwrap();
    assert!(offset >= 0);
    for duration in [
        "tokio_rdkafka.wait.duration",
        "tokio_rdkafka.delivery.duration",
    ] {
        let seconds: f64 = span.get(duration).unwrap().parse().unwrap();
        assert!((0.0..60.0).contains(&seconds), "{seconds}");
    }
    // Contents are the user's.
    let fields = format!("{span:?}");
    assert!(!fields.contains("the-key") && !fields.contains("the-payload"));
}

/// Each way to send, in a span of its own.
#[tokio::test]
async fn each_way_to_send_has_a_span_within_the_callers() {
    let (_guard, spans) = spans();
    let cluster = cluster("t", 1);
    let it: Producer = config(&cluster).create().unwrap();
    macro_rules! in_its_span {
        ($($name:literal: $send:expr,)*) => {$(
            async { $send }.instrument(info_span!($name)).await;
            until(|| !spans.closed().is_empty()).await;
            for span in spans.all() {
                assert_eq!(span.parent.as_deref(), Some($name));
                assert_delivered(&span);
            }
            spans.forget();
        )*};
    }
    in_its_span! {
        "send": { it.send(record()).await.unwrap(); },
        "send_timeout": { it.send_timeout(record(), DEADLINE).await.unwrap(); },
        "enqueue": { it.enqueue(record()).await.unwrap().await.unwrap(); },
        "try_enqueue": { it.try_enqueue(record()).unwrap().await.unwrap(); },
        "enqueue_detached": it.enqueue_detached(record()).await.unwrap(),
        "try_enqueue_detached": it.try_enqueue_detached(record()).unwrap(),
        "permit": { it.reserve().await.unwrap().send(record()).await.unwrap(); },
        "owned": { it.reserve_owned().await.unwrap().send(record()).await.unwrap(); },
        "bytes": { it.reserve_bytes(11).await.unwrap().send(record()).await.unwrap(); },
        "sink": it.sink().send(record()).await.unwrap(),
        "send_all": it
            .send_all([record(), record(), record().header("h", "v")])
            .for_each(async |result| { result.unwrap(); })
            .await,
        "produce": stream::iter([((), [record(), record()])])
            .produce(&it)
            .for_each(async |(_, result)| { result.unwrap(); })
            .await,
        "produce_each": stream::iter([((), record())])
            .produce_each(&it)
            .for_each(async |(_, result)| { result.unwrap(); })
            .await,
    }
    // A root, if there is no span.
    it.send(record()).await.unwrap();
    assert_eq!(spans.only().await.parent, None);
}

#[tokio::test]
async fn a_transaction_and_a_base_producer_have_spans_too() {
    let (_guard, spans) = spans();
    let cluster = cluster("t", 1);
    let mut producer: TransactionalProducer = config(&cluster)
        .set("transactional.id", "tests")
        .create()
        .unwrap();
    producer.init(DEADLINE).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    transaction.send(record()).await.unwrap();
    assert_delivered(&spans.only().await);
    transaction.commit().await.unwrap();
    spans.forget();

    let producer: BaseProducer = config(&cluster)
        .set("queue.buffering.max.messages", "1")
        .create()
        .unwrap();
    let parent = info_span!("base");
    parent.in_scope(|| producer.send(record()).unwrap());
    let error = producer.send(record()).unwrap_err();
    assert!(error.is_queue_full());
    producer.flush(DEADLINE).unwrap();
    let [sent, refused] = &spans.closed()[..] else {
        panic!("{:#?}", spans.all());
    };
    assert_eq!(sent.parent.as_deref(), Some("base"));
    assert_delivered(sent);
    refused.assert_fields(&[
        ("error.type", Some("_QUEUE_FULL")),
        ("otel.status_code", Some("ERROR")),
    ]);
}

#[tokio::test]
async fn it_ends_with_the_delivery_although_nobody_awaits_it() {
    let (_guard, spans) = spans();
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "60000").create().unwrap();
    drop(producer.enqueue(record()).await.unwrap());
    // `send` was polled, and then dropped.
    assert!(producer.send(record()).now_or_never().is_none());
    assert!(spans.closed().is_empty());
    producer.flush().await.unwrap();
    let closed = spans.closed();
    assert_eq!(closed.len(), 2);
    closed.iter().for_each(assert_delivered);
}

#[tokio::test]
async fn a_failure_has_its_code() {
    let (_guard, spans) = spans();
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster)
        .set("linger.ms", "60000")
        .set("queue.buffering.max.messages", "1")
        .create()
        .unwrap();
    // Purged.
    let waits = producer.enqueue(record()).await.unwrap();
    // Refused.
    producer.try_enqueue(record()).unwrap_err();
    let refused = &spans.closed()[0];
    refused.assert_fields(&[
        ("error.type", Some("_QUEUE_FULL")),
        ("otel.status_code", Some("ERROR")),
        ("messaging.destination.partition.id", None),
        ("messaging.kafka.offset", None),
        ("tokio_rdkafka.delivery.duration", None),
    ]);
    assert!(refused.get("tokio_rdkafka.wait.duration").is_some());
    let timed_out = producer.send_timeout(record(), Duration::ZERO).await;
    assert!(timed_out.is_err());
    spans.closed()[1].assert_fields(&[("error.type", Some("_QUEUE_FULL"))]);
    // Dropped while it waits.
    let waiting = poll_then_drop(producer.send(record()), 1, Drop::AtOnce).await;
    assert!(waiting.is_none());
    spans.closed()[2].assert_fields(&[
        ("error.type", Some("cancelled")),
        ("otel.status_code", None),
    ]);
    producer.purge(PurgeConfig::default().queue()).await;
    waits.await.unwrap_err();
    let closed = spans.closed();
    assert_eq!((closed.len(), spans.all().len()), (4, 4));
    closed[0].assert_fields(&[
        ("error.type", Some("_PURGE_QUEUE")),
        ("otel.status_code", Some("ERROR")),
        ("messaging.kafka.offset", None),
        ("tokio_rdkafka.persistence", Some("not persisted")),
    ]);
    assert!(closed[0].get("otel.status_description").is_some());
    assert!(closed[0].get("tokio_rdkafka.delivery.duration").is_some());
    spans.forget();
    // The broker's verdict.
    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRecord]);
    let refused = producer.enqueue(record()).await.unwrap();
    producer.flush().await.unwrap();
    refused.await.unwrap_err();
    let span = spans.only().await;
    span.assert_fields(&[("error.type", Some("INVALID_RECORD"))]);
    spans.forget();
    // The call asks for the partition several times.
    producer.send(record().partition(7)).await.unwrap_err();
    let span = spans.only().await;
    span.assert_fields(&[("error.type", Some("_UNKNOWN_PARTITION"))]);
    assert_capacity_is_whole(&producer, 1);
}

#[tokio::test]
async fn each_attempt_has_a_span() {
    let (_guard, spans) = spans();
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).set("linger.ms", "50").create().unwrap();
    producer.send(record()).await.unwrap();
    spans.forget();
    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRecord]);
    let results = producer.send_all([record(), record()]);
    let results = results.resend_refused_batches();
    assert!(results.all(async |result| result.is_ok()).await);
    let closed = spans.closed();
    assert_eq!(closed.len(), 4);
    for refused in &closed[..2] {
        refused.assert_fields(&[("error.type", Some("INVALID_RECORD"))]);
    }
    closed[2..].iter().for_each(assert_delivered);
}

#[tokio::test]
async fn a_tombstone_and_a_null_key_have_no_sizes() {
    let (_guard, spans) = spans();
    let cluster = cluster("t", 1);
    let producer: Producer = config(&cluster).create().unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    spans.only().await.assert_fields(&[
        ("messaging.kafka.message.tombstone", Some("true")),
        ("messaging.message.body.size", Some("0")),
        ("tokio_rdkafka.key.size", None),
    ]);
}

/// The hook runs in the span, so that the trace context that it writes is the span's.
#[tokio::test]
async fn the_hook_runs_in_the_span_which_shows_what_it_has_made_of_the_record() {
    struct Hooked;
    impl ClientContext for Hooked {}
    impl ProducerContext for Hooked {
        type DeliveryOpaque = ();
        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
        fn on_send(&self, record: &mut InterceptedRecord<'_, '_>) {
            let current = Span::current();
            let metadata = current.metadata().unwrap();
            record.headers_mut().push("span", metadata.target());
            record.set_topic("other");
            record.set_payload("longer than before");
        }
    }
    let (_guard, spans) = spans();
    let cluster = cluster("other", 1);
    let producer: Producer<Hooked> = config(&cluster).create_with_context(Hooked).unwrap();
    producer.send(record()).await.unwrap();
    let span = spans.only().await;
    span.assert_fields(&[
        ("otel.name", Some("send other")),
        ("messaging.destination.name", Some("other")),
        ("messaging.message.body.size", Some("18")),
    ]);
    let arrived = cluster.records("other").await.unwrap();
    let header = arrived[0].headers().get("span");
    assert_eq!(header, Some(Some(&b"tokio_rdkafka::send"[..])));
}

/// It neither loses a record, nor keeps one from the context's hook.
#[tokio::test]
async fn a_subscriber_that_panics_loses_nothing() {
    struct Signing;
    impl ClientContext for Signing {}
    impl ProducerContext for Signing {
        type DeliveryOpaque = ();
        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
        fn on_send(&self, record: &mut InterceptedRecord<'_, '_>) {
            record.headers_mut().push("signature", "s");
        }
    }
    for at in [At::New, At::Record, At::Enter, At::Exit, At::Close] {
        let (_guard, _spans) = seen_by(Spans {
            panics_at: Some(at),
            ..Spans::default()
        });
        let cluster = cluster("t", 1);
        let producer: Producer<Signing> = config(&cluster).create_with_context(Signing).unwrap();
        producer.send(record()).await.unwrap();
        let results = producer.send_all([record(), record()]);
        assert!(results.all(async |result| result.is_ok()).await);
        producer.send(record().partition(7)).await.unwrap_err();
        let records = cluster.records("t").await.unwrap();
        let signatures = records.iter().flat_map(|it| it.headers().get("signature"));
        assert_eq!((records.len(), signatures.count()), (3, 3), "{at:?}");
        assert_eq!(producer.close().await.undelivered, 0, "{at:?}");
    }
}

/// A filter turns them off, and the record does without.
#[tokio::test]
async fn a_filter_turns_them_off() {
    ask_all_subscribers();
    let spans = Spans::default();
    let filter = tracing_subscriber::filter::Targets::new()
        .with_default(Level::TRACE)
        .with_target("tokio_rdkafka::send", Level::ERROR);
    let subscriber = registry::Registry::default().with(spans.clone().with_filter(filter));
    let _guard = tracing::subscriber::set_default(subscriber);
    let cluster = cluster("t", 1);
    let config: ClientConfig = config(&cluster);
    let producer: Producer = config.create().unwrap();
    producer.send(record()).await.unwrap();
    assert!(spans.all().is_empty());
}

/// The runtime ends before the delivery.
#[test]
fn it_ends_with_the_producer_at_the_latest() {
    let (_guard, spans) = spans();
    let cluster = cluster("t", 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let [future] = runtime.block_on(async {
        let producer: Producer = config(&cluster).set("linger.ms", "60000").create().unwrap();
        [producer.enqueue(record()).await.unwrap()]
    });
    drop(runtime);
    futures::executor::block_on(future).unwrap_err();
    // A span may end on a thread that has another subscriber.
    let span = spans.closed().pop().unwrap();
    span.assert_fields(&[("error.type", Some("_PURGE_QUEUE"))]);
}
