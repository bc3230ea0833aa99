//! Sends orders and processes them in one trace, which goes from the producer to the consumer in the
//! headers of the records.
//!
//! ```sh
//! cargo run -p opentelemetry-example  # on a mock cluster
//! cargo run -p opentelemetry-example -- --brokers localhost:9092 --topic orders
//! ```
//!
//! It prints each span when it ends. A service would export them by the crate `opentelemetry-otlp`
//! instead: only `tracer_provider` would change.

#[path = "../../common/mod.rs"]
mod common;

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio_rdkafka::{ClientConfig, Headers, OpenTelemetryContext, Producer, ProducerRecord};
use tracing::{Instrument, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How long a broker or a record may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Parser)]
#[command(about = "Sends and processes records in one trace.")]
struct Arguments {
    /// The cluster, as host:port,…; by default a mock cluster inside this process
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value = "orders")]
    topic: String,
    #[arg(long, default_value_t = 3)]
    orders: u32,
}

/// Prints the spans that have ended.
#[derive(Debug)]
struct Printer;

impl SpanExporter for Printer {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        for span in spans {
            println!(
                "trace {} span {} parent {} {:?} {:?}",
                span.span_context.trace_id(),
                span.span_context.span_id(),
                span.parent_span_id,
                span.span_kind,
                span.name,
            );
            let messaging = |key: &str| key.starts_with("messaging.") || key == "error.type";
            for attribute in span.attributes {
                if messaging(attribute.key.as_str()) {
                    println!("    {} = {}", attribute.key, attribute.value);
                }
            }
        }
        Ok(())
    }
}

fn tracer_provider() -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_simple_exporter(Printer)
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();

    // `traceparent` and `tracestate` are how the context travels.
    global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = tracer_provider();
    let spans = tracing_opentelemetry::layer()
        .with_location(false)
        .with_tracer(provider.tracer("orders"));
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::registry()
        .with(spans)
        .with(logs.with_filter(filter))
        .init();

    // Kept until the end of `main`: dropping the mock cluster stops its brokers.
    let (brokers, _mock) = common::brokers(arguments.brokers, &arguments.topic)?;
    let producer: Producer<OpenTelemetryContext> = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("enable.idempotence", "true")
        .create_with_context(OpenTelemetryContext::default())?;
    producer.ready(PATIENCE).await?;

    let consumer: StreamConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("group.id", "shipping")
        .create()?;
    for number in 1..=arguments.orders {
        let (partition, offset) = take_order(&producer, &arguments.topic, number).await?;
        // The record that was just sent. A service would subscribe.
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&arguments.topic, partition, Offset::Offset(offset))?;
        consumer.assign(&assignment)?;
        tokio::time::timeout(PATIENCE, ship(&consumer)).await??;
    }

    producer.close_timeout(PATIENCE).await;
    provider.shutdown()?;
    Ok(())
}

/// Handles a request: sends an order, and returns where it is.
async fn take_order(
    producer: &Producer<OpenTelemetryContext>,
    topic: &str,
    number: u32,
) -> Result<(i32, i64), Box<dyn Error>> {
    let record = ProducerRecord::to(topic)
        .key(number.to_string())
        .payload("three apples");
    // The span of the record is a child of this one.
    let request = info_span!("POST /orders", otel.kind = "server");
    let delivery = producer.send(record).instrument(request).await?;
    let offset = delivery
        .offset()
        .ok_or("a broker with acks=all tells the offset")?;
    Ok((delivery.partition(), offset))
}

/// Processes a record in the trace of its producer.
async fn ship(consumer: &StreamConsumer) -> Result<(), Box<dyn Error>> {
    let message = consumer.recv().await?;
    let span = info_span!(
        "process order",
        otel.kind = "consumer",
        messaging.system = "kafka",
        messaging.operation.name = "process",
        messaging.destination.name = message.topic(),
        messaging.kafka.offset = message.offset(),
    );
    // Before the span is entered. It makes the span of the record its parent.
    span.set_parent(Headers::from_message(&message).extract_context())?;
    async {
        // What happens here is part of the trace, also records that it sends.
        tracing::debug!("shipping {:?}", message.key());
    }
    .instrument(span)
    .await;
    Ok(())
}
