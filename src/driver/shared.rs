//! What the handles of one producer and its driver share.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, Once, OnceLock, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
#[cfg(feature = "statistics")]
use tokio::sync::watch;

use super::blocking::BlockingCalls;
use super::broker_state::BrokerWatch;
use super::capacity::{Capacity, CapacityError};
use super::doubts::Doubts;
use super::driver_waker::DriverWaker;
use super::health_slot::HealthSlot;
use super::lookup::Lookups;
use super::refresh::Refreshes;
use super::report::CloseReport;
use super::requests::Requests;
use super::serving::ServingSlot;
use super::stall_watch::StallWatch;
#[cfg(feature = "statistics")]
use super::statistics::Documents;
use super::topic_failures::TopicFailures;
use super::trackers::{Completions, Outcome, Tally, Trackers};
use super::transactions::Transactions;
use crate::client::{Core, ProducerContext, QueueLimits};
use crate::error::KafkaError;
use crate::ffi::{PARTITION_UNASSIGNED, Queue};
use crate::message::{
    Attached, CompleterPool, DeliveryCompleter, DeliveryFuture, DeliveryKind, Fields, MessageState,
    Plain, ProducerRecord, SendError, TopicName, Tracked,
};
use crate::sync::{Notifier, drop_foreign, lock, wake};

/// The completer of a message of a producer with that context.
pub(crate) type Completer<C> = DeliveryCompleter<<C as ProducerContext>::DeliveryOpaque>;

/// What the handles of one producer and its driver share.
///
/// Each part is a state machine of its own. No lock of one is held while that of another is
/// acquired, except that of `calls`: see the lock order in ARCHITECTURE.md.
pub(crate) struct Shared<C: ProducerContext> {
    pub(crate) core: Core<Completer<C>>,
    pub(crate) context: Arc<C>,
    pub(crate) capacity: Capacity,
    /// The thread that watches it, or that did so last.
    pub(super) capacity_watch: Mutex<Option<Thread>>,
    pub(super) completers: CompleterPool<C::DeliveryOpaque>,
    pub(super) serving: ServingSlot<C::DeliveryOpaque>,
    pub(super) trackers: Mutex<Trackers>,
    /// The number of purges that have been called. It is read before the queue is polled. So a
    /// purge that is called between the two does not count as served.
    pub(super) purges_called: AtomicU64,
    pub(crate) transactions: Transactions,
    pub(crate) doubts: Doubts,
    pub(crate) brokers: BrokerWatch,
    /// Those who look at the health.
    pub(super) health: HealthSlot,
    pub(crate) requests: Requests,
    pub(crate) lookups: Lookups,
    pub(crate) refreshes: Refreshes,
    pub(super) topic_failures: TopicFailures,
    /// Whether each topic is counted.
    #[cfg(feature = "metrics")]
    pub(super) exports_topics: AtomicBool,
    #[cfg(feature = "statistics")]
    pub(super) statistics: Documents,
    /// The blocking calls that are under way.
    pub(crate) calls: Arc<BlockingCalls>,
    pub(super) driver: Arc<DriverWaker>,
    /// The driver's turns when somebody has last served in its place, and when that was.
    pub(super) stood_in: Mutex<Option<(u64, Instant)>>,
    /// The configuration of a token that librdkafka has requested while the driver did not run.
    pub(super) token_wanted: Mutex<Option<Option<String>>>,
    /// The client is being destroyed: nobody serves in the driver's place any more.
    pub(super) is_ending: AtomicBool,
    pub(super) destroyed: Once,
    /// The report of the close, once the producer has terminated.
    pub(super) report: OnceLock<CloseReport>,
    /// Notifies those who wait for the report.
    pub(super) reported: Notifier,
}

impl<C: ProducerContext> Shared<C> {
    pub(crate) fn new(
        core: Core<Completer<C>>,
        mut queue: Queue,
        context: Arc<C>,
        limits: QueueLimits,
        transaction_timeout: Duration,
        runtime: Handle,
    ) -> Arc<Self> {
        let driver = |shared: &Weak<Self>| {
            let shared: Weak<Self> = Weak::clone(shared);
            Arc::new(DriverWaker::new(runtime, StallWatch::new(shared)))
        };
        let waker = |driver: &Arc<DriverWaker>| {
            let driver = Arc::clone(driver);
            move || driver.wake()
        };
        // The driver looks after each delivery whether somebody waits, and need not be woken before.
        let on_wait = |shared: &Weak<Self>| {
            let shared = Weak::clone(shared);
            move || {
                if let Some(shared) = shared.upgrade() {
                    if shared.core.in_flight() == 0 {
                        shared.wake();
                    }
                }
            }
        };
        let log = Arc::clone(&core.log);
        let unseen = move |shared: &Weak<Self>, failure: SendError<C::DeliveryOpaque>| {
            if let Some(shared) = shared.upgrade() {
                return shared.unseen(failure);
            }
            let topic = failure.record().get_topic();
            log.failure(topic, failure.persistence(), failure.error());
            log.log_due();
            drop_foreign(failure);
        };
        Arc::new_cyclic(|shared: &Weak<Self>| {
            let driver = driver(shared);
            queue.wake_with(waker(&driver));
            Self {
                core,
                context,
                capacity: Capacity::new(limits, on_wait(shared)),
                capacity_watch: Mutex::default(),
                completers: {
                    let shared = Weak::clone(shared);
                    CompleterPool::<C::DeliveryOpaque>::new(move |result| {
                        if let Err(failure) = result {
                            unseen(&shared, failure);
                        }
                    })
                },
                serving: ServingSlot::new(queue),
                trackers: Mutex::default(),
                purges_called: AtomicU64::new(0),
                transactions: Transactions::new(transaction_timeout),
                doubts: Doubts::default(),
                brokers: BrokerWatch::default(),
                health: HealthSlot::default(),
                requests: Requests::default(),
                lookups: Lookups::default(),
                calls: BlockingCalls::new(waker(&driver)),
                driver,
                stood_in: Mutex::default(),
                token_wanted: Mutex::default(),
                is_ending: AtomicBool::new(false),
                destroyed: Once::new(),
                refreshes: Refreshes::default(),
                topic_failures: TopicFailures::default(),
                #[cfg(feature = "metrics")]
                exports_topics: AtomicBool::new(false),
                #[cfg(feature = "statistics")]
                statistics: Documents::default(),
                report: OnceLock::new(),
                reported: Notifier::default(),
            }
        })
    }

    /// Produces a record whose capacity has been acquired, after a wait of so many tenths of a
    /// second.
    ///
    /// # Errors
    ///
    /// Returns why it was refused, with the opaque; the fields are as they were. The caller
    /// [settles](Self::settle_refused) it, which wakes others: not under a lock.
    #[inline]
    pub(crate) fn produce<K: DeliveryKind<C::DeliveryOpaque>>(
        &self,
        fields: &mut Fields<'_>,
        opaque: C::DeliveryOpaque,
        waited: u16,
    ) -> Result<K::Handle, Refused<C::DeliveryOpaque>> {
        let number = self.core.issue(1);
        let attached = fields.attached.take();
        let (partition, timestamp) = (fields.partition, fields.timestamp);
        let state = MessageState::new(number, partition, timestamp, waited, Some(opaque), attached);
        // The handle is created before the call: the report may be served before it returns.
        let (completer, handle) = K::completer(&self.completers, state);
        match self.core.produce(fields, completer) {
            Ok(()) => Ok(handle),
            Err((error, mut completer)) => {
                let error = self.topic_failures.with_cause(error, fields.topic.as_str());
                let opaque = completer.carried().take_opaque();
                fields.attached = completer.carried().take_attached();
                Err(Refused {
                    error,
                    opaque,
                    number,
                })
            }
        }
    }

    /// Creates the completer of a record that is to be produced in a batch, and its future.
    #[inline]
    pub(crate) fn completer(
        &self,
        opaque: C::DeliveryOpaque,
        attached: Attached,
    ) -> (Completer<C>, DeliveryFuture<C::DeliveryOpaque>) {
        // It gets its number with the batch.
        let state = MessageState::new(0, PARTITION_UNASSIGNED, None, 0, Some(opaque), attached);
        Tracked::completer(&self.completers, state)
    }

    /// Produces records of one topic whose capacity has been acquired. Returns those that were
    /// refused, by their index. The caller must [settle](Self::settle_refused) and refuse them.
    #[must_use]
    pub(crate) fn produce_batch(
        &self,
        topic: &TopicName<'_>,
        batch: &[Plain<'_>],
        completers: impl ExactSizeIterator<Item = Completer<C>>,
    ) -> Vec<(usize, KafkaError, Completer<C>)> {
        let mut number = self.core.issue(completers.len() as u64);
        let numbered = completers.map(|mut completer| {
            completer.carried().set_number(number);
            number += 1;
            completer
        });
        let mut refused = self.core.produce_batch(topic, batch, numbered);
        for (_, error, _) in &mut refused {
            *error = self
                .topic_failures
                .with_cause(error.clone(), topic.as_str());
        }
        refused
    }

    /// Returns the future of a record that never entered the queue. It is ready.
    pub(crate) fn failed(
        &self,
        error: SendError<C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        DeliveryFuture::resolved(&self.completers, Err(error))
    }

    /// Accounts for a message that librdkafka did not take, and releases its capacity.
    #[cold]
    pub(crate) fn settle_refused(&self, number: u64, bytes: usize) {
        let mut completions = Completions::default();
        {
            let mut trackers = lock(&self.trackers);
            let refused = std::iter::once((number, Outcome::Refused));
            trackers.account(Tally::default(), refused, &mut completions);
            self.core.settle(1);
        }
        drop(self.capacity.release(1, bytes));
        drop(completions);
        // It may have been the last one in flight: the producer may terminate or overbook.
        self.wake();
    }

    /// Wakes the driver, which checks whether there is something to do.
    pub(crate) fn wake(&self) {
        self.driver.wake();
    }

    /// The driver was spawned on this thread: any worker of the runtime may run it.
    pub(crate) fn spawned(&self) {
        self.driver.spawned();
    }

    /// # Errors
    ///
    /// The producer is closed, or has had a fatal error.
    pub(crate) fn check_open(&self) -> Result<(), KafkaError> {
        self.core.check_fatal()?;
        if self.core.is_closed() {
            return Err(self.core.closed_error());
        }
        Ok(())
    }

    /// Returns a receiver of librdkafka's statistics, as JSON.
    ///
    /// # Errors
    ///
    /// There are none, or the producer is closed.
    #[cfg(feature = "statistics")]
    pub(crate) fn statistics(&self) -> Result<watch::Receiver<Option<Arc<str>>>, KafkaError> {
        if self.core.is_closed() {
            return Err(self.core.closed_error());
        }
        self.core.check_statistics()?;
        let receiver = self.statistics.subscribe();
        receiver.ok_or_else(|| self.core.closed_error())
    }

    /// Passes the receivers of a producer's statistics on to this one, which replaces it.
    #[cfg(feature = "statistics")]
    pub(crate) fn adopt_statistics(&self, replaced: &Self) {
        self.statistics.adopt(&replaced.statistics);
    }

    /// Why there is no capacity.
    #[cold]
    pub(crate) fn no_capacity(&self, why: CapacityError) -> KafkaError {
        match why {
            CapacityError::Full if !self.core.is_closed() => KafkaError::queue_full(),
            CapacityError::Full | CapacityError::Closed => self.core.closed_error(),
        }
    }

    /// Stops admission, also for waiters. What is in flight is still delivered.
    pub(crate) fn stop_admission(&self) {
        self.core.close();
        drop(self.capacity.close());
        self.end_capacity_watch();
        self.brokers.notify();
        self.wake();
    }
}

/// A message that librdkafka did not take.
#[derive(Debug)]
pub(crate) struct Refused<D> {
    pub(crate) error: KafkaError,
    pub(crate) opaque: D,
    /// The number of the message.
    pub(crate) number: u64,
}

/// Resolves the future of a record that never entered the queue.
#[cold]
pub(crate) fn refuse<D: Send + 'static>(
    mut completer: DeliveryCompleter<D>,
    error: KafkaError,
    topic: &TopicName<'_>,
    plain: &Plain<'_>,
) {
    let opaque = completer.carried().take_opaque();
    let mut record = ProducerRecord::with_opaque_to(topic.clone(), opaque)
        .key(plain.key.clone())
        .payload(plain.payload.clone());
    record.fields.attached = completer.carried().take_attached();
    completer.set_result(Err(SendError::refused(error, record)));
    completer.complete().into_iter().for_each(wake);
}

impl<C: ProducerContext> fmt::Debug for Shared<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("core", &self.core)
            .field("capacity", &self.capacity)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}
