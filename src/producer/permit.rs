//! Capacity that was taken in advance.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

use super::producer::Producer;
use crate::client::{DefaultProducerContext, ProducerContext};
use crate::driver::{Grant, Purpose};
use crate::error::KafkaError;
use crate::message::{DeliveryFuture, ProducerRecord};

/// Capacity for one record, of [`Producer::reserve`], [`Producer::reserve_bytes`] or
/// [`Producer::try_reserve`]: sending with it neither waits nor fails for lack of room.
///
/// Dropped unused, it gives its room back.
#[must_use = "an unused permit gives its room back"]
pub struct Permit<'p, C: ProducerContext = DefaultProducerContext> {
    reservation: Reservation<&'p Producer<C>, C>,
}

/// A [`Permit`] that keeps its producer open instead of borrowing it, of
/// [`Producer::reserve_owned`] or [`Producer::poll_reserve`].
#[must_use = "an unused permit gives its room back"]
pub struct OwnedPermit<C: ProducerContext = DefaultProducerContext> {
    reservation: Reservation<Producer<C>, C>,
}

impl<C: ProducerContext> Producer<C> {
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
        let grant = self.wait_for_capacity(0, Purpose::Reserve, None).await?;
        Ok(Permit::new(self, grant, None))
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
        self.shared().capacity.check_payload(bytes)?;
        let grant = self
            .wait_for_capacity(bytes, Purpose::Reserve, None)
            .await?;
        Ok(Permit::new(self, grant, Some(bytes)))
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
        let grant = self.wait_for_capacity(0, Purpose::Reserve, None).await?;
        Ok(OwnedPermit::new(self.clone(), grant))
    }

    /// As [`reserve`](Self::reserve), without waiting.
    ///
    /// # Errors
    ///
    /// Where there is no room ([`is_queue_full`](KafkaError::is_queue_full); also while others wait
    /// for some), or the producer is closed.
    pub fn try_reserve(&self) -> Result<Permit<'_, C>, KafkaError> {
        let grant = self.try_acquire(0)?;
        Ok(Permit::new(self, grant, None))
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
        let grant = ready!(self.poll_capacity(cx, 0, Purpose::Reserve))?;
        Poll::Ready(Ok(OwnedPermit::new(self.clone(), grant)))
    }

    /// Gives up the place in the line of [`poll_reserve`](Self::poll_reserve).
    pub fn abort_reserve(&mut self) {
        self.stop_waiting();
    }
}

impl<'p, C: ProducerContext> Permit<'p, C> {
    /// Of room that has been taken, with so many bytes if any were asked for.
    fn new(producer: &'p Producer<C>, grant: Grant, bytes: Option<usize>) -> Self {
        let reservation = Reservation::new(producer, grant, bytes.unwrap_or(0), bytes);
        Self { reservation }
    }

    /// Sends a record. Whatever keeps it from being sent comes through the future: a wrong field, a
    /// payload that is too large, an unknown partition, a fatal error, a producer that is closed.
    ///
    /// Without a reservation of bytes the payload is charged now, and may overshoot
    /// `queue.buffering.max.kbytes`: by one payload a permit.
    pub fn send(
        self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.reservation.send(record)
    }
}

impl<C: ProducerContext> OwnedPermit<C> {
    /// Of room that has been taken.
    fn new(producer: Producer<C>, grant: Grant) -> Self {
        let reservation = Reservation::new(producer, grant, 0, None);
        Self { reservation }
    }

    /// Sends a record; see [`Permit::send`].
    pub fn send(
        self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        self.reservation.send(record)
    }

    /// The producer that the permit is of.
    pub fn producer(&self) -> &Producer<C> {
        &self.reservation.producer
    }
}

/// Capacity that has been taken for one message, to be used or given back. `P` is the producer, owned
/// or borrowed.
struct Reservation<P: Borrow<Producer<C>>, C: ProducerContext> {
    producer: P,
    grant: Grant,
    /// Payload bytes that were taken with it; what the payload differs by is charged at its use.
    bytes: usize,
    /// What the payload must not be larger than.
    limit: Option<usize>,
    is_used: bool,
    context: PhantomData<fn() -> C>,
}

impl<P: Borrow<Producer<C>>, C: ProducerContext> Reservation<P, C> {
    fn new(producer: P, grant: Grant, bytes: usize, limit: Option<usize>) -> Self {
        Self {
            producer,
            grant,
            bytes,
            limit,
            is_used: false,
            context: PhantomData,
        }
    }

    #[inline]
    fn send(
        mut self,
        record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        let producer = self.producer.borrow();
        let capacity = &producer.shared().capacity;
        let payload = record.fields.payload_len();
        let checked = record.fields.check().and_then(|()| match self.limit {
            Some(limit) if payload > limit => Err(KafkaError::record(
                "payload",
                "is larger than what was reserved",
            )),
            _ => capacity.check_payload(payload),
        });
        if let Err(error) = checked {
            return producer.failed(producer.recorded(error), record);
        }
        drop(capacity.use_reserved(self.grant, self.bytes, payload));
        self.is_used = true;
        producer.produce_or_fail(record)
    }
}

impl<P: Borrow<Producer<C>>, C: ProducerContext> Drop for Reservation<P, C> {
    fn drop(&mut self) {
        if !self.is_used {
            let capacity = &self.producer.borrow().shared().capacity;
            drop(capacity.release_unused(self.grant, self.bytes));
        }
    }
}

impl<C: ProducerContext> fmt::Debug for Permit<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("bytes", &self.reservation.bytes)
            .finish_non_exhaustive()
    }
}

impl<C: ProducerContext> fmt::Debug for OwnedPermit<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermit")
            .field("bytes", &self.reservation.bytes)
            .finish_non_exhaustive()
    }
}
