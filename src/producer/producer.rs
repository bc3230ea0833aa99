//! The asynchronous producer.

use std::fmt;
use std::sync::{Arc, RwLockReadGuard, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time;

use crate::builder::ProducerBuilder;
use crate::completion::{Awaited, DeliveryFuture, DeliveryPromise, Detached, Told};
use crate::config::{ClientConfig, FromClientConfigAndContext};
use crate::context::{DefaultProducerContext, ProducerContext};
use crate::coop;
use crate::delivery::Delivery;
use crate::driver::{Shared, Watching, refuse};
use crate::error::{EnqueueError, KafkaError, SendError};
use crate::ffi::drop_payloads;
use crate::permit::{OwnedPermit, Permit, Place};
use crate::purge::PurgeConfig;
use crate::record::{Fields, Plain, ProducerRecord, TopicName};
use crate::report::{CloseReport, FlushError, FlushReport};
use crate::room::NoRoom;
use crate::scope::Scope;
use crate::send_all::SendAll;
use crate::sending::Sending;
use crate::sink::ProducerSink;
use crate::topic::{self, Topic};

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
/// # Room
///
/// The queue takes as many messages as `queue.buffering.max.messages` says (0 is no limit), with as
/// many payload bytes as `queue.buffering.max.kbytes` says. Room is granted first come, first
/// served, and is back before the future of a message resolves. When a purge or a time-out fails
/// the whole queue at once, new messages come in while the failed ones are still being reported:
/// until the last one has been, memory may reach twice the limit.
///
/// With a small queue and `linger.ms`, set `max.in.flight` or `enable.idempotence` too (5 requests for
/// each broker). By default librdkafka sends a request as soon as the linger is over, however many are
/// under way: where a full queue lets records in one by one, small requests beget small ones.
///
/// Room that unused [`Permit`]s hold is theirs, but they do not stop others for ever: see
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
    place: Option<Place<C>>,
    handle: Arc<ProducerHandle<C>>,
}

/// What an enqueue comes to.
type Enqueued<C> = Result<
    DeliveryFuture<<C as ProducerContext>::DeliveryOpaque>,
    SendError<<C as ProducerContext>::DeliveryOpaque>,
>;

/// What all clones share, and the driver does not: its drop is that of the last handle.
struct ProducerHandle<C: ProducerContext> {
    shared: Arc<Shared<C>>,
    runtime: Handle,
    max_block: Option<Duration>,
    /// The transaction that its records are part of. The producer outlives such a handle.
    scope: Option<Arc<Scope>>,
}

impl<C: ProducerContext> Drop for ProducerHandle<C> {
    fn drop(&mut self) {
        if self.scope.is_some() {
            return;
        }
        let in_flight = self.shared.core.in_flight();
        if in_flight > 0 && !self.shared.core.is_closed() {
            tracing::warn!(
                in_flight,
                "the last handle of a producer was dropped with messages in flight: they are \
                 delivered as long as the runtime lives; close() waits for them"
            );
        }
        self.shared.stop_admission();
    }
}

impl Producer {
    /// Builds a producer step by step.
    pub fn builder(config: &ClientConfig) -> ProducerBuilder<'_> {
        ProducerBuilder::new(config)
    }
}

impl<C: ProducerContext> Producer<C> {
    pub(crate) fn new(
        shared: Arc<Shared<C>>,
        runtime: Handle,
        max_block: Option<Duration>,
    ) -> Self {
        Self {
            place: None,
            handle: Arc::new(ProducerHandle {
                shared,
                runtime,
                max_block,
                scope: None,
            }),
        }
    }

    /// A handle whose records are part of a transaction.
    pub(crate) fn within(&self, scope: Arc<Scope>) -> Self {
        Self {
            place: None,
            handle: Arc::new(ProducerHandle {
                shared: Arc::clone(self.shared()),
                runtime: self.handle.runtime.clone(),
                max_block: self.handle.max_block,
                scope: Some(scope),
            }),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<C>> {
        &self.handle.shared
    }

    /// Sends a record and waits until it has been delivered: first for room in the queue, for up to
    /// `max_block` of the [builder](Self::builder) (no limit by default), then for the delivery,
    /// for up to `message.timeout.ms`.
    ///
    /// To have several in flight, [`enqueue`](Self::enqueue) them and await the futures, or send
    /// from several tasks: one `send` after the other waits out a round trip each. In
    /// `buffer_unordered` of a spawned `async` block, see [what helps](crate#in-a-spawned-task).
    ///
    /// The future borrows the producer. To spawn it, move a clone in, and a record that borrows
    /// nothing: `tokio::spawn(async move { producer.send(record).await })`.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the record and what is known of its persistence. Before the enqueue: a
    /// field of the record is wrong, the payload can never fit into the queue, it is larger than
    /// `message.max.bytes`, `max_block` is over, the topic or partition is known not to exist, the
    /// producer is closed or has had a fatal error. After it: see [`DeliveryFuture`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for room, nothing is sent, and its place and room pass on. Dropped
    /// after that, the record is delivered all the same.
    ///
    /// # Panics
    ///
    /// With `max_block` set, on a runtime without its time driver, where it has to wait.
    pub fn send(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> impl Future<Output = Result<Delivery, SendError<C::DeliveryOpaque>>> + Send {
        Sending::new(self.enqueue(record))
    }

    /// As [`send`](Self::send), with another limit for the wait for room. The time until the
    /// delivery is up to `message.timeout.ms`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// On a runtime without its time driver, where it has to wait.
    pub fn send_timeout(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Delivery, SendError<C::DeliveryOpaque>>> + Send {
        Sending::new(self.enqueue_timeout(record, timeout))
    }

    /// Waits for room and enqueues a record: its place in the order is fixed when this returns. The
    /// future that it returns resolves with the delivery.
    ///
    /// ```no_run
    /// # use tokio_rdkafka::{Producer, ProducerRecord};
    /// # async fn run(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let first = producer.enqueue(ProducerRecord::to("t").payload("1")).await?;
    /// let second = producer.enqueue(ProducerRecord::to("t").payload("2")).await?;
    /// first.await?;
    /// second.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send) before the enqueue.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn enqueue(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> impl Future<Output = Enqueued<C>> + Send {
        self.wait_and_produce::<Awaited>(record, self.handle.max_block)
    }

    /// As [`enqueue`](Self::enqueue), with another limit for the wait for room.
    ///
    /// # Errors
    ///
    /// As [`enqueue`](Self::enqueue).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// On a runtime without its time driver, where it has to wait.
    pub fn enqueue_timeout(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
        timeout: Duration,
    ) -> impl Future<Output = Enqueued<C>> + Send {
        self.wait_and_produce::<Awaited>(record, Some(timeout))
    }

    /// Enqueues a record without waiting.
    ///
    /// # Errors
    ///
    /// The record as it came, where there is no room
    /// ([`is_queue_full`](EnqueueError::is_queue_full); also while others wait for some, lest it
    /// overtake them), or as [`send`](Self::send) before the enqueue.
    pub fn try_enqueue<'a>(
        &self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<DeliveryFuture<C::DeliveryOpaque>, EnqueueError<'a, C::DeliveryOpaque>> {
        self.try_produce::<Awaited>(record)
    }

    /// As [`enqueue`](Self::enqueue), without a future of the delivery: the context's callback
    /// alone hears of it.
    ///
    /// # Errors
    ///
    /// As [`enqueue`](Self::enqueue).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn enqueue_detached(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> impl Future<Output = Result<(), SendError<C::DeliveryOpaque>>> + Send {
        self.wait_and_produce::<Detached>(record, self.handle.max_block)
    }

    /// As [`try_enqueue`](Self::try_enqueue), without a future of the delivery.
    ///
    /// # Errors
    ///
    /// As [`try_enqueue`](Self::try_enqueue).
    pub fn try_enqueue_detached<'a>(
        &self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<(), EnqueueError<'a, C::DeliveryOpaque>> {
        self.try_produce::<Detached>(record)
    }

    /// As [`enqueue`](Self::enqueue), for a thread that is not the runtime's: blocks it while there
    /// is no room.
    ///
    /// # Errors
    ///
    /// As [`enqueue`](Self::enqueue).
    ///
    /// # Panics
    ///
    /// In an async context, as [`Handle::block_on`] does; and as [`enqueue`](Self::enqueue).
    pub fn blocking_enqueue(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> Result<DeliveryFuture<C::DeliveryOpaque>, SendError<C::DeliveryOpaque>> {
        self.handle.runtime.block_on(self.enqueue(record))
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn moves its arguments once more: a tenth of a send's instructions"
    )]
    fn wait_and_produce<T: Told<C::DeliveryOpaque>>(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<T::Handle, SendError<C::DeliveryOpaque>>> + Send {
        async move {
            let admitted = match self.check(&record.fields) {
                Ok(bytes) if coop::may_enqueue() && self.try_acquire(bytes).is_ok() => Ok(()),
                Ok(bytes) => match topic::check_name(record.fields.topic.as_str()) {
                    Ok(()) => self.wait_for_room(bytes, timeout).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            if let Err(error) = admitted {
                return Err(SendError::refused(self.noted(error), record));
            }
            self.produce::<T, _>(record, SendError::refused)
        }
    }

    /// Produces a record whose room has been taken.
    ///
    /// # Errors
    ///
    /// What `refused` makes of the record as it came; its room has been given back.
    #[inline]
    fn produce<'a, T: Told<C::DeliveryOpaque>, E>(
        &self,
        mut record: ProducerRecord<'a, C::DeliveryOpaque>,
        refused: impl FnOnce(KafkaError, ProducerRecord<'a, C::DeliveryOpaque>) -> E,
    ) -> Result<T::Handle, E> {
        let inside = match self.enter() {
            Ok(inside) => inside,
            Err(error) => {
                self.shared().room.give_back(1, record.fields.payload_len());
                return Err(refused(error, record));
            }
        };
        match self
            .shared()
            .produce::<T>(&mut record.fields, record.opaque)
        {
            Ok(handle) => {
                if record.fields.has_bytes() {
                    // The user's code: not under the lock.
                    drop(inside);
                    drop_payloads(|| drop(record.fields));
                }
                Ok(handle)
            }
            Err((error, opaque)) => {
                record.opaque = opaque;
                Err(refused(self.noted(error), record))
            }
        }
    }

    /// Produces plain records of one topic whose room has been taken. Where one is refused, its
    /// promise is kept with the error, and its room given back.
    pub(crate) fn produce_run(
        &self,
        topic: &TopicName<'_>,
        run: &[Plain<'_>],
        promises: impl ExactSizeIterator<Item = DeliveryPromise<C::DeliveryOpaque>>,
    ) {
        match self.enter() {
            Ok(_inside) => {
                let noted = |error| self.noted(error);
                self.shared().produce_run(topic, run, promises, noted);
            }
            Err(error) => {
                for (plain, promise) in run.iter().zip(promises) {
                    self.shared().room.give_back(1, plain.payload_len());
                    refuse(promise, error.clone(), topic, plain);
                }
            }
        }
    }

    /// A record's way into the transaction, where there is one, open until the guard is dropped.
    #[inline]
    fn enter(&self) -> Result<Option<RwLockReadGuard<'_, bool>>, KafkaError> {
        self.handle.scope.as_deref().map(Scope::enter).transpose()
    }

    /// Has the transaction, where there is one, know of a record that is refused.
    #[cold]
    pub(crate) fn noted(&self, error: KafkaError) -> KafkaError {
        if let Some(scope) = &self.handle.scope {
            scope.fail(&error);
        }
        error
    }

    async fn wait_for_room(
        &self,
        bytes: usize,
        timeout: Option<Duration>,
    ) -> Result<(), KafkaError> {
        let room = &self.shared().room;
        let acquired = match timeout {
            None => room.acquire(bytes).await,
            // Boxed, because a timer is large, and few need one.
            Some(timeout) => Box::pin(time::timeout(timeout, room.acquire(bytes)))
                .await
                .map_err(|_| KafkaError::no_room(timeout))?,
        };
        acquired.map_err(KafkaError::from)
    }

    fn try_produce<'a, T: Told<C::DeliveryOpaque>>(
        &self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<T::Handle, EnqueueError<'a, C::DeliveryOpaque>> {
        let admitted = self.check(&record.fields).and_then(|bytes| {
            self.try_acquire(bytes).or_else(|none| {
                topic::check_name(record.fields.topic.as_str())?;
                Err(none.into())
            })
        });
        if let Err(error) = admitted {
            return Err(EnqueueError::new(self.noted(error), record));
        }
        self.produce::<T, _>(record, EnqueueError::new)
    }

    /// What need not wait for room to fail, but for the topic's name: that is checked before a wait,
    /// and otherwise where its handle is made. The payload's length.
    #[inline]
    fn check(&self, fields: &Fields<'_>) -> Result<usize, KafkaError> {
        fields.check()?;
        self.shared().core.check_fatal()?;
        let bytes = fields.payload_len();
        self.shared().room.check_bytes(bytes)?;
        Ok(bytes)
    }

    /// Takes room, where there is some and nobody waits.
    #[inline]
    fn try_acquire(&self, bytes: usize) -> Result<(), NoRoom> {
        self.shared().room.try_acquire(bytes)
    }

    /// Waits for room for one record, to send it later without waiting: the two steps of
    /// [`enqueue`](Self::enqueue) apart, for what must decide in between.
    ///
    /// The permit holds room for one message. Its payload is charged when it is used; see
    /// [`reserve_bytes`](Self::reserve_bytes) for an exact reservation.
    ///
    /// A permit that is kept unused keeps others out, but not for ever: where unused permits hold
    /// all the room, nothing is in flight and nobody moves, those who wait are let in beyond the
    /// limit, one after the other. So memory may exceed the limit by what such permits are used for
    /// later.
    ///
    /// In a `select!` in a loop the future must be pinned outside of the loop: made anew each time,
    /// it would lose its place in the line each time.
    ///
    /// ```no_run
    /// # use tokio_rdkafka::{Producer, ProducerRecord};
    /// # async fn run(producer: Producer, mut ticks: tokio::time::Interval) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut reserve = std::pin::pin!(producer.reserve());
    /// let permit = loop {
    ///     tokio::select! {
    ///         permit = &mut reserve => break permit?,
    ///         _ = ticks.tick() => println!("still waiting"),
    ///     }
    /// };
    /// let delivery = permit.send(ProducerRecord::to("t").payload("v"));
    /// delivery.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Where the producer is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses the place in the line, which passes on.
    pub async fn reserve(&self) -> Result<Permit<'_, C>, KafkaError> {
        self.wait_for_room(0, None).await?;
        Ok(Permit::new(self, None))
    }

    /// As [`reserve`](Self::reserve), with room for `bytes` of payload. What a shorter payload
    /// leaves goes back at the send; a longer one is refused through the future.
    ///
    /// # Errors
    ///
    /// Where the producer is closed, or `bytes` can never fit into `queue.buffering.max.kbytes`.
    ///
    /// # Cancel safety
    ///
    /// As [`reserve`](Self::reserve).
    pub async fn reserve_bytes(&self, bytes: usize) -> Result<Permit<'_, C>, KafkaError> {
        self.shared().room.check_bytes(bytes)?;
        self.wait_for_room(bytes, None).await?;
        Ok(Permit::new(self, Some(bytes)))
    }

    /// As [`reserve`](Self::reserve), with a permit that can be moved anywhere, and keeps the
    /// producer open.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    ///
    /// # Cancel safety
    ///
    /// As [`reserve`](Self::reserve).
    pub async fn reserve_owned(&self) -> Result<OwnedPermit<C>, KafkaError> {
        self.wait_for_room(0, None).await?;
        Ok(OwnedPermit::new(self.clone()))
    }

    /// As [`reserve`](Self::reserve), without waiting.
    ///
    /// # Errors
    ///
    /// Where there is no room ([`is_queue_full`](KafkaError::is_queue_full); also while others wait
    /// for some), or the producer is closed.
    pub fn try_reserve(&self) -> Result<Permit<'_, C>, KafkaError> {
        self.try_acquire(0)?;
        Ok(Permit::new(self, None))
    }

    /// As [`reserve_owned`](Self::reserve_owned), for hand-written futures. While it is pending the
    /// place in the line is kept in this very handle, and given up with it; a clone starts without
    /// one.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    pub fn poll_reserve(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<OwnedPermit<C>, KafkaError>> {
        ready!(self.poll_room(cx, 0))?;
        Poll::Ready(Ok(OwnedPermit::new(self.clone())))
    }

    /// Takes the room of a permit.
    #[inline]
    pub(crate) fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        bytes: usize,
    ) -> Poll<Result<(), KafkaError>> {
        Place::poll(&mut self.place, &self.handle.shared, bytes, cx)
    }

    /// Gives up the place in the line of [`poll_reserve`](Self::poll_reserve).
    pub fn abort_reserve(&mut self) {
        self.place = None;
    }

    /// A [`Sink`](futures_sink::Sink) of records, for streams to be forwarded to; any number of them.
    ///
    /// It takes `ProducerRecord<'static, _>`: see [`ProducerSink`], also for what it takes to spawn
    /// it.
    pub fn sink(&self) -> ProducerSink<C> {
        ProducerSink::new(self.clone())
    }

    /// Sends the records of an iterator, as fast as there is room: a stream of what became of each,
    /// in their order. See [`SendAll`]. Where rustc does not take it in a spawned `async` block,
    /// see [what helps](crate#in-a-spawned-task).
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use tokio_rdkafka::{Producer, ProducerRecord};
    ///
    /// # async fn run(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let rows = (1..=10_000_000).map(|row: u32| ProducerRecord::to("rows").payload(row.to_string()));
    /// let mut results = producer.send_all(rows).max_in_flight(1_000);
    /// while let Some(delivery) = results.try_next().await? {
    ///     println!("{:?}", delivery.offset());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_all<'a, I>(&self, records: I) -> SendAll<I::IntoIter, C>
    where
        I: IntoIterator<Item = ProducerRecord<'a, C::DeliveryOpaque>>,
    {
        SendAll::new(self.clone(), records.into_iter())
    }

    /// Waits for room for the record, takes it and enqueues it; whatever keeps it from being sent
    /// comes through the future. The place in the line is kept as in
    /// [`poll_reserve`](Self::poll_reserve).
    ///
    /// # Panics
    ///
    /// Where there is no record.
    pub(crate) fn poll_enqueue(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Option<ProducerRecord<'_, C::DeliveryOpaque>>,
    ) -> Poll<DeliveryFuture<C::DeliveryOpaque>> {
        let Some(waiting) = record else {
            panic!("there is a record to enqueue");
        };
        let admitted = match self.check(&waiting.fields) {
            Ok(bytes) => ready!(Place::poll(&mut self.place, &self.handle.shared, bytes, cx)),
            Err(error) => {
                // It may have waited until the producer could not go on.
                self.abort_reserve();
                Err(error)
            }
        };
        let record = record.take().expect("it was there");
        Poll::Ready(match admitted {
            Ok(()) => self.produce_or_fail(record),
            Err(error) => self.failed(self.noted(error), record),
        })
    }

    /// Produces a record whose room has been taken; what keeps it from that comes through the future.
    #[inline]
    pub(crate) fn produce_or_fail(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.produce::<Awaited, _>(record, SendError::refused)
            .unwrap_or_else(|error| self.shared().failed(error))
    }

    /// The future of a record that is not enqueued.
    #[cold]
    pub(crate) fn failed(
        &self,
        error: KafkaError,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.shared().failed(SendError::refused(error, record))
    }

    /// Sends what is queued without waiting for `linger.ms`, and waits until all messages that are
    /// in flight now have been delivered or have failed; later ones are not waited for.
    ///
    /// Flushes that run at the same time share one blocking call of librdkafka, on a thread of its
    /// own. Where others go on producing, `linger.ms` stays off for up to 200 ms after the flush.
    ///
    /// # Errors
    ///
    /// [`FlushError`] where the system has no thread for it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops the waiting; the messages are delivered all the same.
    pub async fn flush(&self) -> Result<FlushReport, FlushError> {
        Ok(Watching::flush(self.shared())?.ended().await.flush_report())
    }

    /// As [`flush`](Self::flush), with a limit of time.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush); after `timeout`, with the number of messages left.
    ///
    /// # Cancel safety
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Panics
    ///
    /// On a runtime without its time driver.
    pub async fn flush_timeout(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        let mut watching = Watching::flush(self.shared())?;
        match time::timeout(timeout, watching.ended()).await {
            Ok(tally) => Ok(tally.flush_report()),
            Err(_) => Err(watching.give_up(KafkaError::timed_out(timeout))),
        }
    }

    /// Stops admission, flushes, waits until everything in flight has been delivered or has failed,
    /// and destroys the client, on a thread of its own.
    ///
    /// From the call on, other calls fail with an error that
    /// [`is_closed`](KafkaError::is_closed), and so do those that wait for room, with their
    /// records. Can be called any number of times, on any clone: all callers await the same end.
    ///
    /// A message that cannot be delivered fails after `message.timeout.ms`, five minutes by
    /// default; [`close_timeout`](Self::close_timeout) does not wait so long.
    ///
    /// # Cancel safety
    ///
    /// The close begins when the future is first polled; dropping it does not stop it.
    pub async fn close(&self) -> CloseReport {
        self.shared().begin_close(None);
        self.shared().ended().await
    }

    /// As [`close`](Self::close); what has not been delivered after `timeout` is purged: its
    /// futures resolve with errors, and records without a future are in the report. Where several
    /// set a deadline, the earliest counts.
    ///
    /// # Cancel safety
    ///
    /// As [`close`](Self::close); the deadline stays too.
    pub async fn close_timeout(&self, timeout: Duration) -> CloseReport {
        self.shared()
            .begin_close(Instant::now().checked_add(timeout));
        self.shared().ended().await
    }

    /// Gives up what `config` covers; resolves when the futures of it have been resolved, with the
    /// number of messages that were purged meanwhile.
    ///
    /// In a transaction it fails the commit, and [`inflight`](PurgeConfig::inflight) has no effect: what
    /// has been sent could be written behind the end of the transaction, and into the next one.
    ///
    /// # Cancel safety
    ///
    /// Once it has been polled the purge is made, also when the future is dropped.
    pub async fn purge(&self, config: PurgeConfig) -> usize {
        let config = match self.handle.scope {
            Some(_) => config.without_inflight(),
            None => config,
        };
        let tally = Watching::purge(self.shared(), config).ended().await;
        usize::try_from(tally.purged).unwrap_or(usize::MAX)
    }

    /// Waits until a broker is up, has let the client log in, and has answered a request: of several,
    /// one is enough. Where that does not come about, it returns the reason, without waiting for a
    /// record to time out:
    ///
    /// - once all brokers have failed, with the reason of one of them;
    /// - of several, a second after one has failed in a way that does not go away by itself (a wrong
    ///   password, a certificate), or has closed the connection instead of an answer, if none is up by
    ///   then;
    /// - a second after the call, if that was so before it.
    ///
    /// librdkafka goes on trying in any case: it may be called again.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tokio_rdkafka::{ClientConfig, ConnectFailure, Producer};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let producer: Producer =
    ///     ClientConfig::new().set("bootstrap.servers", "localhost:9092").create()?;
    /// if let Err(error) = producer.ready(Duration::from_secs(30)).await {
    ///     match error.connect_failure() {
    ///         Some(ConnectFailure::Authentication) => eprintln!("look at the password: {error}"),
    ///         Some(ConnectFailure::Expired) => eprintln!("call the operators: {error}"),
    ///         _ => eprintln!("{error}"),
    ///     }
    ///     return Err(error.into());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// While somebody waits, a thread of its own asks, by librdkafka's blocking call; it ends within a
    /// second after the last one has gone, and [`close`](Self::close) waits for it.
    ///
    /// Source: `rd_kafka_metadata`; the events `RD_KAFKA_EVENT_ERROR`, whose codes
    /// `_AUTHENTICATION`, `_SSL`, `_RESOLVE`, `_TRANSPORT` and `_ALL_BROKERS_DOWN` count. librdkafka
    /// holds identical ones back for 30 seconds, so the last one of each broker is kept. What it tells
    /// by a log line alone is known only where `log_level` is 6, as it is by default, or more.
    ///
    /// # Errors
    ///
    /// - [`connect_failure`](KafkaError::connect_failure) says why, where that is known;
    ///   [retriable](KafkaError::is_retriable) where it may go away by itself.
    /// - [`is_timed_out`](KafkaError::is_timed_out) after `timeout`, with the last failure of a broker
    ///   if there was one.
    /// - [Closed](KafkaError::is_closed), [fatal](KafkaError::is_fatal), or the system has no thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops the waiting.
    ///
    /// # Panics
    ///
    /// On a runtime without its time driver.
    pub async fn ready(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.shared().ready(timeout).await
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

impl<C: ProducerContext> FromClientConfigAndContext<C> for Producer<C> {
    fn from_config_and_context(config: &ClientConfig, context: C) -> Result<Self, KafkaError> {
        Producer::builder(config).context(context).create()
    }
}

impl<C: ProducerContext> Clone for Producer<C> {
    fn clone(&self) -> Self {
        Self {
            place: None,
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
            place: None,
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
