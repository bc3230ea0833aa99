//! OpenTelemetry's context in the headers of records.

use std::future::Future;

use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::{Context, global};

use crate::client::{
    ClientContext, DefaultProducerContext, OAuthToken, Partitioner, ProducerContext,
};
use crate::error::{BoxError, KafkaError};
use crate::message::{DeliveryResult, InterceptedRecord};
use crate::values::{Headers, RDKafkaLogLevel};

/// Writes a context into the headers (feature `opentelemetry`).
///
/// To leave the headers alone that a record already has, use
/// [`InterceptedRecord::inject_context`].
impl Injector for Headers {
    /// Replaces the headers of that name.
    fn set(&mut self, key: &str, value: String) {
        Headers::set(self, key, value);
    }
}

/// Reads a context from the headers (feature `opentelemetry`). Values that are null or no UTF-8 do
/// not count.
impl Extractor for Headers {
    /// Returns the value of the last header of that name, as [`Headers::get_str`] does.
    fn get(&self, key: &str) -> Option<&str> {
        self.get_str(key)
    }

    fn keys(&self) -> Vec<&str> {
        self.iter().map(|header| header.name).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let named = self.iter().filter(|header| header.name == key);
        let texts: Vec<_> = named
            .filter_map(|header| std::str::from_utf8(header.value?).ok())
            .collect();
        (!texts.is_empty()).then_some(texts)
    }
}

/// Trace context (feature `opentelemetry`).
impl Headers {
    /// Returns OpenTelemetry's context that the headers carry, by the global propagator.
    ///
    /// It is the current context if they carry none, or if no propagator is set. A consumer
    /// continues the producer's trace with it: see [Trace
    /// context](crate::docs::tracing#trace-context). For a message of the crate `rdkafka`, see
    /// `Headers::from_message`.
    ///
    /// ```
    /// use opentelemetry::trace::{TraceContextExt, TraceId};
    /// use tokio_rdkafka::Headers;
    ///
    /// // The program has set the global propagator.
    /// fn trace_of(headers: &Headers) -> TraceId {
    ///     headers.extract_context().span().span_context().trace_id()
    /// }
    /// ```
    pub fn extract_context(&self) -> Context {
        global::get_text_map_propagator(|propagator| propagator.extract(self))
    }
}

/// Trace context (feature `opentelemetry`).
impl<D> InterceptedRecord<'_, '_, D> {
    /// Adds the headers of OpenTelemetry's context, such as `traceparent`, by the global propagator.
    ///
    /// A record that carries a context keeps it: see [`inject_with`](Self::inject_with).
    /// [`OpenTelemetryContext`] calls it for each record.
    pub fn inject_context(&mut self, context: &Context) {
        struct Setter<'s>(&'s mut dyn FnMut(&str, String));
        impl Injector for Setter<'_> {
            fn set(&mut self, key: &str, value: String) {
                (self.0)(key, value);
            }
        }
        self.inject_with(|set| {
            global::get_text_map_propagator(|propagator| {
                propagator.inject_context(context, &mut Setter(set));
            });
        });
    }
}

/// A producer's context that writes OpenTelemetry's current context into the headers of each record
/// (feature `opentelemetry`).
///
/// It wraps another context, which gets all other calls, and sees each record before it.
/// With a layer of `tracing-opentelemetry` the current context is that of the current `tracing`
/// span. With the feature `tracing-spans`, that is the span of the record.
///
/// Nothing is written unless the program has set OpenTelemetry's global propagator: see [Trace
/// context](crate::docs::tracing#trace-context).
///
/// ```no_run
/// use tokio_rdkafka::{ClientConfig, OpenTelemetryContext, Producer, ProducerRecord};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let producer: Producer<OpenTelemetryContext> = ClientConfig::new()
///     .set("bootstrap.servers", "localhost:9092")
///     .set("enable.idempotence", "true")
///     .create_with_context(OpenTelemetryContext::default())?;
/// // The record has the headers `traceparent` and, if there is one, `tracestate`.
/// producer.send(ProducerRecord::to("orders").payload("three apples")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenTelemetryContext<C = DefaultProducerContext> {
    inner: C,
}

impl<C: ProducerContext> OpenTelemetryContext<C> {
    /// Wraps a context.
    pub fn new(inner: C) -> Self {
        Self { inner }
    }

    /// Returns the wrapped context.
    pub fn inner(&self) -> &C {
        &self.inner
    }
}

impl<C: ClientContext> ClientContext for OpenTelemetryContext<C> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.inner.log(level, facility, message);
    }

    fn error(&self, error: &KafkaError) {
        self.inner.error(error);
    }

    fn stats(&self, json: &str) {
        self.inner.stats(json);
    }

    fn refresh_oauth_token(
        &self,
        config: Option<&str>,
    ) -> impl Future<Output = Result<OAuthToken, BoxError>> + Send {
        self.inner.refresh_oauth_token(config)
    }

    fn oauth_token_requested(&self, config: Option<&str>) {
        self.inner.oauth_token_requested(config);
    }
}

impl<C: ProducerContext> ProducerContext for OpenTelemetryContext<C> {
    type DeliveryOpaque = C::DeliveryOpaque;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        self.inner.delivery(result, opaque);
    }

    fn on_send(&self, record: &mut InterceptedRecord<'_, '_, Self::DeliveryOpaque>) {
        self.inner.on_send(record);
        record.inject_context(&Context::current());
    }

    fn partitioner(&self) -> Option<&dyn Partitioner> {
        self.inner.partitioner()
    }
}
