//! Whether a producer can reach its brokers.

use std::fmt;
use std::sync::Arc;

use crate::error::KafkaError;

/// Whether a producer can reach its brokers, which
/// [`Producer::health`](crate::Producer::health) tells.
///
/// ```text
///             ┌──────────────→ Up ←──→ Degraded
/// Connecting ─┤                 ↑          │
///             └──→ Failing ←────┴──────────┘       → Fatal → Terminated
/// ```
///
/// `Display` shows the state and its reasons, without secrets.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Health {
    /// No broker is known to answer yet, nor to fail.
    #[default]
    Connecting,
    /// Brokers answer, and none is known to fail.
    Up,
    /// Brokers answer, but not these.
    ///
    /// Records for partitions that they lead wait, until the brokers answer again or others lead the
    /// partitions. A broker that the cluster does not list any more is among them for 5 minutes.
    Degraded(Arc<[BrokerFailure]>),
    /// No broker answers, for this reason.
    ///
    /// Its [`connect_failure`](KafkaError::connect_failure) tells a wrong password or a certificate
    /// from a server that is down. librdkafka keeps trying in any case, and records wait for up to
    /// `message.timeout.ms`.
    Failing(KafkaError),
    /// The producer has had a fatal error, and enqueues no record any more. A
    /// [`TransactionalProducer`](crate::TransactionalProducer) may cure it by a
    /// [renewal](crate::TransactionalProducer#renewal).
    Fatal(KafkaError),
    /// The producer has closed. This is the last state.
    Terminated,
}

/// A broker that does not answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrokerFailure {
    /// The broker's id.
    pub id: i32,
    /// Its `host:port`, as the cluster advertises it.
    pub address: String,
    /// Why it does not answer.
    pub error: KafkaError,
}

impl Health {
    /// All that [`state`](Self::state) returns.
    #[cfg(feature = "metrics")]
    pub(crate) const STATES: [&str; 6] = [
        "connecting",
        "up",
        "degraded",
        "failing",
        "fatal",
        "terminated",
    ];

    /// Returns true if records can be delivered: [`Up`](Self::Up) or [`Degraded`](Self::Degraded).
    /// A readiness probe should answer this.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Up | Self::Degraded(_))
    }

    /// Returns the state as one word, for labels and logs: `connecting`, `up`, `degraded`,
    /// `failing`, `fatal` or `terminated`.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Degraded(_) => "degraded",
            Self::Failing(_) => "failing",
            Self::Fatal(_) => "fatal",
            Self::Terminated => "terminated",
        }
    }

    /// Returns why the producer is failing, or has failed.
    pub fn error(&self) -> Option<&KafkaError> {
        match self {
            Self::Failing(error) | Self::Fatal(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the brokers that do not answer, if others do.
    pub fn failures(&self) -> &[BrokerFailure] {
        match self {
            Self::Degraded(failures) => failures,
            _ => &[],
        }
    }

    /// Returns true if both say the same: the same state, brokers, and kinds of errors. The texts
    /// may differ in times and counts.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let kind = |error: &KafkaError| (error.code(), error.connect_failure());
        let error = |health: &Self| health.error().map(kind);
        let failure = |it: &BrokerFailure| (it.id, it.address.clone(), kind(&it.error));
        let failures = |health: &Self| health.failures().iter().map(failure).collect::<Vec<_>>();
        self.state() == other.state()
            && error(self) == error(other)
            && failures(self) == failures(other)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.state())?;
        if let Some(error) = self.error() {
            write!(f, ": {error}")?;
        }
        for (index, failure) in self.failures().iter().enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for BrokerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broker {} ({}): {}", self.id, self.address, self.error)
    }
}
