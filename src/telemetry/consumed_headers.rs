//! The headers of a message that a consumer of the crate `rdkafka` has received.

use rdkafka::Message;
use rdkafka::message::Headers as _;

use crate::values::Headers;

/// Messages of the crate `rdkafka` (feature `rdkafka`).
impl Headers {
    /// Copies the headers of a message that a consumer of the crate `rdkafka` has received.
    ///
    /// Use it to forward headers, and with the feature `opentelemetry` to continue a trace: see
    /// [Trace context](crate::docs::tracing#trace-context).
    ///
    /// ```
    /// use rdkafka::message::BorrowedMessage;
    /// use tokio_rdkafka::{Headers, ProducerRecord};
    ///
    /// fn forward(message: &BorrowedMessage<'_>) -> ProducerRecord<'static> {
    ///     ProducerRecord::to("invoices").headers(Headers::from_message(message))
    /// }
    /// ```
    pub fn from_message(message: &impl Message) -> Self {
        let Some(headers) = message.headers() else {
            return Self::new();
        };
        let pairs = headers.iter().map(|header| (header.key, header.value));
        pairs.collect()
    }
}
