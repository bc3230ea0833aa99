//! The headers of a message that a consumer of the crate `rdkafka` has received.

use rdkafka::Message;
use rdkafka::message::Headers as _;

use crate::values::Headers;

/// Messages of the crate `rdkafka` (feature `rdkafka`).
impl Headers {
    /// Copies the headers of a message that a consumer of the crate `rdkafka` has received.
    ///
    /// Use it to forward headers, and with the feature `opentelemetry` to continue a trace:
    ///
    #[cfg_attr(feature = "opentelemetry", doc = "```no_run")]
    #[cfg_attr(not(feature = "opentelemetry"), doc = "```ignore")]
    /// use rdkafka::consumer::StreamConsumer;
    /// use tokio_rdkafka::Headers;
    /// use tracing::Instrument;
    /// use tracing_opentelemetry::OpenTelemetrySpanExt;
    ///
    /// # async fn run(consumer: StreamConsumer) -> Result<(), Box<dyn std::error::Error>> {
    /// let message = consumer.recv().await?;
    /// let span = tracing::info_span!("process orders", otel.kind = "consumer");
    /// // Before the span is entered.
    /// span.set_parent(Headers::from_message(&message).extract_context())?;
    /// async {
    ///     // Records that are sent here belong to the producer's trace.
    /// }
    /// .instrument(span)
    /// .await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_message(message: &impl Message) -> Self {
        let Some(headers) = message.headers() else {
            return Self::new();
        };
        let pairs = headers.iter().map(|header| (header.key, header.value));
        pairs.collect()
    }
}
