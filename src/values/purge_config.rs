//! What a purge covers.

/// Which messages [`Producer::purge`](crate::Producer::purge) and
/// [`BaseProducer::purge`](crate::BaseProducer::purge) give up.
///
/// ```
/// use tokio_rdkafka::PurgeConfig;
///
/// // Gives up what has not been sent yet; what is on the wire may still succeed.
/// let config = PurgeConfig::default().queue();
/// ```
///
/// Source: `rd_kafka_purge`. A purged message fails with
/// [`PurgeQueue`](crate::RDKafkaErrorCode::PurgeQueue) (never sent) or
/// [`PurgeInflight`](crate::RDKafkaErrorCode::PurgeInflight) (it may have been written all the same).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeConfig {
    queue: bool,
    inflight: bool,
    non_blocking: bool,
}

impl PurgeConfig {
    /// Purges messages that wait to be sent.
    #[must_use]
    pub fn queue(self) -> Self {
        Self {
            queue: true,
            ..self
        }
    }

    /// Purges messages that are on the wire, whose acknowledgement is then lost.
    #[must_use]
    pub fn inflight(self) -> Self {
        Self {
            inflight: true,
            ..self
        }
    }

    /// Does not wait for librdkafka's broker threads to take part.
    ///
    /// [`Producer::purge`](crate::Producer::purge) never blocks a worker, whatever is set here.
    #[must_use]
    pub fn non_blocking(self) -> Self {
        Self {
            non_blocking: true,
            ..self
        }
    }

    /// What either of two covers.
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
