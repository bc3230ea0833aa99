//! Room that was taken in advance.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::completion::{Awaited, DeliveryFuture};
use crate::context::{DefaultProducerContext, ProducerContext};
use crate::driver::Shared;
use crate::error::{KafkaError, SendError};
use crate::producer::Producer;
use crate::record::ProducerRecord;
use crate::room::NoRoom;

/// Room for one record, of [`Producer::reserve`], [`Producer::reserve_bytes`] or
/// [`Producer::try_reserve`]: sending with it neither waits nor fails for lack of room.
///
/// Dropped unused, it gives its room back.
#[must_use = "an unused permit gives its room back"]
pub struct Permit<'p, C: ProducerContext = DefaultProducerContext> {
    reservation: Reservation<C>,
    producer: PhantomData<&'p Producer<C>>,
}

/// A [`Permit`] that keeps its producer open instead of borrowing it, of
/// [`Producer::reserve_owned`] or [`Producer::poll_reserve`].
#[must_use = "an unused permit gives its room back"]
pub struct OwnedPermit<C: ProducerContext = DefaultProducerContext> {
    reservation: Reservation<C>,
    producer: Producer<C>,
}

impl<C: ProducerContext> Permit<'_, C> {
    pub(crate) fn new(reservation: Reservation<C>) -> Self {
        Self {
            reservation,
            producer: PhantomData,
        }
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
    pub(crate) fn new(reservation: Reservation<C>, producer: Producer<C>) -> Self {
        Self {
            reservation,
            producer,
        }
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
        &self.producer
    }
}

/// Room that has been taken for one message, to be used or given back.
pub(crate) struct Reservation<C: ProducerContext> {
    shared: Arc<Shared<C>>,
    /// Payload bytes that were taken with it; `None`: whatever the payload has is charged at its
    /// use.
    bytes: Option<usize>,
    is_used: bool,
}

impl<C: ProducerContext> Reservation<C> {
    /// Waits for room.
    pub(crate) async fn wait(
        shared: &Arc<Shared<C>>,
        bytes: Option<usize>,
    ) -> Result<Self, KafkaError> {
        shared.room.check_bytes(bytes.unwrap_or(0))?;
        shared
            .room
            .acquire(bytes.unwrap_or(0))
            .await
            .map_err(KafkaError::from)?;
        Ok(Self::taken(shared, bytes))
    }

    /// Takes room where there is some.
    pub(crate) fn now(shared: &Arc<Shared<C>>) -> Result<Self, KafkaError> {
        shared.room.try_acquire(0).map_err(KafkaError::from)?;
        Ok(Self::taken(shared, None))
    }

    fn taken(shared: &Arc<Shared<C>>, bytes: Option<usize>) -> Self {
        Self {
            shared: Arc::clone(shared),
            bytes,
            is_used: false,
        }
    }

    fn send(
        mut self,
        mut record: ProducerRecord<'_, C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        let payload = record.fields.payload_len();
        let checked = record.fields.check().and_then(|()| match self.bytes {
            Some(bytes) if payload > bytes => Err(KafkaError::record(
                "payload",
                "is larger than what was reserved",
            )),
            _ => self.shared.room.check_bytes(payload),
        });
        if let Err(error) = checked {
            return self.shared.failed(SendError::refused(error, record));
        }
        self.is_used = true;
        self.shared.room.recharge(self.bytes.unwrap_or(0), payload);
        let shared = &self.shared;
        match shared.produce::<Awaited>(&mut record.fields, record.opaque) {
            Ok(future) => future,
            Err((error, opaque)) => {
                record.opaque = opaque;
                shared.failed(SendError::refused(error, record))
            }
        }
    }
}

impl<C: ProducerContext> Drop for Reservation<C> {
    fn drop(&mut self) {
        if !self.is_used {
            self.shared.room.give_back(self.bytes.unwrap_or(0));
        }
    }
}

/// A place in the line for room that a handle keeps between calls of
/// [`Producer::poll_reserve`](crate::Producer::poll_reserve).
pub(crate) struct Place<C: ProducerContext> {
    shared: Arc<Shared<C>>,
    key: Option<usize>,
}

impl<C: ProducerContext> Place<C> {
    pub(crate) fn new(shared: &Arc<Shared<C>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            key: None,
        }
    }

    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Reservation<C>, KafkaError>> {
        let Self { shared, key } = self;
        let acquired = shared.room.poll_acquire(0, key, cx);
        acquired.map(|acquired| {
            acquired.map_err(KafkaError::from)?;
            Ok(Reservation::taken(shared, None))
        })
    }
}

impl<C: ProducerContext> Drop for Place<C> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.room.cancel(0, key);
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
