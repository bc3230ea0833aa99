//! What a producer has done so far, in numbers.

use std::collections::BTreeMap;

use super::histogram::Histogram;
use crate::error::RDKafkaErrorCode;

/// A number of records and the size of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Amount {
    /// The number of records.
    pub records: u64,
    /// The size of their payloads, in bytes. Keys and headers do not count.
    pub bytes: u64,
}

impl Amount {
    pub(crate) fn new(records: u64, bytes: u64) -> Self {
        Self { records, bytes }
    }

    #[inline]
    pub(crate) fn add(&mut self, more: Self) {
        self.records += more.records;
        self.bytes += more.bytes;
    }

    pub(crate) fn minus(self, less: Self) -> Self {
        Self {
            records: self.records.saturating_sub(less.records),
            bytes: self.bytes.saturating_sub(less.bytes),
        }
    }
}

/// What a producer has done since its creation, and what it is doing now.
///
/// All numbers are of one moment. In each snapshot, in records and in bytes:
///
/// ```text
/// enqueued = delivered + failed + in_flight
/// ```
///
/// The page [`docs::telemetry`](crate::docs::telemetry) says which number answers which question.
///
/// Counts never fall, and last as long as the producer, also after its close. Snapshots of several
/// producers can be [merged](Self::merge).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Records that were put into the queue. It does not count records that were
    /// [refused](Self::refused).
    pub enqueued: Amount,
    /// Records that were delivered.
    pub delivered: Amount,
    /// Records that were enqueued and not delivered: they timed out, were purged, or a broker
    /// refused them.
    pub failed: Amount,
    /// [`failed`](Self::failed) records by their error code.
    pub failed_by_code: BTreeMap<RDKafkaErrorCode, u64>,
    /// Records that were enqueued and have neither been delivered nor failed.
    pub in_flight: Amount,
    /// Records that were never enqueued, because their call returned an error: the queue was full,
    /// the record was invalid or too large, or the producer was closed.
    ///
    /// A record that is sent again and again counts each time.
    pub refused: u64,
    /// [`refused`](Self::refused) records by their error code. Those of a closed producer count
    /// under [`BrokerDestroy`](RDKafkaErrorCode::BrokerDestroy), and other errors without a code
    /// under [`Unknown`](RDKafkaErrorCode::Unknown).
    pub refused_by_code: BTreeMap<RDKafkaErrorCode, u64>,
    /// How many calls wait for capacity now.
    pub waiting: u64,
    /// The capacity that is in use. Besides the records in flight, it has what
    /// [permits](crate::Permit) hold. The capacity is full if this has reached a limit.
    ///
    /// Always 0 for a [`BaseProducer`](crate::BaseProducer), whose capacity librdkafka counts.
    pub acquired: Amount,
    /// `queue.buffering.max.messages`: how many records the queue holds. `u64::MAX` means no limit.
    pub max_records: u64,
    /// `queue.buffering.max.kbytes` in bytes: the size of the payloads that the queue holds.
    pub max_bytes: u64,
    /// The time from the enqueue of each delivered record until its delivery report was served, in
    /// microseconds. It is what [`Delivery::latency`](crate::Delivery::latency) returns.
    pub delivery_latency: Histogram,
    /// How long calls waited for capacity that had to wait, in microseconds: until they got it,
    /// gave up, or the producer was closed. Calls that found capacity at once are not in it.
    pub capacity_wait: Histogram,
    /// The numbers of delivery reports that were served in a turn: one wake-up of the producer's
    /// task, or of what serves in its place. A long turn is divided after 2048 reports.
    ///
    /// For a [`BaseProducer`](crate::BaseProducer) a turn is an event of librdkafka.
    pub reports_per_turn: Histogram,
    /// How often librdkafka has sent records again, after a broker's error or a lost answer. A
    /// record counts once it is delivered or has failed.
    ///
    /// `None` with the feature `dynamic-linking`: librdkafka has no public function for it.
    pub retries: Option<u64>,
    /// How often a [`TransactionalProducer`](crate::TransactionalProducer) has
    /// [renewed](crate::TransactionalProducer#renewal) its epoch.
    pub renewals: u64,
    /// How many callbacks of the context have panicked.
    pub callback_panics: u64,
}

impl Metrics {
    /// Adds the numbers of another producer: counts, histograms, and limits.
    ///
    /// ```no_run
    /// # fn run(producers: Vec<tokio_rdkafka::Producer>) {
    /// let mut all = tokio_rdkafka::Metrics::default();
    /// producers.iter().for_each(|producer| all.merge(&producer.metrics()));
    /// println!("{} delivered", all.delivered.records);
    /// # }
    /// ```
    pub fn merge(&mut self, other: &Self) {
        self.merge_past(other);
        self.waiting += other.waiting;
        self.acquired.add(other.acquired);
        self.max_records = self.max_records.saturating_add(other.max_records);
        self.max_bytes = self.max_bytes.saturating_add(other.max_bytes);
    }

    /// Adds the numbers of a client that this one has replaced: its capacity counts no more.
    pub(crate) fn merge_past(&mut self, past: &Self) {
        self.enqueued.add(past.enqueued);
        self.delivered.add(past.delivered);
        self.failed.add(past.failed);
        self.in_flight.add(past.in_flight);
        self.refused += past.refused;
        for (own, other) in [
            (&mut self.failed_by_code, &past.failed_by_code),
            (&mut self.refused_by_code, &past.refused_by_code),
        ] {
            for (code, count) in other {
                *own.entry(*code).or_default() += count;
            }
        }
        self.delivery_latency.merge(&past.delivery_latency);
        self.capacity_wait.merge(&past.capacity_wait);
        self.reports_per_turn.merge(&past.reports_per_turn);
        self.retries = match (self.retries, past.retries) {
            (Some(own), Some(past)) => Some(own + past),
            (own, past) => own.or(past),
        };
        self.renewals += past.renewals;
        self.callback_panics += past.callback_panics;
    }
}
