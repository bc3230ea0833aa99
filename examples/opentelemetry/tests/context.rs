//! OpenTelemetry's context in the headers of records, with its SDK.

use futures::StreamExt;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, ContextGuard, global};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tokio_rdkafka::{
    ClientContext, DeliveryResult, Headers, InterceptedRecord, MockCluster, OpenTelemetryContext,
    Producer, ProducerContext, ProducerRecord,
};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use support::logs::ask_all_subscribers;
use support::mock::{cluster, config};

/// What the tests of the library share.
#[allow(dead_code)] // A part of it is used here.
#[path = "../../../tests/support"]
mod support {
    pub mod logs;
    pub mod mock;
}

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A context with a hook of its own.
struct Injecting;

impl ClientContext for Injecting {}

impl ProducerContext for Injecting {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}

    fn on_send(&self, record: &mut InterceptedRecord<'_, '_>) {
        record.inject_with(|set| set("inner", "1".to_owned()));
    }
}

async fn arrived(cluster: &MockCluster) -> Headers {
    let mut records = cluster.records("t").await.unwrap();
    records.pop().unwrap().headers().clone()
}

fn span_context(state: &str) -> SpanContext {
    SpanContext::new(
        TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
        SpanId::from(0x00f0_67aa_0ba9_02b7),
        TraceFlags::SAMPLED,
        true,
        state.parse::<TraceState>().unwrap(),
    )
}

/// Makes it the current context of this thread.
fn within(state: &str) -> ContextGuard {
    global::set_text_map_propagator(TraceContextPropagator::new());
    Context::new()
        .with_remote_span_context(span_context(state))
        .attach()
}

async fn producer(cluster: &MockCluster) -> Producer<OpenTelemetryContext> {
    let context = OpenTelemetryContext::default();
    config(cluster).create_with_context(context).unwrap()
}

#[tokio::test]
async fn the_current_context_goes_with_the_record() {
    let cluster = cluster("t", 1);
    let producer = producer(&cluster).await;
    let guard = within("vendor=1");
    producer.send(ProducerRecord::to("t")).await.unwrap();
    let headers = arrived(&cluster).await;
    let expected = Headers::new().append("traceparent", TRACEPARENT);
    assert_eq!(headers, expected.clone().append("tracestate", "vendor=1"));
    assert_eq!(
        headers.extract_context().span().span_context(),
        &span_context("vendor=1")
    );
    // Another trace is respected.
    let other = TRACEPARENT.replace("4bf9", "aaaa");
    let record = ProducerRecord::to("t").header("traceparent", &other);
    producer.send(record).await.unwrap();
    let headers = arrived(&cluster).await;
    assert_eq!(headers, Headers::new().append("traceparent", other));
    drop(guard);
    // No state, and no trace.
    let guard = within("");
    producer.send(ProducerRecord::to("t")).await.unwrap();
    assert_eq!(arrived(&cluster).await, expected);
    drop(guard);
    producer.send(ProducerRecord::to("t")).await.unwrap();
    assert!(arrived(&cluster).await.is_empty());
}

/// The calls that a wrapped context gets.
#[tokio::test]
async fn a_wrapped_context_gets_its_calls() {
    let cluster = cluster("t", 1);
    let producer: Producer<OpenTelemetryContext<Injecting>> = config(&cluster)
        .create_with_context(OpenTelemetryContext::new(Injecting))
        .unwrap();
    let _guard = within("");
    producer.send(ProducerRecord::to("t")).await.unwrap();
    let expected = Headers::new().append("inner", "1");
    let expected = expected.append("traceparent", TRACEPARENT);
    assert_eq!(arrived(&cluster).await, expected);
    let Injecting = producer.context().inner();
}

#[test]
fn headers_are_a_carrier() {
    let context = Context::new().with_remote_span_context(span_context("a=1"));
    let propagator = TraceContextPropagator::new();
    let mut headers = Headers::new()
        .append("traceparent", "old")
        .append("raw", [0xff]);
    propagator.inject_context(&context, &mut headers);
    assert_eq!(headers.get_str("traceparent"), Some(TRACEPARENT));
    let extracted = propagator.extract(&headers);
    assert_eq!(extracted.span().span_context(), &span_context("a=1"));
    let carrier: &mut dyn Injector = &mut headers;
    carrier.set("b", "2".to_owned());
    let headers = headers.append("b", "3").append("b", None::<&str>);
    let carrier: &dyn Extractor = &headers;
    assert_eq!(carrier.get_all("b"), Some(vec!["2", "3"]));
    assert_eq!((carrier.get("raw"), carrier.get_all("raw")), (None, None));
    let names = ["traceparent", "raw", "tracestate", "b", "b", "b"];
    assert_eq!(carrier.keys(), names);
}

/// The exported span is the one that the record names.
#[tokio::test]
async fn the_record_names_its_own_span() {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("tests"));
    ask_all_subscribers();
    let subscriber = Registry::default().with(layer);
    let _guard = tracing::subscriber::set_default(subscriber);
    let cluster = cluster("t", 1);
    let producer = producer(&cluster).await;
    async {
        producer
            .send(ProducerRecord::to("t").payload("v"))
            .await
            .unwrap();
        let results = producer.send_all([ProducerRecord::to("t"), ProducerRecord::to("t")]);
        results
            .for_each(async |result| {
                result.unwrap();
            })
            .await;
    }
    .instrument(tracing::info_span!("request"))
    .await;
    let spans = exporter.get_finished_spans().unwrap();
    let request = spans.iter().find(|span| span.name == "request").unwrap();
    let records = cluster.records("t").await.unwrap();
    let sent: Vec<_> = spans.iter().filter(|span| span.name == "send t").collect();
    assert_eq!((sent.len(), records.len()), (3, 3));
    for (span, record) in sent.iter().zip(&records) {
        assert_eq!(span.span_kind, SpanKind::Producer);
        assert_eq!(span.parent_span_id, request.span_context.span_id());
        let context = record.headers().extract_context();
        let context = context.span().span_context().clone();
        assert_eq!(context.trace_id(), request.span_context.trace_id());
        assert_eq!(context.span_id(), span.span_context.span_id());
        let attribute = |name: &str| {
            let mut named = span.attributes.iter().filter(|it| it.key.as_str() == name);
            let value = named.next().map(|it| it.value.to_string());
            assert!(named.next().is_none(), "{name} is there twice");
            value
        };
        let offset = record.offset().map(|offset| offset.to_string());
        assert_eq!(attribute("messaging.kafka.offset"), offset);
        for (name, value) in [
            ("messaging.system", "kafka"),
            ("messaging.destination.name", "t"),
            ("messaging.destination.partition.id", "0"),
        ] {
            assert_eq!(attribute(name).as_deref(), Some(value));
        }
    }
}
