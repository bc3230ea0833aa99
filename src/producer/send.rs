//! Sending and enqueuing records.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time;

use super::producer::Producer;
use crate::client::ProducerContext;
use crate::driver::{CapacityError, Completer, Grant, Purpose, refuse};
use crate::error::KafkaError;
use crate::message::{
    Delivery, DeliveryFuture, DeliveryKind, Detached, EnqueueError, Fields, Plain, ProducerRecord,
    SendError, TopicName, Tracked,
};
use crate::sync::{coop, drop_payloads};
use crate::values::topic_name;

/// What an enqueue comes to.
type Enqueued<C> = Result<
    DeliveryFuture<<C as ProducerContext>::DeliveryOpaque>,
    SendError<<C as ProducerContext>::DeliveryOpaque>,
>;

impl<C: ProducerContext> Producer<C> {
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
        self.wait_and_produce::<Tracked>(record, self.max_block())
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
        self.wait_and_produce::<Tracked>(record, Some(timeout))
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
        self.try_produce::<Tracked>(record)
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
        self.wait_and_produce::<Detached>(record, self.max_block())
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
        self.runtime().block_on(self.enqueue(record))
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn moves its arguments once more: a tenth of a send's instructions"
    )]
    fn wait_and_produce<K: DeliveryKind<C::DeliveryOpaque>>(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<K::Handle, SendError<C::DeliveryOpaque>>> + Send {
        async move {
            let admitted = match self.check(&record.fields) {
                Ok(bytes) if coop::may_enqueue() && self.try_acquire(bytes).is_ok() => Ok(()),
                Ok(bytes) => match topic_name::check_name(record.fields.topic.as_str()) {
                    Ok(()) => self
                        .wait_for_capacity(bytes, Purpose::Produce, timeout)
                        .await
                        .map(drop),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            if let Err(error) = admitted {
                return Err(SendError::refused(self.recorded(error), record));
            }
            self.produce::<K, _>(record, SendError::refused)
        }
    }

    /// Produces a record whose room has been taken.
    ///
    /// # Errors
    ///
    /// What `refused` makes of the record as it came; its room has been given back.
    #[inline]
    fn produce<'a, K: DeliveryKind<C::DeliveryOpaque>, E>(
        &self,
        mut record: ProducerRecord<'a, C::DeliveryOpaque>,
        refused: impl FnOnce(KafkaError, ProducerRecord<'a, C::DeliveryOpaque>) -> E,
    ) -> Result<K::Handle, E> {
        let epoch = match self.enter() {
            Ok(epoch) => epoch,
            Err(error) => {
                drop(
                    self.shared()
                        .capacity
                        .release(1, record.fields.payload_len()),
                );
                return Err(refused(error, record));
            }
        };
        match self
            .shared()
            .produce::<K>(&mut record.fields, record.opaque)
        {
            Ok(handle) => {
                if record.fields.has_bytes() {
                    // The user's code: not under the lock.
                    drop(epoch);
                    drop_payloads(|| drop(record.fields));
                }
                Ok(handle)
            }
            Err((error, opaque)) => {
                record.opaque = opaque;
                Err(refused(self.recorded(error), record))
            }
        }
    }

    /// Produces plain records of one topic whose room has been taken. Where one is refused, its
    /// completer is kept with the error, and its room given back.
    pub(crate) fn produce_batch(
        &self,
        topic: &TopicName<'_>,
        batch: &[Plain<'_>],
        completers: impl ExactSizeIterator<Item = Completer<C>>,
    ) {
        match self.enter() {
            Ok(_epoch) => {
                let recorded = |error| self.recorded(error);
                self.shared()
                    .produce_batch(topic, batch, completers, recorded);
            }
            Err(error) => {
                for (plain, completer) in batch.iter().zip(completers) {
                    drop(self.shared().capacity.release(1, plain.payload_len()));
                    refuse(completer, error.clone(), topic, plain);
                }
            }
        }
    }

    pub(super) async fn wait_for_capacity(
        &self,
        bytes: usize,
        purpose: Purpose,
        timeout: Option<Duration>,
    ) -> Result<Grant, KafkaError> {
        let capacity = &self.shared().capacity;
        let acquired = match timeout {
            None => capacity.acquire(bytes, purpose).await,
            // Boxed, because a timer is large, and few need one.
            Some(timeout) => {
                let acquire = capacity.acquire(bytes, purpose);
                Box::pin(time::timeout(timeout, acquire))
                    .await
                    .map_err(|_| KafkaError::no_capacity(timeout))?
            }
        };
        acquired.map_err(KafkaError::from)
    }

    fn try_produce<'a, K: DeliveryKind<C::DeliveryOpaque>>(
        &self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<K::Handle, EnqueueError<'a, C::DeliveryOpaque>> {
        let admitted = self.check(&record.fields).and_then(|bytes| {
            self.try_acquire(bytes).map(drop).or_else(|none| {
                topic_name::check_name(record.fields.topic.as_str())?;
                Err(none.into())
            })
        });
        if let Err(error) = admitted {
            return Err(EnqueueError::new(self.recorded(error), record));
        }
        self.produce::<K, _>(record, EnqueueError::new)
    }

    /// What need not wait for room to fail, but for the topic's name: that is checked before a wait,
    /// and otherwise where its handle is made. The payload's length.
    #[inline]
    fn check(&self, fields: &Fields<'_>) -> Result<usize, KafkaError> {
        fields.check()?;
        self.shared().core.check_fatal()?;
        let bytes = fields.payload_len();
        self.shared().capacity.check_payload(bytes)?;
        Ok(bytes)
    }

    /// Takes room, where there is some and nobody waits.
    #[inline]
    pub(super) fn try_acquire(&self, bytes: usize) -> Result<Grant, CapacityError> {
        self.shared().capacity.try_acquire(bytes)
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
            Ok(bytes) => ready!(self.poll_capacity(cx, bytes, Purpose::Produce)).map(drop),
            Err(error) => {
                // It may have waited until the producer could not go on.
                self.stop_waiting();
                Err(error)
            }
        };
        let record = record.take().expect("it was there");
        Poll::Ready(match admitted {
            Ok(()) => self.produce_or_fail(record),
            Err(error) => self.failed(self.recorded(error), record),
        })
    }

    /// Enqueues a record without asking whether there is capacity; what else keeps it from being sent
    /// comes through the future.
    #[inline]
    pub(crate) fn enqueue_unchecked(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        match self.check(&record.fields) {
            Ok(bytes) => {
                self.shared().capacity.acquire_unchecked(bytes);
                self.produce_or_fail(record)
            }
            Err(error) => self.failed(self.recorded(error), record),
        }
    }

    /// Produces a record whose room has been taken; what keeps it from that comes through the future.
    #[inline]
    pub(crate) fn produce_or_fail(
        &self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.produce::<Tracked, _>(record, SendError::refused)
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
}

pin_project! {
    /// The two futures one after the other, in the same place. An `async` block would keep room for
    /// the record three times: what waits by the thousand should be small.
    #[project = Project]
    enum Sending<F, D> {
        Enqueue { #[pin] enqueue: F },
        Delivery { delivery: DeliveryFuture<D> },
    }
}

impl<F, D> Sending<F, D> {
    fn new(enqueue: F) -> Self {
        Self::Enqueue { enqueue }
    }
}

impl<F, D> Future for Sending<F, D>
where
    F: Future<Output = Result<DeliveryFuture<D>, SendError<D>>>,
{
    type Output = Result<Delivery, SendError<D>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                Project::Enqueue { enqueue } => {
                    let delivery = ready!(enqueue.poll(cx))?;
                    self.set(Self::Delivery { delivery });
                }
                Project::Delivery { delivery } => return Pin::new(delivery).poll(cx),
            }
        }
    }
}

impl<F, D> fmt::Debug for Sending<F, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enqueue { .. } => "Sending::Enqueue",
            Self::Delivery { .. } => "Sending::Delivery",
        })
    }
}
