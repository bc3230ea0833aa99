//! Values that this crate reads from a librdkafka configuration, or replaces in it.

use std::time::Duration;

use crate::error::KafkaError;
use crate::ffi::Conf;

/// The property that closes idle connections.
pub(super) const MAX_IDLE: &str = "connections.max.idle.ms";

/// Returns the default of [`MAX_IDLE`] for a transactional producer.
///
/// While librdkafka sends a consumer's offsets it waits for the group's coordinator, without a
/// limit. If that broker has left the cluster it never gets a connection. librdkafka asks for the
/// new coordinator only when another connection opens or closes (its issues 5456 and 5511). A
/// transactional producer has it open all connections. If they are open, closing idle ones ends the
/// wait before the transaction times out.
///
/// It must not be shorter, because a connection also counts as idle while it waits for an answer.
/// librdkafka gives a produce request 30 s by default (`request.timeout.ms`).
pub(super) fn max_idle(transaction_timeout: Duration) -> Duration {
    (transaction_timeout / 2).clamp(Duration::from_secs(10), Duration::from_secs(30))
}

/// The property that limits the time between two attempts to connect.
pub(super) const MAX_RECONNECT_BACKOFF: &str = "reconnect.backoff.max.ms";

/// Returns the default of [`MAX_RECONNECT_BACKOFF`], in milliseconds.
///
/// While a broker is down, its thread in librdkafka checks messages for timeouts only before each
/// attempt to connect. With librdkafka's default of 10 s, messages of a broker that is down fail up
/// to 10 s late.
pub(super) fn max_reconnect_backoff(conf: &Conf) -> u64 {
    const DEFAULT: u64 = 500;
    let least = conf.get("reconnect.backoff.ms");
    least
        .and_then(|least| least.parse().ok())
        .map_or(DEFAULT, |least: u64| least.max(DEFAULT))
}

/// The property that limits how long a request waits for its answer.
pub(super) const SOCKET_TIMEOUT: &str = "socket.timeout.ms";

/// Returns the default of [`SOCKET_TIMEOUT`], or `None` if librdkafka's is not longer.
///
/// A broker that has stopped answering keeps its connection: librdkafka goes on sending to it, and
/// asks it for the new leaders, until a request has waited for this time. With librdkafka's default
/// of 60 s a partition stands still for that long.
///
/// It must be longer than what a broker may take for a produce request (`request.timeout.ms`, 30 s
/// by default): the broker's own answer has to come first.
pub(super) fn socket_timeout(conf: &Conf) -> Option<Duration> {
    const LEAST: Duration = Duration::from_secs(30);
    const MARGIN: Duration = Duration::from_secs(1);
    const OF_LIBRDKAFKA: Duration = Duration::from_secs(60);
    // librdkafka returns no default of a topic property while none is set.
    let request = conf.get("request.timeout.ms");
    let request = request.and_then(|millis| millis.parse().ok());
    let timeout = request.map_or(LEAST, |millis| LEAST.max(Duration::from_millis(millis))) + MARGIN;
    let theirs = if is_transactional(conf) {
        // librdkafka derives its default from this, and refuses one that is longer.
        transaction_timeout(conf).saturating_sub(Duration::from_millis(100))
    } else {
        OF_LIBRDKAFKA
    };
    (timeout < theirs).then_some(timeout)
}

/// Returns `transaction.timeout.ms`.
pub(crate) fn transaction_timeout(conf: &Conf) -> Duration {
    let millis = conf.get("transaction.timeout.ms");
    // librdkafka has checked it.
    let millis = millis.and_then(|millis| millis.parse().ok());
    Duration::from_millis(millis.unwrap_or(60_000))
}

/// Returns true if the configuration has a `transactional.id`.
pub(crate) fn is_transactional(conf: &Conf) -> bool {
    conf.get("transactional.id")
        .is_some_and(|id| !id.is_empty())
}

/// The limits of a producer's queue, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    /// `queue.buffering.max.messages`; `usize::MAX` for its value 0, which means no limit.
    pub(crate) messages: usize,
    /// `queue.buffering.max.kbytes`, in bytes.
    pub(crate) bytes: usize,
}

/// Returns the properties that let records batch if they hardly linger, by all their names, and their
/// values.
///
/// librdkafka sends what is in the queue whenever it is woken. Without a limit of requests in flight,
/// each of many concurrent senders gets a request of its own. A broker works on one request of a
/// connection at a time, so more in flight only hide the round trip to it. With one in flight, the
/// records that are enqueued meanwhile share the next requests, and a record that finds none goes at
/// once.
///
/// Without linger, librdkafka also turns off the sticky partitioner, so that each record goes to
/// another partition. It has its default here.
///
/// An idempotent producer has a limit already: five records of a partition, and so mostly one batch.
pub(super) fn batches_without_linger(
    conf: &Conf,
) -> impl Iterator<Item = (&'static [&'static str], &'static str)> + use<> {
    let linger = conf.get("linger.ms").and_then(|millis| millis.parse().ok());
    let is_brief = linger.is_some_and(|millis: f64| millis < 1.0);
    let is_idempotent =
        is_transactional(conf) || conf.get("enable.idempotence").as_deref() == Some("true");
    let in_flight: &[&str] = &["max.in.flight", "max.in.flight.requests.per.connection"];
    let sticky: &[&str] = &["sticky.partitioning.linger.ms"];
    let in_flight = (is_brief && !is_idempotent).then_some((in_flight, "1"));
    in_flight
        .into_iter()
        .chain(is_brief.then_some((sticky, "10")))
}

/// Returns the size above which librdkafka refuses a message.
pub(super) fn message_max_bytes(conf: &Conf) -> usize {
    let value = conf.get("message.max.bytes");
    let limit = value.and_then(|value| value.parse().ok());
    limit.expect("librdkafka has an integer for its own property")
}

impl QueueLimits {
    /// Reads the limits from the configuration and lifts them there.
    ///
    /// The caller enforces them, so librdkafka must never refuse a message for its own.
    pub(crate) fn take_from(conf: &mut Conf) -> Self {
        let limits = Self::of(conf);
        for (property, value) in [
            ("queue.buffering.max.messages", "0"),
            ("queue.buffering.max.kbytes", "2147483647"),
        ] {
            conf.set(property, value)
                .expect("the value is in librdkafka's range");
        }
        limits
    }

    /// Reads the limits from the configuration.
    pub(crate) fn of(conf: &Conf) -> Self {
        let number = |property| {
            let value = conf.get(property).and_then(|value| value.parse().ok());
            value.expect("librdkafka has an integer for its own property")
        };
        let messages: usize = number("queue.buffering.max.messages");
        let kbytes: usize = number("queue.buffering.max.kbytes");
        Self {
            messages: if messages == 0 { usize::MAX } else { messages },
            bytes: kbytes.saturating_mul(1024),
        }
    }

    /// Refuses a payload that can never fit.
    #[inline]
    pub(crate) fn check_payload(self, len: usize) -> Result<(), KafkaError> {
        if len > self.bytes {
            Err(KafkaError::never_fits(len, self.bytes))
        } else {
            Ok(())
        }
    }
}
