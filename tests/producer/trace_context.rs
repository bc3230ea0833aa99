//! Trace context in the headers of records.

use std::sync::Mutex;

use futures::StreamExt;
use tokio_rdkafka::{
    ApiKey, ClientContext, DeliveryResult, Headers, InterceptedRecord, MockCluster, Producer,
    ProducerContext, ProducerRecord, RDKafkaErrorCode as Code,
};

use crate::support::mock::{cluster, config};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Writes these headers into each record.
#[derive(Default)]
struct Injecting(Mutex<Vec<(&'static str, &'static str)>>);

impl ClientContext for Injecting {}

impl ProducerContext for Injecting {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}

    fn on_send(&self, record: &mut InterceptedRecord<'_, '_>) {
        record.inject_with(|set| {
            for (name, value) in &*self.0.lock().unwrap() {
                set(name, (*value).to_owned());
            }
        });
    }
}

async fn arrived(cluster: &MockCluster) -> Headers {
    let mut records = cluster.records("t").await.unwrap();
    records.pop().unwrap().headers().clone()
}

#[tokio::test]
async fn headers_that_a_record_has_are_respected() {
    let all = [
        ("traceparent", "new"),
        ("tracestate", "new"),
        ("baggage", "new"),
    ];
    let headers = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Headers>();
    type Pairs<'p> = &'p [(&'p str, &'p str)];
    let cases: &[(Pairs<'_>, Pairs<'_>)] = &[
        (&[], &all),
        (
            &[("other", "old")],
            &[("other", "old"), all[0], all[1], all[2]],
        ),
        // A `tracestate` without its `traceparent` would be wrong.
        (&[("traceparent", "old")], &[("traceparent", "old"), all[2]]),
        (&[("tracestate", "old")], &[("tracestate", "old"), all[2]]),
        (&[("baggage", "old")], &[("baggage", "old"), all[0], all[1]]),
        (
            &[("traceparent", "old"), ("baggage", "old")],
            &[("traceparent", "old"), ("baggage", "old")],
        ),
    ];
    let cluster = cluster("t", 1);
    let context = Injecting(Mutex::new(all.to_vec()));
    let producer: Producer<Injecting> = config(&cluster).create_with_context(context).unwrap();
    for (given, expected) in cases {
        let record = ProducerRecord::to("t").headers(headers(given));
        producer.send(record).await.unwrap();
        assert_eq!(arrived(&cluster).await, headers(expected));
    }
    // An empty one says nothing.
    *producer.context().0.lock().unwrap() = vec![("traceparent", "new"), ("tracestate", "")];
    producer.send(ProducerRecord::to("t")).await.unwrap();
    assert_eq!(arrived(&cluster).await, headers(&[("traceparent", "new")]));
    producer.context().0.lock().unwrap().clear();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    assert!(arrived(&cluster).await.is_empty());
}

#[tokio::test]
async fn a_record_that_is_sent_again_has_the_headers_once() {
    let cluster = cluster("t", 1);
    let context = Injecting(Mutex::new(vec![("traceparent", TRACEPARENT)]));
    let producer: Producer<Injecting> = config(&cluster)
        .set("linger.ms", "50")
        .create_with_context(context)
        .unwrap();
    producer.send(ProducerRecord::to("t")).await.unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRecord]);
    let error = producer.send(ProducerRecord::to("t")).await.unwrap_err();
    assert!(error.record().get_headers().is_empty());
    producer.send(error.into_record()).await.unwrap();
    cluster.request_errors(ApiKey::Produce, &[Code::InvalidRecord]);
    let results = producer.send_all([ProducerRecord::to("t"), ProducerRecord::to("t")]);
    let results = results.resend_refused_batches();
    assert!(results.all(async |result| result.is_ok()).await);
    let records = cluster.records("t").await.unwrap();
    assert_eq!(records.len(), 4);
    for record in records {
        let headers = record.headers();
        assert_eq!(headers, &Headers::new().append("traceparent", TRACEPARENT));
    }
}

#[cfg(feature = "opentelemetry")]
mod by_opentelemetry {
    use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
    use opentelemetry::trace::{
        SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
    };
    use opentelemetry::{Context, ContextGuard, global};
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tokio_rdkafka::OpenTelemetryContext;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry::Registry;

    use super::*;
    use crate::support::logs::ask_all_subscribers;

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
        let inner = Injecting(Mutex::new(vec![("inner", "1")]));
        let producer: Producer<OpenTelemetryContext<Injecting>> = config(&cluster)
            .create_with_context(OpenTelemetryContext::new(inner))
            .unwrap();
        let _guard = within("");
        producer.send(ProducerRecord::to("t")).await.unwrap();
        let expected = Headers::new().append("inner", "1");
        let expected = expected.append("traceparent", TRACEPARENT);
        assert_eq!(arrived(&cluster).await, expected);
        assert_eq!(producer.context().inner().0.lock().unwrap().len(), 1);
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
    #[cfg(feature = "tracing-spans")]
    #[tokio::test]
    async fn the_record_names_its_own_span() {
        use opentelemetry::trace::SpanKind;
        use tracing::Instrument;
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
}
