//! Sends and enqueues records.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::access::Access;
use super::producer::Producer;
use super::send_future::{EnqueueFuture, NotNow, SendFuture};
use super::timer::Timer;
use crate::client::ProducerContext;
use crate::driver::{CapacityError, Completer, Grant, Purpose, refuse, served};
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::PARTITION_UNASSIGNED;
use crate::message::{
    Delivery, DeliveryFuture, DeliveryKind, Detached, EnqueueError, Fields, Plain, ProducerRecord,
    SendError, TopicName, Tracked,
};
use crate::sync::coop;
use crate::values::topic_name;

/// The result of an enqueue.
type Enqueued<C> = Result<
    DeliveryFuture<<C as ProducerContext>::DeliveryOpaque>,
    SendError<<C as ProducerContext>::DeliveryOpaque>,
>;

impl<C: ProducerContext, A: Access> Producer<C, A> {
    /// Sends a record and waits for its delivery report.
    ///
    /// It first waits for capacity in the queue, for up to
    /// [`max_block`](crate::ProducerBuilder::max_block) (by default without a limit). Then it waits
    /// for the delivery, for up to `message.timeout.ms` (by default 5 minutes).
    ///
    /// One `send` after another waits for one network round trip each. To have several records in
    /// flight, [`enqueue`](Self::enqueue) them and await the futures afterwards, or send from
    /// several tasks. See also [how to spawn](crate#in-a-spawned-task) a stream of sends.
    ///
    /// The future borrows the producer. To spawn it, move in a clone of the producer and a record
    /// that borrows nothing: `tokio::spawn(async move { producer.send(record).await })`.
    ///
    /// To wait for less than that, without losing sight of the record, see
    /// [a deadline of your own](DeliveryFuture#a-deadline-of-your-own).
    ///
    /// # Errors
    ///
    /// Returns a [`SendError`] with the record and what is known about its persistence. The record
    /// is refused before it is enqueued if:
    ///
    /// - a field of the record is invalid;
    /// - the payload is larger than `queue.buffering.max.kbytes` or `message.max.bytes` allows;
    /// - there is no capacity within `max_block`;
    /// - the topic or the partition is known not to exist;
    /// - the producer is closed or has had a fatal error.
    ///
    /// # Topics and partitions that do not exist
    ///
    /// A record to a topic that does not exist fails after `topic.metadata.propagation.max.ms`, by
    /// default 30 s: the topic may have been created a moment ago, and brokers may create it
    /// (`auto.create.topics.enable`). Its error has the broker's code. After that, records to the
    /// topic are refused with [`UnknownTopic`](RDKafkaErrorCode::UnknownTopic) at once, until the
    /// topic appears. Set the property lower to be told sooner.
    ///
    /// If a record names a partition that is unknown, the producer asks the brokers for the
    /// topic's partitions, as some may have been added. `send` and `enqueue` wait for the partition
    /// for up to 3 s after the first such record, and share the requests. In the 30 s after that
    /// they ask at most once a second, and wait for nothing but the answer, for up to 0.5 s. A time
    /// limit of the call (`max_block`, `timeout`) limits these waits too. All other calls, and
    /// those in a transaction, refuse the record and start the request.
    ///
    /// For the errors of a record that was enqueued, see [`DeliveryFuture`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits for capacity, nothing is sent. Its place and its
    /// capacity pass to the next waiter. If it is dropped later, the record is delivered
    /// nevertheless.
    pub fn send(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> impl Future<Output = Result<Delivery, SendError<C::DeliveryOpaque>>> + Send {
        SendFuture::new(self.enqueue(record))
    }

    /// Sends as [`send`](Self::send) does, but waits for capacity, and for a partition that is
    /// unknown, for up to `timeout`.
    ///
    /// `timeout` does not limit the wait for the delivery: `message.timeout.ms` does.
    ///
    /// # Errors
    ///
    /// Same as [`send`](Self::send), with `timeout` in place of `max_block`.
    ///
    /// # Cancel safety
    ///
    /// Same as [`send`](Self::send).
    pub fn send_timeout(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Delivery, SendError<C::DeliveryOpaque>>> + Send {
        SendFuture::new(self.enqueue_timeout(record, timeout))
    }

    /// Waits for capacity, enqueues a record and returns the future of its delivery.
    ///
    /// When the call returns, the record's place in the [order](Self#order) is fixed. Retries keep
    /// it only with `enable.idempotence=true`.
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
    /// A single poll is no test of whether there is capacity: at every 1024th enqueue of a thread
    /// the future yields once to other tasks, although there is some. So
    /// `enqueue(record).now_or_never()` is `None` then, and the record is gone with the future. Use
    /// [`try_enqueue`](Self::try_enqueue), which never yields and returns the record.
    ///
    /// # Errors
    ///
    /// The record is refused for one of the reasons listed at [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// Same as [`send`](Self::send).
    pub fn enqueue(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> impl Future<Output = Enqueued<C>> + Send {
        self.wait_and_produce::<Tracked>(record, self.max_block())
    }

    /// Enqueues as [`enqueue`](Self::enqueue) does, but waits for capacity, and for a partition that is
    /// unknown, for up to `timeout`.
    ///
    /// # Errors
    ///
    /// Same as [`enqueue`](Self::enqueue), with `timeout` in place of `max_block`.
    ///
    /// # Cancel safety
    ///
    /// Same as [`send`](Self::send).
    pub fn enqueue_timeout(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
        timeout: Duration,
    ) -> impl Future<Output = Enqueued<C>> + Send {
        self.wait_and_produce::<Tracked>(record, Some(timeout))
    }

    /// Enqueues a record without waiting and returns the future of its delivery.
    ///
    /// # Errors
    ///
    /// Returns the record if the [queue is full](EnqueueError::is_queue_full), or if other senders
    /// are already waiting for capacity. Also returns it for the other reasons listed at
    /// [`send`](Self::send).
    ///
    /// The error borrows what the record borrows. `?` converts it into a [`KafkaError`] or a
    /// [`SendError`]. For a [`BoxError`](crate::BoxError) or an `anyhow::Error`, which may borrow
    /// nothing, call [`into_owned`](EnqueueError::into_owned):
    ///
    /// ```no_run
    /// use tokio_rdkafka::{BoxError, EnqueueError, KafkaError, Producer, ProducerRecord};
    ///
    /// fn keep_the_record(producer: &Producer, line: &str) -> Result<(), BoxError> {
    ///     let record = ProducerRecord::to("lines").payload(line);
    ///     let delivery = producer.try_enqueue(record).map_err(EnqueueError::into_owned)?;
    ///     Ok(())
    /// }
    ///
    /// fn drop_the_record(producer: &Producer, line: &str) -> Result<(), KafkaError> {
    ///     let delivery = producer.try_enqueue(ProducerRecord::to("lines").payload(line))?;
    ///     Ok(())
    /// }
    /// ```
    pub fn try_enqueue<'a>(
        &self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<DeliveryFuture<C::DeliveryOpaque>, EnqueueError<'a, C::DeliveryOpaque>> {
        self.try_produce::<Tracked>(record)
    }

    /// Waits for capacity and enqueues a record, without a future of its delivery.
    ///
    /// [`ProducerContext::delivery`] reports the delivery. A failure is also
    /// [logged](Self#failures-that-nobody-awaits), and counted by the
    /// [report of the close](crate::CloseReport).
    ///
    /// # Errors
    ///
    /// Same as [`enqueue`](Self::enqueue).
    ///
    /// # Cancel safety
    ///
    /// Same as [`send`](Self::send).
    pub fn enqueue_detached(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> impl Future<Output = Result<(), SendError<C::DeliveryOpaque>>> + Send {
        self.wait_and_produce::<Detached>(record, self.max_block())
    }

    /// Enqueues a record without waiting and without a future of its delivery.
    ///
    /// [`ProducerContext::delivery`] reports the delivery. A failure is also
    /// [logged](Self#failures-that-nobody-awaits), and counted by the
    /// [report of the close](crate::CloseReport).
    ///
    /// # Errors
    ///
    /// Same as [`try_enqueue`](Self::try_enqueue), also what `?` needs.
    pub fn try_enqueue_detached<'a>(
        &self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<(), EnqueueError<'a, C::DeliveryOpaque>> {
        self.try_produce::<Detached>(record)
    }

    fn wait_and_produce<K: DeliveryKind<C::DeliveryOpaque>>(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<K::Handle, SendError<C::DeliveryOpaque>>> + Send {
        let go_on = move |why, record| self.enqueue_later::<K>(why, record, timeout);
        EnqueueFuture::new(self, record, PhantomData::<K>, go_on)
    }

    /// Enqueues a record that could not be enqueued at once, or returns why not.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn stores its arguments twice: a waiting send is to be small"
    )]
    fn enqueue_later<K: DeliveryKind<C::DeliveryOpaque>>(
        &self,
        why: NotNow,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<K::Handle, SendError<C::DeliveryOpaque>>> + Send {
        async move {
            let (refused, waited) = match why {
                NotNow::Refused(error) => (SendError::unsettled(error, record), 0),
                NotNow::Full(bytes) => {
                    let started = tenths();
                    let admitted = match topic_name::check_name(record.fields.topic.as_str()) {
                        Ok(()) => {
                            self.wait_for_capacity(bytes, Purpose::Produce, timeout)
                                .await
                        }
                        Err(error) => Err(error),
                    };
                    let waited = u16::try_from(tenths() - started).unwrap_or(u16::MAX);
                    if let Err(error) = admitted {
                        let error = self.record_failure(error);
                        self.shared().count_refused(&error);
                        return Err(SendError::refused(error, record).after_wait(waited));
                    }
                    match self.produce::<K, _>(record, waited, SendError::unsettled) {
                        Err(error) => (error.after_wait(waited), waited),
                        produced => return produced,
                    }
                }
            };
            if !self.may_appear(&refused) {
                self.shared().count_refused(refused.error());
                return Err(refused.settled());
            }
            let so_far = Duration::from_millis(100) * u32::from(waited);
            let left = timeout.map(|timeout| timeout.saturating_sub(so_far));
            // Boxed, because it is large and few calls need it.
            let enqueued = Box::pin(self.wait_for_partition::<K>(refused, waited, left)).await;
            enqueued.inspect_err(|error| self.shared().count_refused(error.error()))
        }
    }

    /// Enqueues a record if there is capacity at once. Takes the opaque if it does.
    ///
    /// # Errors
    ///
    /// Returns what is to be done instead.
    ///
    /// # Panics
    ///
    /// Panics if there is no opaque.
    #[inline]
    pub(super) fn enqueue_now<K: DeliveryKind<C::DeliveryOpaque>>(
        &self,
        fields: &mut Fields<'_>,
        opaque: &mut Option<C::DeliveryOpaque>,
    ) -> Result<K::Handle, NotNow> {
        let value = opaque.as_mut().expect("there is an opaque");
        self.intercept_fields(fields, value);
        let bytes = match self.check_record(fields) {
            Ok(bytes) => bytes,
            Err(error) => return Err(NotNow::Refused(self.record_failure(error))),
        };
        if !coop::may_enqueue() || self.try_acquire(bytes).is_err() {
            return Err(NotNow::Full(bytes));
        }
        let value = opaque.take().expect("there is an opaque");
        match self.produce_fields::<K>(fields, value, 0) {
            Ok(handle) => Ok(handle),
            Err((error, value)) => {
                *opaque = Some(value);
                Err(NotNow::Refused(error))
            }
        }
    }

    /// Returns true if the record's partition is unknown, but may have been added to the topic. In
    /// a transaction the refusal has already been recorded.
    #[cold]
    fn may_appear(&self, error: &SendError<C::DeliveryOpaque>) -> bool {
        let is_unknown = error.code() == Some(RDKafkaErrorCode::UnknownPartition);
        is_unknown && error.record().get_partition().is_some() && !self.is_transactional()
    }

    /// Asks the brokers for the partition of a refused record, and enqueues the record again, for a
    /// few seconds, and for no longer than `timeout`. It has already waited for capacity, for so many
    /// tenths of a second.
    async fn wait_for_partition<K: DeliveryKind<C::DeliveryOpaque>>(
        &self,
        mut refused: SendError<C::DeliveryOpaque>,
        waited: u16,
        timeout: Option<Duration>,
    ) -> Result<K::Handle, SendError<C::DeliveryOpaque>> {
        /// How long a record waits for the answer if it does not wait for its partition.
        const ANSWER: Duration = Duration::from_millis(500);
        const FIRST_PAUSE: Duration = Duration::from_millis(20);
        const LAST_PAUSE: Duration = Duration::from_millis(500);
        let topic = refused.record().get_topic().to_owned();
        let refresh = self.shared().refreshes.topic(&topic);
        let began = Instant::now();
        let time_left = || timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
        let at_most = |wait: Duration| time_left().map_or(wait, |left| left.min(wait));
        let mut pause = FIRST_PAUSE;
        loop {
            let limit = at_most(refresh.left().max(ANSWER));
            let answer = self.shared().refresh(&refresh, &topic);
            let answer = served(self.shared(), answer);
            let answer = Timer::limit_answer(self.runtime(), limit, answer).await;
            let partitions = answer.unwrap_or_else(|_| Err(KafkaError::no_answer()));
            let partition = refused.record().get_partition().unwrap_or_default();
            let (record, opaque, _) = refused.into_parts();
            let record = record.opaque(opaque.expect("it was refused"));
            let bytes = match self.check_record(&record.fields) {
                Ok(bytes) => bytes,
                Err(error) => return Err(SendError::refused(error, record)),
            };
            if self.try_acquire(bytes).is_err() {
                let admitted = self.wait_for_capacity(bytes, Purpose::Produce, time_left());
                if let Err(error) = admitted.await {
                    return Err(SendError::refused(error, record));
                }
            }
            refused = match self.produce::<K, _>(record, waited, SendError::unsettled) {
                Err(error) if self.may_appear(&error) => error,
                result => return result.map_err(SendError::settled),
            };
            let timer = Timer::new(self.runtime(), pause);
            let (true, Ok(timer)) = (at_most(refresh.left()) > pause, timer) else {
                let count = partitions.as_ref().ok().copied();
                let error = KafkaError::unknown_partition(&topic, partition, count);
                let error = match partitions {
                    Err(reason) => error.caused_by(reason),
                    Ok(_) => error,
                };
                return Err(refused.with_error(error).settled());
            };
            let _ = timer.limit(std::future::pending::<()>()).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Asks the brokers for the partition of a refused record that nobody waits for.
    #[cold]
    fn refresh_if_unknown(&self, error: KafkaError, fields: &Fields<'_>) -> KafkaError {
        let is_unknown = error.code() == Some(RDKafkaErrorCode::UnknownPartition);
        if !is_unknown || fields.partition == PARTITION_UNASSIGNED {
            return error;
        }
        let topic = fields.topic.as_str();
        let refresh = self.shared().refreshes.topic(topic);
        if refresh.should_start() {
            let (shared, topic) = (Arc::clone(self.shared()), topic.to_owned());
            // It ends within a few seconds, or when the producer closes.
            drop(self.runtime().handle.spawn(async move {
                let _ = shared.refresh(&refresh, &topic).await;
            }));
        }
        KafkaError::unknown_partition(topic, fields.partition, None)
    }

    /// Produces a record whose capacity has been acquired, after a wait of so many tenths of a
    /// second.
    ///
    /// # Errors
    ///
    /// Returns what `refused` builds from the error and the unchanged record. The capacity has been
    /// released.
    #[inline]
    fn produce<'a, K: DeliveryKind<C::DeliveryOpaque>, E>(
        &self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
        waited: u16,
        refused: impl FnOnce(KafkaError, ProducerRecord<'a, C::DeliveryOpaque>) -> E,
    ) -> Result<K::Handle, E> {
        let ProducerRecord { mut fields, opaque } = record;
        match self.produce_fields::<K>(&mut fields, opaque, waited) {
            Ok(handle) => {
                fields.drop_produced(|| self.client_name());
                Ok(handle)
            }
            Err((error, opaque)) => Err(refused(error, ProducerRecord { fields, opaque })),
        }
    }

    /// Produces as [`produce`](Self::produce) does. The caller must then
    /// [drop](Fields::drop_produced) the fields.
    ///
    /// # Errors
    ///
    /// Returns the error and the opaque. The fields are unchanged, and the capacity has been
    /// released.
    #[inline(always)]
    fn produce_fields<K: DeliveryKind<C::DeliveryOpaque>>(
        &self,
        fields: &mut Fields<'_>,
        opaque: C::DeliveryOpaque,
        waited: u16,
    ) -> Result<K::Handle, (KafkaError, C::DeliveryOpaque)> {
        let epoch = match self.enter_epoch() {
            Ok(epoch) => epoch,
            Err(error) => {
                drop(self.shared().capacity.release(1, fields.payload_len()));
                return Err((error, opaque));
            }
        };
        let produced = self.shared().produce::<K>(fields, opaque, waited);
        // Wakers and drops of payloads are user code, which must not run under the lock.
        drop(epoch);
        produced.map_err(|failed| {
            let bytes = fields.payload_len();
            self.shared().settle_refused(failed.number, bytes);
            let error = self.refresh_if_unknown(failed.error, fields);
            (self.record_failure(error), failed.opaque)
        })
    }

    /// Produces plain records of one topic whose capacity has been acquired. If one is refused, its
    /// capacity is released and its future resolves with the error.
    pub(crate) fn produce_batch(
        &self,
        topic: &TopicName<'_>,
        batch: &[Plain<'_>],
        completers: impl ExactSizeIterator<Item = Completer<C>>,
    ) {
        match self.enter_epoch() {
            Ok(epoch) => {
                let refused = self.shared().produce_batch(topic, batch, completers);
                // Wakers are user code, which must not run under the lock.
                drop(epoch);
                for (index, error, mut completer) in refused {
                    let (plain, number) = (&batch[index], completer.carried().number());
                    self.shared().settle_refused(number, plain.payload_len());
                    let error = self.record_failure(error);
                    self.shared().count_refused(&error);
                    refuse(completer, error, topic, plain);
                }
            }
            Err(error) => {
                for (plain, completer) in batch.iter().zip(completers) {
                    drop(self.shared().capacity.release(1, plain.payload_len()));
                    self.shared().count_refused(&error);
                    refuse(completer, error.clone(), topic, plain);
                }
            }
        }
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn stores its arguments twice: a waiting send is to be small"
    )]
    pub(super) fn wait_for_capacity(
        &self,
        bytes: usize,
        purpose: Purpose,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<Grant, KafkaError>> + Send {
        async move {
            self.shared().core.check_served()?;
            let acquire = self.shared().capacity.acquire(bytes, purpose);
            let acquired = match timeout {
                None => acquire.await,
                Some(timeout) => {
                    let limited = Timer::new(self.runtime(), timeout)?.limit(acquire);
                    // Boxed, because a timer is large and few calls need one.
                    let acquired = Box::pin(limited).await;
                    acquired.map_err(|elapsed| {
                        let full = KafkaError::no_capacity(timeout);
                        let full = full.caused_by(self.shared().broker_failure());
                        elapsed.explain(self.shared(), full)
                    })?
                }
            };
            acquired.map_err(|none| self.shared().no_capacity(none))
        }
    }

    fn try_produce<'a, K: DeliveryKind<C::DeliveryOpaque>>(
        &self,
        mut record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<K::Handle, EnqueueError<'a, C::DeliveryOpaque>> {
        self.intercept(&mut record);
        let admitted = self.check_record(&record.fields).and_then(|bytes| {
            self.try_acquire(bytes).map(drop).or_else(|none| {
                topic_name::check_name(record.fields.topic.as_str())?;
                Err(self.shared().no_capacity(none))
            })
        });
        if let Err(error) = admitted {
            let error = self.record_failure(error);
            self.shared().count_refused(&error);
            return Err(EnqueueError::new(error, record));
        }
        self.produce::<K, _>(record, 0, EnqueueError::new)
            .inspect_err(|error| self.shared().count_refused(error.error()))
    }

    /// Lets the context change the record. Does nothing if it has done so before.
    #[inline]
    pub(crate) fn intercept(&self, record: &mut ProducerRecord<'_, C::DeliveryOpaque>) {
        self.intercept_fields(&mut record.fields, &mut record.opaque);
    }

    #[inline]
    fn intercept_fields(&self, fields: &mut Fields<'_>, opaque: &mut C::DeliveryOpaque) {
        let shared = self.shared();
        shared.core.intercept(&*shared.context, fields, opaque);
    }

    /// Checks everything that capacity does not depend on, except the topic's name, and returns the
    /// payload's length. The name is checked before a wait, or when the topic's handle is created.
    #[inline]
    fn check_record(&self, fields: &Fields<'_>) -> Result<usize, KafkaError> {
        fields.check()?;
        self.shared().core.check_fatal()?;
        let bytes = fields.payload_len();
        self.shared().capacity.check_payload(bytes)?;
        Ok(bytes)
    }

    /// Acquires capacity if there is some and nobody waits.
    #[inline]
    pub(super) fn try_acquire(&self, bytes: usize) -> Result<Grant, CapacityError> {
        self.shared().capacity.try_acquire(bytes)
    }

    /// Waits for capacity, then takes the record and enqueues it. If the record is refused, its
    /// future resolves with the error. The waiter is kept as in
    /// [`poll_reserve`](Self::poll_reserve).
    ///
    /// # Panics
    ///
    /// Panics if `record` is `None`.
    pub(crate) fn poll_enqueue(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Option<ProducerRecord<'_, C::DeliveryOpaque>>,
    ) -> Poll<DeliveryFuture<C::DeliveryOpaque>> {
        let Some(waiting) = record else {
            panic!("there is a record to enqueue");
        };
        self.intercept(waiting);
        let admitted = match self.check_record(&waiting.fields) {
            Ok(bytes) => ready!(self.poll_capacity(cx, bytes, Purpose::Produce)).map(drop),
            Err(error) => {
                // It may already wait: a fatal error can come in the meantime.
                self.stop_waiting();
                Err(error)
            }
        };
        let record = record.take().expect("it was there");
        Poll::Ready(match admitted {
            Ok(()) => self.produce_or_fail(record),
            Err(error) => self.refuse(error, record),
        })
    }

    /// Enqueues a record even if there is no capacity. If it is refused for another reason, its
    /// future resolves with the error.
    #[inline]
    pub(crate) fn enqueue_unchecked(
        &self,
        mut record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.intercept(&mut record);
        match self.check_record(&record.fields) {
            Ok(bytes) => {
                self.shared().capacity.acquire_unchecked(bytes);
                self.produce_or_fail(record)
            }
            Err(error) => self.refuse(error, record),
        }
    }

    /// Produces a record whose capacity has been acquired. If it is refused, its future resolves
    /// with the error.
    #[inline]
    pub(crate) fn produce_or_fail(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.produce::<Tracked, _>(record, 0, SendError::refused)
            .unwrap_or_else(|error| {
                self.shared().count_refused(error.error());
                self.shared().failed(error)
            })
    }

    /// Returns the future of a record that is refused before it is produced.
    #[cold]
    pub(super) fn refuse(
        &self,
        error: KafkaError,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        let error = self.record_failure(error);
        self.shared().count_refused(&error);
        self.shared().failed(SendError::refused(error, record))
    }
}

/// Returns the tenths of a second since its first call. An `Instant` would enlarge each waiting
/// send.
fn tenths() -> u32 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let tenths = FIRST.get_or_init(Instant::now).elapsed().as_millis() / 100;
    u32::try_from(tenths).unwrap_or(u32::MAX)
}
