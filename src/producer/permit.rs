//! Room that was taken in advance.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::completion::DeliveryFuture;
use crate::context::{DefaultProducerContext, ProducerContext};
use crate::coop;
use crate::driver::Shared;
use crate::error::KafkaError;
use crate::producer::Producer;
use crate::record::ProducerRecord;
use crate::room::NoRoom;

/// Room for one record, of [`Producer::reserve`], [`Producer::reserve_bytes`] or
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

impl<'p, C: ProducerContext> Permit<'p, C> {
    /// Of room that has been taken, with so many bytes if any were asked for.
    pub(crate) fn new(producer: &'p Producer<C>, bytes: Option<usize>) -> Self {
        let reservation = Reservation::new(producer, bytes.unwrap_or(0), bytes);
        Self { reservation }
    }

    /// Of room that has been taken with so many bytes; the record may have more, or less.
    pub(crate) fn guessed(producer: &'p Producer<C>, bytes: usize) -> Self {
        let reservation = Reservation::new(producer, bytes, None);
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
    pub(crate) fn new(producer: Producer<C>) -> Self {
        let reservation = Reservation::new(producer, 0, None);
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

/// Room that has been taken for one message, to be used or given back. `P` is the producer, owned
/// or borrowed.
struct Reservation<P: Borrow<Producer<C>>, C: ProducerContext> {
    producer: P,
    /// Payload bytes that were taken with it; what the payload differs by is charged at its use.
    bytes: usize,
    /// What the payload must not be larger than.
    limit: Option<usize>,
    is_used: bool,
    context: PhantomData<fn() -> C>,
}

impl<P: Borrow<Producer<C>>, C: ProducerContext> Reservation<P, C> {
    fn new(producer: P, bytes: usize, limit: Option<usize>) -> Self {
        Self {
            producer,
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
        let room = &producer.shared().room;
        let payload = record.fields.payload_len();
        let checked = record.fields.check().and_then(|()| match self.limit {
            Some(limit) if payload > limit => Err(KafkaError::record(
                "payload",
                "is larger than what was reserved",
            )),
            _ => room.check_bytes(payload),
        });
        if let Err(error) = checked {
            return producer.failed(producer.noted(error), record);
        }
        room.recharge(self.bytes, payload);
        self.is_used = true;
        producer.produce_or_fail(record)
    }
}

impl<P: Borrow<Producer<C>>, C: ProducerContext> Drop for Reservation<P, C> {
    fn drop(&mut self) {
        if !self.is_used {
            let room = &self.producer.borrow().shared().room;
            room.give_back(1, self.bytes);
        }
    }
}

/// A place in the line for room that a handle keeps between calls of
/// [`Producer::poll_reserve`](crate::Producer::poll_reserve), or while it is to enqueue a record.
pub(crate) struct Place<C: ProducerContext> {
    shared: Arc<Shared<C>>,
    bytes: usize,
    key: Option<usize>,
}

impl<C: ProducerContext> Place<C> {
    /// Room for a message with so many bytes of payload, waited for at `place`.
    #[inline]
    pub(crate) fn poll(
        place: &mut Option<Self>,
        shared: &Arc<Shared<C>>,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), KafkaError>> {
        if place.is_none() && coop::may_enqueue() && shared.room.try_acquire(bytes).is_ok() {
            return Poll::Ready(Ok(()));
        }
        Self::wait(place, shared, bytes, cx)
    }

    /// The same where there is no room, or others should have their turn.
    #[cold]
    fn wait(
        place: &mut Option<Self>,
        shared: &Arc<Shared<C>>,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), KafkaError>> {
        let acquired = match place {
            Some(Self { bytes, key, .. }) => ready!(shared.room.poll_acquire(*bytes, key, cx)),
            None => {
                let mut key = None;
                match shared.room.poll_acquire(bytes, &mut key, cx) {
                    Poll::Ready(acquired) => acquired,
                    Poll::Pending => {
                        let shared = Arc::clone(shared);
                        *place = key.is_some().then_some(Self { shared, bytes, key });
                        return Poll::Pending;
                    }
                }
            }
        };
        *place = None;
        Poll::Ready(acquired.map_err(KafkaError::from))
    }
}

impl<C: ProducerContext> Drop for Place<C> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.room.cancel(self.bytes, key);
        }
    }
}

impl From<NoRoom> for KafkaError {
    fn from(none: NoRoom) -> Self {
        match none {
            NoRoom::Full => KafkaError::queue_full(),
            NoRoom::Closed => KafkaError::closed(),
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
