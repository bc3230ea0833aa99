//! The asynchronous producer.

use std::fmt;
use std::sync::{Arc, RwLockReadGuard, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::client::{DefaultProducerContext, ProducerContext};
use crate::driver::{Grant, Purpose, Shared, TransactionEpoch, Waiter};
use crate::error::KafkaError;
use crate::message::Topic;
use crate::sync::{coop, log};

/// A producer for async services: every record's delivery is a future.
///
/// Cheap to clone; all clones are one producer, with one queue and one driver, a tokio task that
/// librdkafka wakes when deliveries have come in.
///
/// ```no_run
/// use tokio_rdkafka::{ClientConfig, Producer, ProducerRecord};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let producer: Producer =
///     ClientConfig::new().set("bootstrap.servers", "localhost:9092").create()?;
/// let delivery = producer.send(ProducerRecord::to("events").key("k").payload("v")).await?;
/// println!("partition {}, offset {:?}", delivery.partition(), delivery.offset());
/// producer.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Which method
///
/// | | waits for room | waits for the delivery |
/// |---|---|---|
/// | [`send`](Self::send) | yes | yes |
/// | [`enqueue`](Self::enqueue) | yes | returns its future |
/// | [`try_enqueue`](Self::try_enqueue) | no: refuses | returns its future |
/// | [`enqueue_detached`](Self::enqueue_detached), [`try_enqueue_detached`](Self::try_enqueue_detached) | yes / no | no: the context's callback alone |
/// | [`reserve`](Self::reserve), then [`Permit::send`] | yes, ahead of the record | returns its future |
/// | [`blocking_enqueue`](Self::blocking_enqueue) | blocks the thread | returns its future |
/// | [`sink`](Self::sink) | yes, in `poll_ready` | in `poll_flush` |
/// | [`send_all`](Self::send_all), [`ProduceExt::produce`](crate::ProduceExt::produce) | yes | yields its result, in order |
///
/// # Capacity
///
/// The queue takes as many messages as `queue.buffering.max.messages` says (0 is no limit), with as
/// many payload bytes as `queue.buffering.max.kbytes` says. Capacity is granted first come, first
/// served, and is back before the future of a message resolves. When a purge or a time-out fails
/// the whole queue at once, new messages come in while the failed ones are still being reported:
/// until the last one has been, memory may reach twice the limit.
///
/// With a small queue and `linger.ms`, set `max.in.flight` or `enable.idempotence` too (5 requests for
/// each broker). By default librdkafka sends a request as soon as the linger is over, however many are
/// under way: where a full queue lets records in one by one, small requests beget small ones.
///
/// Capacity that unused [`Permit`]s hold is theirs, but they do not stop others for ever: see
/// [`reserve`](Self::reserve).
///
/// # Order
///
/// If one enqueue has returned before the next is called, their records are in that order. Calls
/// that run at the same time have no order between them.
///
/// # Topics
///
/// A topic's handle is made at its first use and kept, for the 4096 topics that were used last at the
/// least, and twice as many at the most; another one's is made again. librdkafka itself keeps what it knows of every topic until the producer
/// ends, some 4 KiB and 2 KiB for each partition, and asks for all of them when it refreshes its
/// metadata (`topic.metadata.refresh.interval.ms`), those that do not exist every second: names of
/// topics should not come from unchecked input.
///
/// A topic that is deleted and made again works without a new producer, within a second or so. What
/// is sent while it is gone fails with `UnknownTopicOrPartition`, `UnknownTopic` or
/// `UnknownPartition`, or waits for `message.timeout.ms`. There is one exception, a limitation of
/// librdkafka (its issue 4898): where the leader of a partition had changed before, and the producer
/// did not notice that the topic was gone, the new partition may stay without a leader for it. Delete
/// a topic, wait until sends report that it is unknown, and then make it again; or make a new
/// producer.
///
/// # The end
///
/// Only [`close`](Self::close) promises delivery. Dropping the last handle never blocks: as long as
/// the runtime lives the driver goes on and delivers what was enqueued, for up to
/// `message.timeout.ms`. When the runtime goes first, what is in flight is purged on a thread of its
/// own; its futures resolve with errors.
pub struct Producer<C: ProducerContext = DefaultProducerContext> {
    // Given up before the handle, which may be the last.
    waiter: Option<Waiter<C>>,
    handle: Arc<ProducerHandle<C>>,
}

/// What all clones share, and the driver does not: its drop is that of the last handle.
struct ProducerHandle<C: ProducerContext> {
    shared: Arc<Shared<C>>,
    runtime: Handle,
    max_block: Option<Duration>,
    /// The transaction that its records are part of. The producer outlives such a handle.
    epoch: Option<Arc<TransactionEpoch>>,
}

impl<C: ProducerContext> Drop for ProducerHandle<C> {
    fn drop(&mut self) {
        if self.epoch.is_some() {
            return;
        }
        let in_flight = self.shared.core.in_flight();
        if in_flight > 0 && !self.shared.core.is_closed() {
            log(|| {
                tracing::warn!(
                    in_flight,
                    "the last handle of a producer was dropped with messages in flight: they are \
                     delivered as long as the runtime lives; close() waits for them"
                );
            });
        }
        self.shared.stop_admission();
    }
}

impl<C: ProducerContext> Producer<C> {
    pub(crate) fn new(
        shared: Arc<Shared<C>>,
        runtime: Handle,
        max_block: Option<Duration>,
    ) -> Self {
        Self {
            waiter: None,
            handle: Arc::new(ProducerHandle {
                shared,
                runtime,
                max_block,
                epoch: None,
            }),
        }
    }

    /// A handle whose records are part of a transaction.
    pub(crate) fn within(&self, epoch: Arc<TransactionEpoch>) -> Self {
        Self {
            waiter: None,
            handle: Arc::new(ProducerHandle {
                shared: Arc::clone(self.shared()),
                runtime: self.handle.runtime.clone(),
                max_block: self.handle.max_block,
                epoch: Some(epoch),
            }),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<C>> {
        &self.handle.shared
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.handle.runtime
    }

    pub(super) fn max_block(&self) -> Option<Duration> {
        self.handle.max_block
    }

    /// Whether its records are part of a transaction.
    pub(super) fn is_transactional(&self) -> bool {
        self.handle.epoch.is_some()
    }

    /// A record's way into the transaction, if there is one, open until the guard is dropped.
    #[inline]
    pub(super) fn enter(&self) -> Result<Option<RwLockReadGuard<'_, bool>>, KafkaError> {
        let epoch = self.handle.epoch.as_deref();
        epoch.map(TransactionEpoch::enter).transpose()
    }

    /// Records in the transaction, if there is one, that a record was refused.
    #[cold]
    pub(crate) fn recorded(&self, error: KafkaError) -> KafkaError {
        if let Some(epoch) = &self.handle.epoch {
            epoch.fail(&error);
        }
        error
    }

    /// Acquires capacity for one message, waiting for it in this handle.
    #[inline]
    pub(crate) fn poll_capacity(
        &mut self,
        cx: &mut Context<'_>,
        bytes: usize,
        purpose: Purpose,
    ) -> Poll<Result<Grant, KafkaError>> {
        Waiter::poll(&mut self.waiter, &self.handle.shared, bytes, purpose, cx)
    }

    /// Resolves when there is capacity for one message, and acquires none.
    #[inline]
    pub(crate) fn poll_available(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), KafkaError>> {
        if self.waiter.is_none() && coop::may_enqueue() && self.shared().capacity.is_available() {
            return Poll::Ready(Ok(()));
        }
        let grant = ready!(self.poll_capacity(cx, 0, Purpose::Reserve))?;
        drop(self.shared().capacity.release_unused(grant, 0));
        Poll::Ready(Ok(()))
    }

    /// Gives up the place in the wait queue.
    pub(crate) fn stop_waiting(&mut self) {
        self.waiter = None;
    }

    /// A handle of a topic, which saves the look-up by name.
    ///
    /// # Errors
    ///
    /// Names what is wrong with the topic's name; or the producer is closed.
    pub fn topic(&self, name: &str) -> Result<Topic, KafkaError> {
        self.shared().core.topic(name)
    }

    /// The number of messages that were enqueued and whose future has not resolved yet.
    pub fn in_flight_count(&self) -> usize {
        self.shared().core.in_flight()
    }

    /// The context that the producer was made with.
    pub fn context(&self) -> &Arc<C> {
        &self.shared().context
    }

    /// A handle that does not keep the producer open; for instance for its own context, to send
    /// from a delivery callback.
    pub fn downgrade(&self) -> WeakProducer<C> {
        WeakProducer {
            handle: Arc::downgrade(&self.handle),
        }
    }

    /// Whether the producer is closed or is being closed.
    pub fn is_closed(&self) -> bool {
        self.shared().core.is_closed()
    }

    /// The error after which nothing can be sent any more, if there was one: the code and reason
    /// that lie behind librdkafka's `_FATAL`.
    pub fn fatal_error(&self) -> Option<KafkaError> {
        self.shared().core.fatal_error()
    }

    /// How many callbacks of the context have panicked.
    pub fn callback_panics(&self) -> u64 {
        self.shared().core.callback_panics()
    }
}

impl<C: ProducerContext> Clone for Producer<C> {
    fn clone(&self) -> Self {
        Self {
            waiter: None,
            handle: Arc::clone(&self.handle),
        }
    }
}

/// A handle of a [`Producer`] that does not keep it open.
pub struct WeakProducer<C: ProducerContext = DefaultProducerContext> {
    handle: Weak<ProducerHandle<C>>,
}

impl<C: ProducerContext> WeakProducer<C> {
    /// The producer, as long as another handle of it is there.
    pub fn upgrade(&self) -> Option<Producer<C>> {
        self.handle.upgrade().map(|handle| Producer {
            waiter: None,
            handle,
        })
    }
}

impl<C: ProducerContext> Clone for WeakProducer<C> {
    fn clone(&self) -> Self {
        Self {
            handle: Weak::clone(&self.handle),
        }
    }
}

impl<C: ProducerContext> fmt::Debug for WeakProducer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakProducer").finish_non_exhaustive()
    }
}

impl<C: ProducerContext> fmt::Debug for Producer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("in_flight", &self.in_flight_count())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
