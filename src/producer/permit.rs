//! Permits: capacity for one record, acquired before the record exists.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

use super::access::{Access, FullAccess};
use super::producer::Producer;
use crate::client::{DefaultProducerContext, ProducerContext};
use crate::driver::{Grant, Purpose};
use crate::error::KafkaError;
use crate::message::{DeliveryFuture, ProducerRecord};

/// A reservation of queue capacity for one record.
///
/// Sending with it neither waits nor fails because the queue is full. [`Producer::reserve`],
/// [`Producer::reserve_bytes`] and [`Producer::try_reserve`] return it.
///
/// Dropping an unused permit releases its capacity.
#[must_use = "dropping an unused permit releases its capacity"]
pub struct Permit<'p, C: ProducerContext = DefaultProducerContext, A: Access = FullAccess> {
    reservation: Reservation<&'p Producer<C, A>, C, A>,
}

/// A [`Permit`] that owns a handle of its producer instead of borrowing it.
///
/// It keeps the producer open. [`Producer::reserve_owned`] and [`Producer::poll_reserve`] return
/// it.
///
/// Dropping an unused permit releases its capacity.
#[must_use = "dropping an unused permit releases its capacity"]
pub struct OwnedPermit<C: ProducerContext = DefaultProducerContext, A: Access = FullAccess> {
    reservation: Reservation<Producer<C, A>, C, A>,
}

impl<C: ProducerContext, A: Access> Producer<C, A> {
    /// Waits for capacity for one record and reserves it.
    ///
    /// [`Permit::send`] then enqueues the record without waiting. Use it to decide what to send
    /// after the wait. [`max_block`](crate::ProducerBuilder::max_block) does not limit this wait.
    ///
    /// The permit holds capacity for one message and no payload bytes. The payload is charged at
    /// [`Permit::send`], even if that exceeds `queue.buffering.max.kbytes`. Use
    /// [`reserve_bytes`](Self::reserve_bytes) to reserve payload bytes too.
    ///
    /// In a `select!` inside a loop, pin the future outside of the loop, as below. A new future in
    /// each turn would begin at the end of the wait queue each time.
    ///
    /// ```no_run
    /// # use tokio_rdkafka::{Producer, ProducerRecord};
    /// # use tokio::time::Interval;
    /// # use tokio_rdkafka::BoxError;
    /// # async fn run(producer: Producer, mut ticks: Interval) -> Result<(), BoxError> {
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
    /// # Unused permits
    ///
    /// Unused permits can hold capacity while others wait. If for 1 s of real time nothing is in
    /// flight and nobody acquires or releases capacity, the queue is overbooked once. The amount is
    /// what these permits hold, and one warning is logged. Overbooking never raises a limit above
    /// twice its value. It ends when these permits are used or dropped.
    ///
    /// A waiter can be granted capacity while its task does not poll it. After the same second it
    /// loses its turn, and waits again at its next poll.
    ///
    /// # Errors
    ///
    /// The producer is [closed](KafkaError::is_closed).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the wait queue. Capacity that it was granted
    /// passes to the next waiter.
    pub async fn reserve(&self) -> Result<Permit<'_, C, A>, KafkaError> {
        let grant = self.wait_for_capacity(0, Purpose::Reserve, None).await?;
        Ok(Permit::new(self, grant, None))
    }

    /// Waits for capacity for one record with `bytes` of payload and reserves it.
    ///
    /// If the payload is shorter, [`Permit::send`] releases the rest. If it is longer, the record
    /// is refused and the delivery future resolves with an error. Otherwise it works as
    /// [`reserve`](Self::reserve) does.
    ///
    /// # Errors
    ///
    /// - The producer is [closed](KafkaError::is_closed).
    /// - `bytes` is more than `queue.buffering.max.kbytes` allows.
    ///
    /// # Cancel safety
    ///
    /// Same as [`reserve`](Self::reserve).
    pub async fn reserve_bytes(&self, bytes: usize) -> Result<Permit<'_, C, A>, KafkaError> {
        self.shared().capacity.check_payload(bytes)?;
        let grant = self
            .wait_for_capacity(bytes, Purpose::Reserve, None)
            .await?;
        Ok(Permit::new(self, grant, Some(bytes)))
    }

    /// Waits as [`reserve`](Self::reserve) does, for a permit that borrows nothing.
    ///
    /// The permit can be moved into another task. It keeps the producer open.
    ///
    /// # Errors
    ///
    /// Same as [`reserve`](Self::reserve).
    ///
    /// # Cancel safety
    ///
    /// Same as [`reserve`](Self::reserve).
    pub async fn reserve_owned(&self) -> Result<OwnedPermit<C, A>, KafkaError> {
        let grant = self.wait_for_capacity(0, Purpose::Reserve, None).await?;
        Ok(OwnedPermit::new(self.clone(), grant))
    }

    /// Reserves capacity for one record if there is some now.
    ///
    /// # Errors
    ///
    /// - The [queue is full](KafkaError::is_queue_full), or other senders are already waiting for
    ///   capacity.
    /// - The producer is [closed](KafkaError::is_closed).
    pub fn try_reserve(&self) -> Result<Permit<'_, C, A>, KafkaError> {
        let grant = self.try_acquire(0);
        let grant = grant.map_err(|none| self.shared().no_capacity(none))?;
        Ok(Permit::new(self, grant, None))
    }

    /// Polls for an [`OwnedPermit`]: [`reserve_owned`](Self::reserve_owned) for hand-written
    /// futures.
    ///
    /// While it is pending, this handle keeps the place in the wait queue. The place is given up
    /// when the handle is dropped or [`abort_reserve`](Self::abort_reserve) is called. A clone has
    /// no place.
    ///
    /// # Errors
    ///
    /// Same as [`reserve`](Self::reserve).
    pub fn poll_reserve(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<OwnedPermit<C, A>, KafkaError>> {
        let grant = ready!(self.poll_capacity(cx, 0, Purpose::Reserve))?;
        Poll::Ready(Ok(OwnedPermit::new(self.clone(), grant)))
    }

    /// Gives up the place in the wait queue that a pending [`poll_reserve`](Self::poll_reserve)
    /// took.
    pub fn abort_reserve(&mut self) {
        self.stop_waiting();
    }
}

impl<'p, C: ProducerContext, A: Access> Permit<'p, C, A> {
    /// `bytes` is `None` if no payload bytes were asked for; the payload is unlimited then.
    fn new(producer: &'p Producer<C, A>, grant: Grant, bytes: Option<usize>) -> Self {
        let reservation = Reservation::new(producer, grant, bytes);
        Self { reservation }
    }

    /// Enqueues a record and returns the future of its delivery.
    ///
    /// The call itself does not fail. If the record is refused, the future resolves with the error.
    /// Reasons are an invalid field, a payload that is too large, an unknown partition, a fatal
    /// error, or a closed producer.
    ///
    /// Without reserved bytes the payload is charged now. Each such permit can exceed
    /// `queue.buffering.max.kbytes` by one payload.
    pub fn send(
        self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.reservation.send(record)
    }
}

impl<C: ProducerContext, A: Access> OwnedPermit<C, A> {
    fn new(producer: Producer<C, A>, grant: Grant) -> Self {
        let reservation = Reservation::new(producer, grant, None);
        Self { reservation }
    }

    /// Enqueues a record and returns the future of its delivery; see [`Permit::send`].
    pub fn send(
        self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.reservation.send(record)
    }

    /// Returns the producer whose capacity the permit holds.
    pub fn producer(&self) -> &Producer<C, A> {
        &self.reservation.producer
    }
}

/// Acquired capacity for one message, which is used or released once. `P` is the producer, owned
/// or borrowed.
struct Reservation<P: Borrow<Producer<C, A>>, C: ProducerContext, A: Access> {
    producer: P,
    grant: Grant,
    /// The acquired payload bytes, which also limit the payload; `None` acquires and limits none.
    bytes: Option<usize>,
    is_used: bool,
    handle: PhantomData<fn() -> (C, A)>,
}

impl<P: Borrow<Producer<C, A>>, C: ProducerContext, A: Access> Reservation<P, C, A> {
    fn new(producer: P, grant: Grant, bytes: Option<usize>) -> Self {
        Self {
            producer,
            grant,
            bytes,
            is_used: false,
            handle: PhantomData,
        }
    }

    #[inline]
    fn send(
        mut self,
        mut record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        let producer = self.producer.borrow();
        producer.intercept(&mut record);
        let capacity = &producer.shared().capacity;
        let payload = record.fields.payload_len();
        let checked = record.fields.check().and_then(|()| match self.bytes {
            Some(reserved) if payload > reserved => Err(KafkaError::record(
                "payload",
                &format!("of {payload} bytes is larger than the {reserved} bytes reserved for it"),
            )),
            _ => capacity.check_payload(payload),
        });
        if let Err(error) = checked {
            return producer.refuse(error, record);
        }
        drop(capacity.use_reserved(self.grant, self.bytes.unwrap_or(0), payload));
        self.is_used = true;
        producer.produce_or_fail(record)
    }
}

impl<P: Borrow<Producer<C, A>>, C: ProducerContext, A: Access> Drop for Reservation<P, C, A> {
    fn drop(&mut self) {
        if !self.is_used {
            let capacity = &self.producer.borrow().shared().capacity;
            drop(capacity.release_unused(self.grant, self.bytes.unwrap_or(0)));
        }
    }
}

impl<C: ProducerContext, A: Access> fmt::Debug for Permit<'_, C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("bytes", &self.reservation.bytes.unwrap_or(0))
            .finish_non_exhaustive()
    }
}

impl<C: ProducerContext, A: Access> fmt::Debug for OwnedPermit<C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermit")
            .field("bytes", &self.reservation.bytes.unwrap_or(0))
            .finish_non_exhaustive()
    }
}
