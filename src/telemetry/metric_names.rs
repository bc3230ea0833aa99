//! The names, units and descriptions of exported metrics.

use metrics::Unit;

/// What kind of a metric it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! names {
    ($($constant:ident = $name:literal, $kind:ident, $unit:ident, $description:literal;)*) => {
        $(pub(super) const $constant: &str = $name;)*

        /// All of them, with their kinds, units and descriptions.
        pub(super) const ALL: &[(&str, Kind, Unit, &str)] =
            &[$(($name, Kind::$kind, Unit::$unit, $description)),*];
    };
}

// The first two are OpenTelemetry's, of its semantic conventions for messaging.
names! {
    SENT_MESSAGES = "messaging.client.sent.messages", Counter, Count,
        "Records that were delivered, or that failed, which have an error.type";
    OPERATION_DURATION = "messaging.client.operation.duration", Histogram, Seconds,
        "Time from the enqueue of a delivered record until its delivery report was served";
    DELIVERED_BYTES = "kafka.producer.delivered.bytes", Counter, Bytes,
        "Payloads of delivered records";
    ENQUEUED_MESSAGES = "kafka.producer.enqueued.messages", Counter, Count,
        "Records that were put into the queue";
    ENQUEUED_BYTES = "kafka.producer.enqueued.bytes", Counter, Bytes,
        "Payloads of records that were put into the queue";
    FAILED_MESSAGES = "kafka.producer.failed.messages", Counter, Count,
        "Records that were enqueued and not delivered";
    REFUSED_MESSAGES = "kafka.producer.refused.messages", Counter, Count,
        "Records that were never enqueued, because their call returned an error";
    REFUSALS = "kafka.producer.refusals", Counter, Count,
        "Records that were never enqueued, by the error.type that their call returned";
    RETRIES = "kafka.producer.retries", Counter, Count,
        "How often records were sent again after a broker's error or a lost answer";
    RENEWALS = "kafka.producer.renewals", Counter, Count,
        "How often a transactional producer has renewed its epoch";
    CALLBACK_PANICS = "kafka.producer.callback.panics", Counter, Count,
        "Callbacks of the context that panicked";
    HEALTH = "kafka.producer.health", Gauge, Count,
        "1 for the current state: connecting, up, degraded, failing, fatal or terminated";
    IN_FLIGHT_MESSAGES = "kafka.producer.in_flight.messages", Gauge, Count,
        "Records that were enqueued and have neither been delivered nor failed";
    IN_FLIGHT_BYTES = "kafka.producer.in_flight.bytes", Gauge, Bytes,
        "Payloads of records in flight";
    WAITING = "kafka.producer.capacity.waiting", Gauge, Count,
        "Calls that wait for capacity of the queue";
    ACQUIRED_MESSAGES = "kafka.producer.capacity.acquired.messages", Gauge, Count,
        "Records that use capacity of the queue, and permits for one";
    ACQUIRED_BYTES = "kafka.producer.capacity.acquired.bytes", Gauge, Bytes,
        "Payloads that use capacity of the queue";
    LIMIT_MESSAGES = "kafka.producer.capacity.limit.messages", Gauge, Count,
        "queue.buffering.max.messages";
    LIMIT_BYTES = "kafka.producer.capacity.limit.bytes", Gauge, Bytes,
        "queue.buffering.max.kbytes, in bytes";
    CAPACITY_WAIT = "kafka.producer.capacity.wait", Histogram, Seconds,
        "How long calls waited for capacity that had to wait";
    REPORTS_PER_TURN = "kafka.producer.reports_per_turn", Histogram, Count,
        "Delivery reports that were served in one turn of the producer's task";
}
