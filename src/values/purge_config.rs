//! The messages that a purge covers.

/// Selects the messages that [`Producer::purge`](crate::Producer::purge) and
/// [`BaseProducer::purge`](crate::BaseProducer::purge) discard.
///
/// ```
/// use tokio_rdkafka::PurgeConfig;
///
/// // Discards messages that have not been sent yet. Those in flight may still succeed.
/// let config = PurgeConfig::default().queue();
/// ```
///
/// The delivery of a purged message fails with one of two codes:
/// [`PurgeQueue`](crate::RDKafkaErrorCode::PurgeQueue) if the message was never sent, or
/// [`PurgeInflight`](crate::RDKafkaErrorCode::PurgeInflight) if a broker may still have written it.
///
/// The default selects nothing. Source: `rd_kafka_purge`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeConfig {
    queue: bool,
    inflight: bool,
    non_blocking: bool,
}

impl PurgeConfig {
    /// Also discards messages that wait in librdkafka's queues (`RD_KAFKA_PURGE_F_QUEUE`).
    #[must_use]
    pub fn queue(self) -> Self {
        Self {
            queue: true,
            ..self
        }
    }

    /// Also discards messages that have been sent and are not yet acknowledged
    /// (`RD_KAFKA_PURGE_F_INFLIGHT`).
    ///
    /// Their acknowledgements are lost, so sending them again may write them twice.
    #[must_use]
    pub fn inflight(self) -> Self {
        Self {
            inflight: true,
            ..self
        }
    }

    /// Does not wait until librdkafka's broker threads have purged their queues
    /// (`RD_KAFKA_PURGE_F_NON_BLOCKING`).
    ///
    /// This only matters to a [`BaseProducer`](crate::BaseProducer).
    /// [`Producer::purge`](crate::Producer::purge) never blocks a worker thread in any case.
    #[must_use]
    pub fn non_blocking(self) -> Self {
        Self {
            non_blocking: true,
            ..self
        }
    }

    /// Waits for the broker threads, whatever was set.
    pub(crate) fn blocking(self) -> Self {
        Self {
            non_blocking: false,
            ..self
        }
    }

    /// Returns a configuration that covers what either of the two covers.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            queue: self.queue || other.queue,
            inflight: self.inflight || other.inflight,
            non_blocking: self.non_blocking && other.non_blocking,
        }
    }

    pub(crate) fn without_inflight(self) -> Self {
        Self {
            inflight: false,
            ..self
        }
    }

    pub(crate) fn covers_queue(self) -> bool {
        self.queue
    }

    pub(crate) fn covers_inflight(self) -> bool {
        self.inflight
    }

    pub(crate) fn is_non_blocking(self) -> bool {
        self.non_blocking
    }
}
