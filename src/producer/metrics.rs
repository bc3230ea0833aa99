//! What a producer has done so far, in numbers.

use super::access::Access;
use super::producer::Producer;
use crate::client::ProducerContext;
use crate::values::Metrics;

impl<C: ProducerContext, A: Access> Producer<C, A> {
    /// Returns what the producer has done so far, in numbers.
    ///
    /// All clones share the numbers. They are counted always, need no configuration, and add up in
    /// each snapshot. The call never waits for a broker, and works after the close, too. It copies
    /// 24 KiB, so call it some times a second rather than for each record.
    ///
    /// ```no_run
    /// # fn run(producer: tokio_rdkafka::Producer) {
    /// let metrics = producer.metrics();
    /// println!(
    ///     "{} delivered, {} failed, {} in flight, p99 {} µs",
    ///     metrics.delivered.records,
    ///     metrics.failed.records,
    ///     metrics.in_flight.records,
    ///     metrics.delivery_latency.value_at_quantile(0.99),
    /// );
    /// # }
    /// ```
    ///
    /// The page [`docs::telemetry`](crate::docs::telemetry) says which number answers which
    /// question.
    pub fn metrics(&self) -> Metrics {
        self.shared().metrics()
    }
}
