//! Records from a stream into a producer: a [`Sink`].

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
use crate::producer::Producer;
use crate::sync::{lock, log};

/// From how many futures on those behind one that is not ready are looked through for such as are.
const FIRST_SWEEP: usize = 1024;

/// A [`Sink`] of records, of [`Producer::sink`].
///
/// It takes `ProducerRecord<'static, _>`: a record with a topic, key and payload of its own.
/// [`into_owned`](ProducerRecord::into_owned) copies what is borrowed; a
/// [`Topic`](crate::Topic) is cloned instead of borrowed, which copies no name.
///
/// `poll_ready` takes room for one record, and is woken when there is some; see
/// [`Producer::reserve`] for what a permit means to others. So `start_send` never fails for lack of
/// room. `poll_flush` waits for the deliveries of what went through *this* sink, and leaves
/// `linger.ms` alone: [`forward`] calls it each time its stream is pending. `poll_close` flushes as
/// [`Producer::flush`] does and waits in the same way; the producer stays open.
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
/// Where it is spawned, make the record and its `Ok` in one closure, as above: `.map(Ok)` on a
/// stream of records may not compile there. See [in a spawned task](crate#in-a-spawned-task).
///
/// # Failures
///
/// Each record that fails is the error of one later call, or of `start_send` where it is refused
/// there; the error has the record and what is known of its persistence. By default the first
/// failure also stops the sink: `start_send` refuses every later record, and gives it back in its
/// error. What is in flight then is delivered all the same, and `poll_flush` and `poll_close` wait
/// for it.
///
/// [`continue_on_failure`](Self::continue_on_failure) has the sink take records after a failure
/// too. [`on_failure`](Self::on_failure) hands failures to a function in place of returning them,
/// so that [`forward`], which ends at the first error, goes on.
///
/// # Cancel safety
///
/// Dropping the sink gives up its permit. What was enqueued is delivered all the same; the
/// [`statistics`](Self::statistics) still count it, and its failures go to the context's callback
/// alone.
///
/// [`forward`]: https://docs.rs/futures/0.3/futures/stream/trait.StreamExt.html#method.forward
#[must_use = "a sink does nothing unless it is used"]
pub struct ProducerSink<C: ProducerContext = DefaultProducerContext> {
    producer: Producer<C>,
    admission: Admission,
    in_flight: VecDeque<DeliveryFuture<C::DeliveryOpaque>>,
    /// From how many futures in flight on they are swept.
    sweep_at: usize,
    /// Found, but not returned yet.
    failures: VecDeque<SendError<C::DeliveryOpaque>>,
    policy: Policy<C::DeliveryOpaque>,
    flush: Option<Flush>,
    counts: Arc<Counts<C::DeliveryOpaque>>,
}

type Flush = Pin<Box<dyn Future<Output = ()> + Send>>;

type Polled<C> = Poll<Result<(), SendError<<C as ProducerContext>::DeliveryOpaque>>>;

/// What the next record is up to.
enum Admission {
    Unasked,
    /// There was capacity for it, of which the sink holds none.
    Ready,
    /// It will not be sent, and why.
    Refused(KafkaError),
}

/// What a failure leads to.
enum Policy<D> {
    Stop,
    /// The first failure has been returned.
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
    left: Mutex<VecDeque<DeliveryFuture<D>>>,
}

/// What became of the records of a [`ProducerSink`]; it outlives the sink, which
/// [`forward`](https://docs.rs/futures/0.3/futures/stream/trait.StreamExt.html#method.forward)
/// consumes.
///
/// While the sink lives, deliveries are counted when it is polled.
pub struct SinkStatistics<D = ()> {
    counts: Arc<Counts<D>>,
}

impl<C: ProducerContext> Producer<C> {
    /// A [`Sink`](futures_sink::Sink) of records, for streams to be forwarded to; any number of them.
    ///
    /// It takes `ProducerRecord<'static, _>`: see [`ProducerSink`], also for what it takes to spawn
    /// it.
    pub fn sink(&self) -> ProducerSink<C> {
        ProducerSink::new(self.clone())
    }
}

impl<C: ProducerContext> ProducerSink<C> {
    pub(crate) fn new(producer: Producer<C>) -> Self {
        Self {
            producer,
            admission: Admission::Unasked,
            in_flight: VecDeque::new(),
            sweep_at: FIRST_SWEEP,
            failures: VecDeque::new(),
            policy: Policy::Stop,
            flush: None,
            counts: Arc::default(),
        }
    }

    /// Takes records after a failure too. Each failure is still the error of one call.
    pub fn continue_on_failure(mut self) -> Self {
        self.policy = Policy::Continue;
        self
    }

    /// Hands each failure to a function instead of returning it, and goes on. What ends the producer
    /// is still returned, and stops the sink: that it is closed, and a fatal error.
    ///
    /// The function runs while the sink is polled: it must not block.
    pub fn on_failure(
        mut self,
        handle: impl FnMut(SendError<C::DeliveryOpaque>) + Send + 'static,
    ) -> Self {
        self.policy = Policy::Handle(Box::new(handle));
        self
    }

    /// Counts of what became of the records.
    pub fn statistics(&self) -> SinkStatistics<C::DeliveryOpaque> {
        SinkStatistics {
            counts: Arc::clone(&self.counts),
        }
    }

    /// The producer that the sink is of.
    pub fn producer(&self) -> &Producer<C> {
        &self.producer
    }

    /// Waits for room for one record, and keeps it until [`start_send`](Self::start_send) or
    /// [`abort_send`](Self::abort_send).
    ///
    /// # Errors
    ///
    /// An earlier record that failed.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Polled<C> {
        self.return_failure()?;
        while self.in_flight.front().is_some_and(DeliveryFuture::is_ready) {
            ready!(self.poll_front(cx))?;
        }
        if let (Admission::Unasked, Policy::Stop | Policy::Continue | Policy::Handle(_)) =
            (&self.admission, &self.policy)
        {
            self.admission = match ready!(self.producer.poll_available(cx)) {
                Ok(()) => Admission::Ready,
                // Of no record yet: the next one gets the error.
                Err(error) => Admission::Refused(error),
            };
        }
        Poll::Ready(Ok(()))
    }

    /// Enqueues a record: its place in the order is fixed when this returns.
    ///
    /// # Errors
    ///
    /// The record itself, where the sink has stopped or the producer is closed. What else is wrong
    /// with it comes later, as its delivery does.
    ///
    /// # Panics
    ///
    /// Where [`poll_ready`](Self::poll_ready) has not been ready.
    pub fn start_send(
        &mut self,
        record: ProducerRecord<'static, C::DeliveryOpaque>,
    ) -> Result<(), SendError<C::DeliveryOpaque>> {
        if let Policy::Stopped(cause) = &self.policy {
            let error = KafkaError::stopped(cause);
            self.abort_send();
            return Err(SendError::refused(error, record));
        }
        match mem::replace(&mut self.admission, Admission::Unasked) {
            Admission::Ready => {
                add_one(&self.counts.sent);
                // One that has begun does not cover this record.
                self.flush = None;
                self.in_flight
                    .push_back(self.producer.enqueue_unchecked(record));
                if self.in_flight.len() >= self.sweep_at {
                    self.sweep();
                }
                Ok(())
            }
            Admission::Refused(error) => Err(SendError::refused(error, record)),
            Admission::Unasked => panic!("`start_send` without a `poll_ready` that was ready"),
        }
    }

    /// Gives up the room for the next record, or the place in the line for it.
    pub fn abort_send(&mut self) {
        self.admission = Admission::Unasked;
        self.producer.stop_waiting();
    }

    /// Waits until all records of this sink have been delivered or have failed, for up to
    /// `linger.ms` and `message.timeout.ms`.
    ///
    /// # Errors
    ///
    /// A record that failed.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Polled<C> {
        self.return_failure()?;
        while !self.in_flight.is_empty() {
            ready!(self.poll_front(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// As [`poll_flush`](Self::poll_flush), and flushes the producer meanwhile, so that it does not
    /// wait for `linger.ms`. The producer stays open.
    ///
    /// # Errors
    ///
    /// A record that failed.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Polled<C> {
        self.abort_send();
        if !self.in_flight.is_empty() {
            let producer = &self.producer;
            let flush = self.flush.get_or_insert_with(|| {
                let producer = producer.clone();
                Box::pin(async move {
                    if let Err(error) = producer.flush().await {
                        log(|| tracing::warn!(%error, "a sink is closed without a flush"));
                    }
                    // Its deliveries end the close, and there is nothing else to wait for.
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

    /// Takes the delivery of the record that was sent first.
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

    /// Does with the failures that were found what the policy says.
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
            match &mut self.policy {
                Policy::Handle(handle) if !(error.is_fatal() || error.is_closed()) => handle(error),
                Policy::Stop | Policy::Handle(_) => {
                    self.policy = Policy::Stopped(error.error().clone());
                    // No record follows that could use it.
                    self.abort_send();
                    return Err(error);
                }
                Policy::Stopped(_) | Policy::Continue => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes the deliveries that are behind one that is late, say of a partition without a leader.
    /// Otherwise those of the other partitions would pile up.
    #[cold]
    fn sweep(&mut self) {
        let (counts, failures) = (&self.counts, &mut self.failures);
        counts.take_ready(&mut self.in_flight, |error| failures.push_back(error));
        self.sweep_at = FIRST_SWEEP.max(2 * self.in_flight.len());
    }
}

impl<C: ProducerContext> Sink<ProducerRecord<'static, C::DeliveryOpaque>> for ProducerSink<C> {
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

// Nothing in it is pinned in place.
impl<C: ProducerContext> Unpin for ProducerSink<C> {}

impl<C: ProducerContext> Drop for ProducerSink<C> {
    fn drop(&mut self) {
        self.abort_send();
        // Only for those who look at the statistics later.
        if Arc::strong_count(&self.counts) > 1 {
            *lock(&self.counts.left) = mem::take(&mut self.in_flight);
        }
    }
}

impl<D> SinkStatistics<D> {
    /// How many records have been delivered.
    pub fn delivered(&self) -> u64 {
        self.counts.take_left();
        self.counts.delivered.load(Ordering::Acquire)
    }

    /// How many records have failed: all that `start_send` took and that were not delivered, also
    /// those that never entered the queue because something was wrong with them.
    pub fn failed(&self) -> u64 {
        self.counts.take_left();
        self.counts.failed.load(Ordering::Acquire)
    }

    /// How many records the sink has taken that have neither been delivered nor failed.
    pub fn in_flight(&self) -> u64 {
        // In this order it is never too small.
        let ended = self.delivered() + self.failed();
        self.counts.sent.load(Ordering::Acquire) - ended
    }
}

impl<D> Counts<D> {
    /// Counts what has ended since the sink was dropped.
    fn take_left(&self) {
        let mut left = lock(&self.left);
        if !left.is_empty() {
            self.take_ready(&mut left, drop);
        }
    }

    /// Counts and removes what has ended.
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

/// There is one who counts at a time: the sink, and when it is gone whoever has the lock of what it
/// left.
fn add_one(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
}

impl<D> Default for Counts<D> {
    fn default() -> Self {
        Self {
            sent: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            left: Mutex::default(),
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

impl<C: ProducerContext> fmt::Debug for ProducerSink<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerSink")
            .field("is_ready", &matches!(self.admission, Admission::Ready))
            .field("is_stopped", &matches!(self.policy, Policy::Stopped(_)))
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}
