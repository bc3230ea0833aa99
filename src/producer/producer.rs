//! The asynchronous producer: the handle that users clone.

use std::fmt;
use std::future::pending;
use std::marker::PhantomData;
use std::sync::{Arc, RwLockReadGuard, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;

use super::access::{Access, FullAccess, SendOnly};
use super::timer::{ProducerRuntime, Timer};
use crate::client::{DefaultProducerContext, ProducerContext};
use crate::driver::{Grant, Purpose, Shared, TransactionEpoch, Waiter};
use crate::error::KafkaError;
use crate::message::Topic;
use crate::sync::{coop, log};

/// An asynchronous producer: the delivery of each record is a future.
///
/// A `Producer` is cheap to clone. All clones share one client, one queue and one driver: a tokio
/// task that librdkafka wakes when delivery reports arrive.
///
/// ```no_run
/// use tokio_rdkafka::{ClientConfig, Producer, ProducerRecord};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let producer: Producer = ClientConfig::new()
///     .set("bootstrap.servers", "localhost:9092")
///     .set("enable.idempotence", "true")
///     .create()?;
/// let delivery = producer.send(ProducerRecord::to("events").key("k").payload("v")).await?;
/// println!("partition {}, offset {:?}", delivery.partition(), delivery.offset());
/// producer.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Which method
///
/// | | waits for capacity | waits for the delivery |
/// |---|---|---|
/// | [`send`](Self::send) | yes | yes |
/// | [`enqueue`](Self::enqueue) | yes | no, returns a future |
/// | [`try_enqueue`](Self::try_enqueue) | no, returns an error | no, returns a future |
/// | [`enqueue_detached`](Self::enqueue_detached) | yes | no, a callback runs |
/// | [`try_enqueue_detached`](Self::try_enqueue_detached) | no, returns an error | no, a callback runs |
/// | [`reserve`](Self::reserve), then [`Permit::send`] | yes, in advance | no, returns a future |
/// | [`blocking_send`](Self::blocking_send) | blocks the thread | blocks the thread |
/// | [`blocking_enqueue`](Self::blocking_enqueue) | blocks the thread | no, returns a future |
/// | [`blocking_enqueue_detached`](Self::blocking_enqueue_detached) | blocks the thread | no, a callback runs |
/// | [`sink`](Self::sink) | yes, in `poll_ready` | in `poll_flush` |
/// | [`send_all`](Self::send_all), [`ProduceExt::produce`] | yes | yields the results in order |
///
/// Code that cannot await is in [`docs::blocking`](crate::docs::blocking).
///
/// [`Permit::send`]: crate::Permit::send
/// [`ProduceExt::produce`]: crate::ProduceExt::produce
///
/// # Capacity
///
/// The queue holds up to `queue.buffering.max.messages` messages (0 is no limit) and up to
/// `queue.buffering.max.kbytes` KiB of their payloads. Keys and headers do not count. A message
/// releases its capacity just before its delivery future resolves.
///
/// Capacity is granted first come, first served: while others wait, no call overtakes them. The
/// limits are exact, with four exceptions:
///
/// - A [`Permit`](crate::Permit) without reserved bytes can exceed `queue.buffering.max.kbytes` by
///   one payload.
/// - A [`ProducerSink`](crate::ProducerSink) can exceed each limit by one record.
/// - Unused permits can hold capacity while others wait. If for 1 s of real time nothing is in
///   flight and nobody acquires or releases capacity, the queue is overbooked once. The amount is
///   what these permits hold, and never more than the limits themselves. One warning is logged. The
///   overbooking ends when these permits are used or dropped. See [`reserve`](Self::reserve).
/// - A purge or a timeout can fail the whole queue at once. New messages are admitted while the
///   failed ones are still being reported. Memory can reach twice the limits until the last report.
///
/// A waiter that was granted capacity, but whose task did not poll it for that second, loses its
/// turn and waits again.
///
/// With a small queue and `linger.ms`, also set `max.in.flight` or `enable.idempotence`, which
/// allows 5 requests per broker. By default librdkafka does not limit the requests in flight and
/// sends one as soon as `linger.ms` has passed. If a full queue admits records one by one, each
/// small request then leads to more small ones.
///
/// # Order
///
/// If one enqueue has returned before the next one is called, their records are in that order.
/// Concurrent calls have no order between them.
///
/// That is the order in which librdkafka first sends them. A retry keeps it only with
/// `enable.idempotence=true`. That is not librdkafka's default, unlike that of Java's client: with up
/// to 1 000 000 requests in flight, a batch that is retried comes after those that were sent in the
/// meantime. So set `enable.idempotence=true` unless order does not matter. It also keeps retries from
/// writing records twice. (On top of that, a record that a caller sends again after its error comes
/// last.)
///
/// `max.in.flight=1` keeps the order if a connection breaks. If a broker refuses a request for the
/// moment, the next one, which librdkafka has built meanwhile, goes out before the retry.
///
/// Sources: `enable.idempotence` and `retries` in librdkafka's CONFIGURATION.md, and
/// `rd_kafka_broker_outbufs_space`.
///
/// # Topics
///
/// The producer caches the handles of the topics that were used last: at least 4096, at most 8192.
/// A handle that was evicted is created again at the next use. librdkafka itself keeps every topic
/// until the producer is closed: about 4 KiB for each, and 2 KiB for each partition. It also
/// requests all of them when it refreshes its metadata (`topic.metadata.refresh.interval.ms`), and
/// topics that do not exist every second. So do not take topic names from unchecked input.
///
/// A topic that is deleted and created again works within about a second. Records that are sent
/// while it does not exist fail with `UnknownTopicOrPartition`, `UnknownTopic` or
/// `UnknownPartition`, or wait for up to `message.timeout.ms`.
///
/// One case needs care, because of librdkafka's issue 4898. The leader of a partition had changed
/// before, and the producer did not notice the deletion. Then the new partition can stay without a
/// leader for this producer. Delete the topic, wait until sends report that it is unknown, and only
/// then create it again. Otherwise create a new producer.
///
/// # A broker that does not answer
///
/// A broker that crashes is noticed at once, because its connections break. A broker that hangs, or
/// whose host is cut off, keeps them. The cluster gives its partitions to other leaders, in Kafka
/// by default after 9 s, but librdkafka does not know: it sends its records, and often its requests
/// for metadata, to the broker that it has used last.
///
/// - Records for those partitions wait until a request has waited for `socket.timeout.ms`, here 31
///   s by [default](crate::ClientConfig#changed-defaults). Then librdkafka closes the connection,
///   asks another broker and sends the records again. Measured: 31 to 35 s, for records in flight
///   and for later ones.
/// - A producer without a connection to another broker waits another 10 s
///   (`api.version.request.timeout.ms`). librdkafka connects to one, but does not ask it until its
///   attempt to reconnect to the silent broker has failed.
/// - Records for other partitions wait while the cluster counts the broker as an in-sync replica (9
///   s, with `acks=all`).
/// - Records of requests that the broker had received may be written twice. `enable.idempotence`
///   prevents that.
/// - `cluster` and `partitions_for` may time out meanwhile.
///
/// If your topics have several partitions, a smaller `topic.metadata.refresh.interval.ms` shortens
/// the wait: the producer then asks a random one of the brokers that it uses. With 10 s, and a
/// cluster that notices after 4 s, sends went on after 7 s. The request is about all topics that
/// the producer has used, so it costs the brokers work if there are many. It does not help a
/// producer that uses one broker.
///
/// A smaller `socket.timeout.ms` shortens the wait too. It should not be below
/// `request.timeout.ms`: then requests that only wait for slow replicas are sent again.
///
/// # Threads
///
/// librdkafka runs its own threads: two for each client, one for each broker, and with
/// `transactional.id` one for the transaction coordinator. An idle producer adds none. Calls of
/// librdkafka that block run on threads named `rdkafka-block`, and never on tokio's blocking pool.
/// Callers that wait for the same kind of call share one thread, except transactional calls, which
/// run one at a time.
///
/// There is at most one thread for each of 8 kinds of call:
///
/// - flush, which also serves `close` and the purge after a fatal error;
/// - purge;
/// - `ready`, and [`health`](Self::health) while no broker is up;
/// - the search for a broker in `cluster` and `partitions_for`;
/// - `topics`;
/// - a transactional call (only with `transactional.id`);
/// - the time limit of `send_offsets` (only with `transactional.id`);
/// - the watch over unused permits, while others wait for capacity.
///
/// One more thread destroys the client, at the end of `close` or after the runtime has shut down.
///
/// The process has one thread named `rdkafka-timer`, for all producers, while a call waits for a time
/// limit, a flush, a purge, a close, metadata or a transaction, and for up to 1 s afterwards. It
/// keeps time limits also while the runtime is blocked: see
/// [`docs::blocking`](crate::docs::blocking).
///
/// # Shutdown
///
/// Call [`close`](Self::close) or [`close_timeout`](Self::close_timeout) before `main` returns.
/// Only they promise delivery:
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn run(producer: tokio_rdkafka::Producer) {
/// let report = producer.close_timeout(Duration::from_secs(10)).await;
/// if report.undelivered + report.failed > 0 {
///     eprintln!("not delivered: {report:?}");
/// }
/// # }
/// ```
///
/// Dropping the last handle never blocks. While the runtime lives, the driver still delivers what
/// was enqueued, for up to `message.timeout.ms`.
///
/// If the runtime ends first, a thread purges what is in flight, and the futures resolve with
/// errors. One warning is logged with the number of these messages. `#[tokio::main]` ends the
/// runtime when `main` returns, so messages that were only enqueued are lost then.
///
/// A producer belongs to the runtime that it was created on. Each `#[tokio::test]` has a runtime of
/// its own, so tests cannot share a producer in a `static`. On the handle of a runtime that has
/// ended, calls return an error that says so, and [`is_closed`](Self::is_closed) returns true.
///
/// A child that was forked has none of librdkafka's threads. Calls in the child return an error for
/// which [`is_closed`](crate::KafkaError::is_closed) is true: create a producer in the child. A
/// [`close`](Self::close) or [`purge`](Self::purge) returns at once there, and reports nothing.
///
/// With the feature `ssl`, OpenSSL does not free its memory at the exit of the process, because
/// librdkafka's threads may use it (`OPENSSL_INIT_NO_ATEXIT`). This is set before `main`. It has no
/// effect in a plugin whose host has used the same OpenSSL before: such a plugin must close its
/// producers.
///
/// # Failures that nobody awaits
///
/// A failure is awaited if a future returns it. Nobody awaits the failure of a detached record, or
/// of one whose future was dropped before it returned the result.
///
/// Such a failure is logged as a [`tracing`] event with the target `tokio_rdkafka::unawaited`. Its
/// level is `ERROR`, or `WARN` if the record was purged. Its fields are `topic`, `code`,
/// `persistence`, `error`, and `records`, the number of records. It shows no key and no payload.
/// The first failure of a topic, code and persistence is logged at once. Later ones are counted and
/// logged together, at most every 10 s, and at the latest when the producer closes. The last part
/// needs a runtime with timers; without them, the number waits for another event of the producer.
///
/// [`CloseReport::failed`](crate::CloseReport::failed) counts these failures since the producer was
/// created. [`CloseReport::records`](crate::CloseReport::records) has the records of those during
/// the close. Earlier records are not kept: override [`ProducerContext::delivery`] to receive them.
///
/// This also holds with a context of your own, whose callback may ignore failures. If the callback
/// handles them, turn the target off, for example with the filter
/// `info,tokio_rdkafka::unawaited=off`. In a [`Transaction`](crate::Transaction) nothing is logged:
/// the commit returns the failure.
///
/// # Access
///
/// A handle that a [`Transaction`](crate::Transaction) hands out is a `Producer<C, SendOnly>`. It
/// has the methods of the table above and no other call that affects the producer: see
/// [`SendOnly`]. Without a second parameter the type is a producer with [`FullAccess`].
pub struct Producer<C: ProducerContext = DefaultProducerContext, A: Access = FullAccess> {
    // Declared, and so dropped, before the handle, which may be the last.
    waiter: Option<Waiter<C>>,
    handle: Arc<ProducerHandle<C>>,
    access: PhantomData<A>,
}

/// What all clones share and the driver does not. It is dropped with the last handle.
struct ProducerHandle<C: ProducerContext> {
    shared: Arc<Shared<C>>,
    runtime: ProducerRuntime,
    max_block: Option<Duration>,
    /// The transaction that the records belong to; `None` without transactions. The producer
    /// outlives a handle that has one.
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
                    client = self.shared.core.client_name(),
                    in_flight,
                    "the last handle of a producer was dropped with messages in flight; they are \
                     delivered only while the runtime lives: call close() to wait for them"
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
        Self::of(Arc::new(ProducerHandle {
            shared,
            runtime: ProducerRuntime::new(runtime),
            max_block,
            epoch: None,
        }))
    }

    /// Returns a handle whose records belong to a transaction.
    pub(crate) fn with_epoch(&self, epoch: Arc<TransactionEpoch>) -> Producer<C, SendOnly> {
        Producer::of(Arc::new(ProducerHandle {
            shared: Arc::clone(self.shared()),
            runtime: self.handle.runtime.clone(),
            max_block: self.handle.max_block,
            epoch: Some(epoch),
        }))
    }

    /// Waits, by the timers of the producer's runtime.
    ///
    /// # Errors
    ///
    /// The runtime has no time driver.
    pub(crate) async fn pause(&self, pause: Duration) -> Result<(), KafkaError> {
        let timer = Timer::new(self.runtime(), pause)?;
        // It elapses, because the future never resolves.
        let _ = timer.limit(pending::<()>()).await;
        Ok(())
    }

    /// Returns a handle that does not keep the producer open.
    ///
    /// A context can hold one to send from a delivery callback.
    pub fn downgrade(&self) -> WeakProducer<C> {
        WeakProducer {
            handle: Arc::downgrade(&self.handle),
        }
    }
}

impl<C: ProducerContext, A: Access> Producer<C, A> {
    fn of(handle: Arc<ProducerHandle<C>>) -> Self {
        Self {
            waiter: None,
            handle,
            access: PhantomData,
        }
    }

    /// Returns the client's name for the field `client` of events, without secrets.
    pub(crate) fn client_name(&self) -> Option<&str> {
        self.shared().core.client_name()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<C>> {
        &self.handle.shared
    }

    pub(super) fn runtime(&self) -> &ProducerRuntime {
        &self.handle.runtime
    }

    /// Spawns a task on the producer's runtime.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime().handle.spawn(task);
    }

    pub(super) fn max_block(&self) -> Option<Duration> {
        self.handle.max_block
    }

    /// Keeps the transaction open, if there is one, until the guard is dropped.
    ///
    /// # Errors
    ///
    /// The transaction has been committed or aborted.
    #[inline]
    pub(super) fn enter_epoch(&self) -> Result<Option<RwLockReadGuard<'_, bool>>, KafkaError> {
        let epoch = self.handle.epoch.as_deref();
        epoch.map(TransactionEpoch::enter).transpose()
    }

    /// Returns true if the handle sends in a transaction.
    pub(crate) fn is_transactional(&self) -> bool {
        self.handle.epoch.is_some()
    }

    /// Records in the transaction, if there is one, why a record was refused. Returns the error.
    #[cold]
    pub(crate) fn record_failure(&self, error: KafkaError) -> KafkaError {
        if let Some(epoch) = &self.handle.epoch {
            epoch.fail(&error);
        }
        error
    }

    /// Acquires capacity for one message. This handle keeps the waiter meanwhile.
    #[inline]
    pub(crate) fn poll_capacity(
        &mut self,
        cx: &mut Context<'_>,
        bytes: usize,
        purpose: Purpose,
    ) -> Poll<Result<Grant, KafkaError>> {
        Waiter::poll(&mut self.waiter, &self.handle.shared, bytes, purpose, cx)
    }

    /// Waits until there is capacity for one message, and acquires none.
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

    /// Returns a handle of a topic, which saves the lookup by name.
    ///
    /// # Errors
    ///
    /// The topic's name is not valid, or the producer is closed.
    pub fn topic(&self, name: &str) -> Result<Topic, KafkaError> {
        self.shared().core.topic(name)
    }

    /// Returns the number of messages that were enqueued and not completed yet.
    ///
    /// It falls shortly before a message's future resolves.
    pub fn in_flight_count(&self) -> usize {
        self.shared().core.in_flight()
    }

    /// Returns the context that the producer was created with.
    pub fn context(&self) -> &Arc<C> {
        &self.shared().context
    }

    /// Returns true if the producer is closed or is being closed.
    pub fn is_closed(&self) -> bool {
        self.shared().core.is_closed()
    }

    /// Returns the fatal error, if there was one. Nothing can be sent after it.
    ///
    /// It has the code and reason that `rd_kafka_fatal_error` returns, instead of `_FATAL`.
    pub fn fatal_error(&self) -> Option<KafkaError> {
        self.shared().core.fatal_error()
    }

    /// Returns how many callbacks of the context have panicked.
    pub fn callback_panics(&self) -> u64 {
        self.shared().core.callback_panics()
    }
}

impl<C: ProducerContext, A: Access> Clone for Producer<C, A> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.handle))
    }
}

/// A handle of a [`Producer`] that does not keep it open.
pub struct WeakProducer<C: ProducerContext = DefaultProducerContext> {
    handle: Weak<ProducerHandle<C>>,
}

impl<C: ProducerContext> WeakProducer<C> {
    /// Returns the producer, or `None` if all other handles have been dropped.
    pub fn upgrade(&self) -> Option<Producer<C>> {
        self.handle.upgrade().map(Producer::of)
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

impl<C: ProducerContext, A: Access> fmt::Debug for Producer<C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("in_flight", &self.in_flight_count())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
