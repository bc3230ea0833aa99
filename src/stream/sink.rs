//! A [`Sink`] of records.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures_sink::Sink;

use crate::client::{DefaultProducerContext, ProducerContext};
use crate::error::KafkaError;
use crate::message::{DeliveryFuture, ProducerRecord, SendError};
use crate::producer::{Access, FullAccess, Producer};
use crate::sync::{drop_foreign, lock, log};

/// The number of futures in flight from which ready ones behind a pending one are removed.
const MIN_SWEEP: usize = 1024;

/// A [`Sink`] of records, which [`Producer::sink`] returns.
///
/// It takes `ProducerRecord<'static, _>`: a record that owns its topic, key and payload.
/// [`into_owned`](ProducerRecord::into_owned) copies what a record borrows. Cloning a
/// [`Topic`](crate::Topic) copies no name.
///
/// - `poll_ready` waits until the queue has capacity for one record.
/// - `start_send` enqueues a record. It never fails because the queue is full.
/// - `poll_flush` waits for the deliveries of the records of *this* sink. It does not skip
///   `linger.ms`, because [`forward`] calls it each time its stream is pending.
/// - `poll_close` flushes as [`Producer::flush`] does, and waits as `poll_flush` does. The producer
///   stays open.
///
/// ```no_run
/// use futures::{StreamExt, stream};
/// use tokio_rdkafka::{Producer, ProducerRecord};
///
/// # async fn run(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
/// let sink = producer.sink();
/// let statistics = sink.statistics();
/// stream::iter(1..=1_000_000)
///     .map(|number: u32| Ok(ProducerRecord::to("numbers").payload(number.to_string())))
///     .forward(sink)
///     .await?;
/// println!("{} delivered", statistics.delivered());
/// # Ok(())
/// # }
/// ```
///
/// In a spawned `async` block, create the record and its `Ok` in one closure, as above: `.map(Ok)`
/// on a stream of records may not compile. See [in a spawned task](crate#in-a-spawned-task).
///
/// # Capacity
///
/// `poll_ready` waits in the wait queue until there is capacity, and holds none when it returns. So
/// an idle sink that is ready keeps no capacity from others. `start_send` acquires the capacity
/// without checking whether there is still some. So each sink can exceed
/// `queue.buffering.max.messages` by one message, and `queue.buffering.max.kbytes` by the payload
/// of that message. A sink waits without a time limit:
/// [`max_block`](crate::ProducerBuilder::max_block) does not apply.
///
/// # Failures
///
/// Each failed record is the error of one later call, or of `start_send` if it is refused there.
/// The error carries the record and what is known about its persistence.
///
/// By default the first failure stops the sink: `start_send` then returns each record in an error.
/// Records in flight are still delivered, and `poll_flush` and `poll_close` wait for them. Failures
/// that the sink has not returned when it is dropped are
/// [logged](Producer#failures-that-nobody-awaits).
///
/// - [`continue_on_failure`](Self::continue_on_failure) lets the sink accept records after a
///   failure.
/// - [`on_failure`](Self::on_failure) passes failures to a function instead of returning them. So
///   [`forward`], which ends at the first error, continues.
///
/// # Cancel safety
///
/// Dropping the sink gives up its place in the wait queue. Records that were enqueued are delivered
/// nevertheless, and the [`statistics`](Self::statistics) still count them. Their failures are
/// [logged](Producer#failures-that-nobody-awaits), and [`ProducerContext::delivery`] gets them.
///
/// [`forward`]: https://docs.rs/futures/0.3/futures/stream/trait.StreamExt.html#method.forward
#[must_use = "a sink does nothing unless it is used"]
pub struct ProducerSink<C: ProducerContext = DefaultProducerContext, A: Access = FullAccess> {
    producer: Producer<C, A>,
    readiness: Readiness,
    in_flight: VecDeque<DeliveryFuture<C::DeliveryOpaque>>,
    /// The number of futures in flight that causes the next sweep.
    sweep_at: usize,
    /// Failures that were found and not returned yet.
    failures: VecDeque<SendError<C::DeliveryOpaque>>,
    on_failure: OnFailure<C::DeliveryOpaque>,
    flush: Option<Flush>,
    counts: Arc<Counts<C::DeliveryOpaque>>,
}

type Flush = Pin<Box<dyn Future<Output = ()> + Send>>;

type Polled<C> = Poll<Result<(), SendError<<C as ProducerContext>::DeliveryOpaque>>>;

/// Whether the next record may be sent.
enum Readiness {
    NotReady,
    /// There was capacity for it. The sink holds none.
    Ready,
    /// The producer is closed: the next record gets the error.
    Closed(KafkaError),
}

/// What the sink does after a failure.
enum OnFailure<D> {
    Stop,
    /// The first failure has been returned, and no record is accepted any more.
    Stopped(KafkaError),
    Continue,
    Handle(Box<dyn FnMut(SendError<D>) + Send>),
}

/// What the sink and its statistics share.
struct Counts<D> {
    sent: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    /// What was in flight when the sink was dropped.
    left_by_sink: Mutex<VecDeque<DeliveryFuture<D>>>,
}

/// Counts the records of a [`ProducerSink`] by their outcome.
///
/// It outlives the sink, which
/// [`forward`](https://docs.rs/futures/0.3/futures/stream/trait.StreamExt.html#method.forward)
/// consumes. While the sink lives, it counts deliveries only when it is polled.
pub struct SinkStatistics<D = ()> {
    counts: Arc<Counts<D>>,
}

impl<C: ProducerContext, A: Access> Producer<C, A> {
    /// Returns a [`Sink`](futures_sink::Sink) of records, to which a stream can be forwarded.
    ///
    /// A producer can have any number of sinks. See [`ProducerSink`] for the records it takes, for
    /// its capacity, and for how to spawn it.
    ///
    /// [`forward`](https://docs.rs/futures/0.3/futures/stream/trait.StreamExt.html#method.forward)
    /// needs a stream whose error is that of the sink, a [`SendError`]. If the stream has errors of
    /// its own, convert both into a [`BoxError`](crate::BoxError) or a type of yours. Otherwise the
    /// compiler reports "type mismatch resolving `<ProducerSink as Sink<…>>::Error`":
    ///
    /// ```no_run
    /// use futures::{SinkExt, Stream, StreamExt, TryStreamExt};
    /// use tokio_rdkafka::{BoxError, Producer, ProducerRecord};
    ///
    /// async fn copy<E>(
    ///     producer: Producer,
    ///     lines: impl Stream<Item = Result<String, E>>,
    /// ) -> Result<(), BoxError>
    /// where
    ///     E: std::error::Error + Send + Sync + 'static,
    /// {
    ///     let records = lines.map_ok(|line| ProducerRecord::to("lines").payload(line));
    ///     let sink = producer.sink().sink_map_err(BoxError::from);
    ///     records.map_err(BoxError::from).forward(sink).await
    /// }
    /// ```
    pub fn sink(&self) -> ProducerSink<C, A> {
        ProducerSink::new(self.clone())
    }
}

impl<C: ProducerContext, A: Access> ProducerSink<C, A> {
    pub(crate) fn new(producer: Producer<C, A>) -> Self {
        Self {
            producer,
            readiness: Readiness::NotReady,
            in_flight: VecDeque::new(),
            sweep_at: MIN_SWEEP,
            failures: VecDeque::new(),
            on_failure: OnFailure::Stop,
            flush: None,
            counts: Arc::default(),
        }
    }

    /// Lets the sink accept records after a failure.
    ///
    /// Each failure is still returned once: by a later call, or by `start_send` if that call
    /// refuses the record.
    pub fn continue_on_failure(mut self) -> Self {
        self.on_failure = OnFailure::Continue;
        self
    }

    /// Passes each failure to a function instead of returning it, and accepts further records.
    ///
    /// A failure that [`is_closed`](KafkaError::is_closed) or [`is_fatal`](KafkaError::is_fatal) is
    /// still returned, and stops the sink. Records that a close purges go to the function. It runs
    /// while the sink is polled, so it must not block.
    pub fn on_failure(
        mut self,
        handle: impl FnMut(SendError<C::DeliveryOpaque>) + Send + 'static,
    ) -> Self {
        self.on_failure = OnFailure::Handle(Box::new(handle));
        self
    }

    /// Returns the counts of records by outcome.
    pub fn statistics(&self) -> SinkStatistics<C::DeliveryOpaque> {
        SinkStatistics {
            counts: Arc::clone(&self.counts),
        }
    }

    /// Returns the producer that the sink sends with.
    pub fn producer(&self) -> &Producer<C, A> {
        &self.producer
    }

    /// Waits until there is capacity for one record, and acquires none: see
    /// [capacity](Self#capacity).
    ///
    /// While it is pending, the sink has a place in the wait queue.
    /// [`abort_send`](Self::abort_send) gives it up.
    ///
    /// # Errors
    ///
    /// Returns the failure of an earlier record.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Polled<C> {
        self.return_failure()?;
        while self.in_flight.front().is_some_and(DeliveryFuture::is_ready) {
            ready!(self.poll_front(cx))?;
        }
        if let (Readiness::NotReady, OnFailure::Stop | OnFailure::Continue | OnFailure::Handle(_)) =
            (&self.readiness, &self.on_failure)
        {
            self.readiness = match ready!(self.producer.poll_available(cx)) {
                Ok(()) => Readiness::Ready,
                // There is no record yet that the error could carry.
                Err(error) => Readiness::Closed(error),
            };
        }
        Poll::Ready(Ok(()))
    }

    /// Enqueues a record. Its place in the order is fixed when the call returns; retries keep it
    /// [under a condition](crate::Producer#order).
    ///
    /// It acquires capacity without checking whether there is some: see [capacity](Self#capacity).
    ///
    /// # Errors
    ///
    /// Returns the record if the sink has stopped, or if the producer was closed when `poll_ready`
    /// returned. Any other failure of the record is the error of a later call.
    ///
    /// # Panics
    ///
    /// Panics if [`poll_ready`](Self::poll_ready) was not ready before.
    pub fn start_send(
        &mut self,
        record: ProducerRecord<'static, C::DeliveryOpaque>,
    ) -> Result<(), SendError<C::DeliveryOpaque>> {
        if let OnFailure::Stopped(cause) = &self.on_failure {
            let error = KafkaError::stopped(cause);
            self.abort_send();
            self.producer.shared().count_refused(&error);
            return Err(SendError::refused(error, record));
        }
        match mem::replace(&mut self.readiness, Readiness::NotReady) {
            Readiness::Ready => {
                add_one(&self.counts.sent);
                // A flush that has begun does not cover this record.
                self.flush = None;
                self.in_flight
                    .push_back(self.producer.enqueue_unchecked(record));
                if self.in_flight.len() >= self.sweep_at {
                    self.sweep();
                }
                Ok(())
            }
            Readiness::Closed(error) => {
                self.producer.shared().count_refused(&error);
                Err(SendError::refused(error, record))
            }
            Readiness::NotReady => {
                panic!("`start_send` was called without a `poll_ready` that was ready")
            }
        }
    }

    /// Gives up the place in the wait queue. Call [`poll_ready`](Self::poll_ready) again before the
    /// next [`start_send`](Self::start_send).
    pub fn abort_send(&mut self) {
        self.readiness = Readiness::NotReady;
        self.producer.stop_waiting();
    }

    /// Waits until all records of this sink have been delivered or have failed.
    ///
    /// It does not skip `linger.ms`. A record that cannot be delivered fails after
    /// `message.timeout.ms`.
    ///
    /// # Errors
    ///
    /// Returns the failure of a record.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Polled<C> {
        self.return_failure()?;
        while !self.in_flight.is_empty() {
            ready!(self.poll_front(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits as [`poll_flush`](Self::poll_flush) does, and flushes the producer to skip
    /// `linger.ms`.
    ///
    /// The producer stays open.
    ///
    /// # Errors
    ///
    /// Returns the failure of a record.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Polled<C> {
        self.abort_send();
        if !self.in_flight.is_empty() {
            let producer = &self.producer;
            let flush = self.flush.get_or_insert_with(|| {
                let producer = producer.clone();
                Box::pin(async move {
                    if let Err(error) = producer.flush_all().await {
                        let client = producer.shared().core.client_name();
                        let error = error.to_string();
                        log(|| {
                            tracing::warn!(
                                client,
                                error,
                                "closing a sink without a flush, which failed"
                            );
                        });
                    }
                    // Stays pending, because it is polled until the deliveries complete the close.
                    std::future::pending().await
                })
            });
            let _pending = flush.as_mut().poll(cx);
        }
        let closed = self.poll_flush(cx);
        if self.in_flight.is_empty() {
            self.flush = None;
        }
        closed
    }

    /// Takes the result of the oldest record in flight.
    fn poll_front(&mut self, cx: &mut Context<'_>) -> Polled<C> {
        let Some(front) = self.in_flight.front_mut() else {
            return Poll::Ready(Ok(()));
        };
        let result = ready!(Pin::new(front).poll(cx));
        self.in_flight.pop_front();
        match result {
            Ok(_) => add_one(&self.counts.delivered),
            Err(error) => {
                add_one(&self.counts.failed);
                self.failures.push_back(error);
                self.return_failure()?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns a failure that was found, or passes it to the user's function.
    #[inline]
    fn return_failure(&mut self) -> Result<(), SendError<C::DeliveryOpaque>> {
        if self.failures.is_empty() {
            return Ok(());
        }
        self.return_first_failure()
    }

    #[cold]
    fn return_first_failure(&mut self) -> Result<(), SendError<C::DeliveryOpaque>> {
        while let Some(error) = self.failures.pop_front() {
            match &mut self.on_failure {
                OnFailure::Handle(handle) if !(error.is_fatal() || error.is_closed()) => {
                    handle(error)
                }
                OnFailure::Stop | OnFailure::Handle(_) => {
                    self.on_failure = OnFailure::Stopped(error.error().clone());
                    // No record follows.
                    self.abort_send();
                    return Err(error);
                }
                OnFailure::Stopped(_) | OnFailure::Continue => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes ready futures behind a pending one. Otherwise one partition without a leader would
    /// let those of all other partitions pile up.
    #[cold]
    fn sweep(&mut self) {
        let (counts, failures) = (&self.counts, &mut self.failures);
        counts.take_ready(&mut self.in_flight, |error| failures.push_back(error));
        self.sweep_at = MIN_SWEEP.max(2 * self.in_flight.len());
    }
}

impl<C: ProducerContext, A: Access> Sink<ProducerRecord<'static, C::DeliveryOpaque>>
    for ProducerSink<C, A>
{
    type Error = SendError<C::DeliveryOpaque>;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.get_mut().poll_ready(cx)
    }

    fn start_send(
        self: Pin<&mut Self>,
        record: ProducerRecord<'static, C::DeliveryOpaque>,
    ) -> Result<(), Self::Error> {
        self.get_mut().start_send(record)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.get_mut().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.get_mut().poll_close(cx)
    }
}

// No field is pinned structurally.
impl<C: ProducerContext, A: Access> Unpin for ProducerSink<C, A> {}

impl<C: ProducerContext, A: Access> Drop for ProducerSink<C, A> {
    fn drop(&mut self) {
        self.abort_send();
        // Only if somebody else holds the statistics.
        if Arc::strong_count(&self.counts) > 1 {
            *lock(&self.counts.left_by_sink) = mem::take(&mut self.in_flight);
        }
        for failure in self.failures.drain(..) {
            self.producer.shared().unseen(failure);
        }
    }
}

impl<D> SinkStatistics<D> {
    /// Returns the number of delivered records.
    pub fn delivered(&self) -> u64 {
        self.counts.count_left_by_sink();
        self.counts.delivered.load(Ordering::Acquire)
    }

    /// Returns the number of failed records.
    ///
    /// It includes records that `start_send` accepted and the producer refused.
    pub fn failed(&self) -> u64 {
        self.counts.count_left_by_sink();
        self.counts.failed.load(Ordering::Acquire)
    }

    /// Returns the number of records that the sink accepted and that are not completed yet.
    pub fn in_flight(&self) -> u64 {
        // `sent` is read last, so the difference is never negative.
        let completed = self.delivered() + self.failed();
        self.counts.sent.load(Ordering::Acquire) - completed
    }
}

impl<D> Counts<D> {
    /// Counts the records that were completed after the sink was dropped.
    fn count_left_by_sink(&self) {
        // Their opaques are the user's: they are dropped once the lock is free.
        let mut failures = Vec::new();
        let mut in_flight = lock(&self.left_by_sink);
        if !in_flight.is_empty() {
            self.take_ready(&mut in_flight, |error| failures.push(error));
        }
        drop(in_flight);
        failures.into_iter().for_each(drop_foreign);
    }

    /// Counts and removes the futures that are ready.
    fn take_ready(
        &self,
        in_flight: &mut VecDeque<DeliveryFuture<D>>,
        mut failed: impl FnMut(SendError<D>),
    ) {
        in_flight.retain_mut(|future| match future.take_ready() {
            None => true,
            Some(Ok(_)) => {
                add_one(&self.delivered);
                false
            }
            Some(Err(error)) => {
                add_one(&self.failed);
                failed(error);
                false
            }
        });
    }
}

/// Adds one without a read-modify-write. Only one thread counts at a time: the sink's, and after
/// its drop the one that holds the lock of `left_by_sink`.
fn add_one(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
}

impl<D> Default for Counts<D> {
    fn default() -> Self {
        Self {
            sent: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            left_by_sink: Mutex::default(),
        }
    }
}

impl<D> Clone for SinkStatistics<D> {
    fn clone(&self) -> Self {
        Self {
            counts: Arc::clone(&self.counts),
        }
    }
}

impl<D> fmt::Debug for SinkStatistics<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkStatistics")
            .field("delivered", &self.delivered())
            .field("failed", &self.failed())
            .field("in_flight", &self.in_flight())
            .finish()
    }
}

impl<C: ProducerContext, A: Access> fmt::Debug for ProducerSink<C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerSink")
            .field("is_ready", &matches!(self.readiness, Readiness::Ready))
            .field(
                "is_stopped",
                &matches!(self.on_failure, OnFailure::Stopped(_)),
            )
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}
