//! The futures of an enqueue and of a send.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::access::Access;
use super::producer::Producer;
use crate::client::ProducerContext;
use crate::error::KafkaError;
use crate::message::{Delivery, DeliveryFuture, DeliveryKind, Fields, ProducerRecord, SendError};

/// Why a record was not enqueued at once.
pub(super) enum NotNow {
    /// There is no capacity for so many bytes of payload, or others have their turn.
    Full(usize),
    /// Its capacity has been released.
    Refused(KafkaError),
}

pin_project! {
    /// Enqueues a record: at once if there is capacity, and otherwise in a second future that
    /// `go_on` creates.
    ///
    /// It is not an `async` block, because that would move the record out of its state first, which
    /// takes a tenth of the instructions of an enqueue.
    #[project = EnqueueProject]
    pub(super) enum EnqueueFuture<'p, 'r, C: ProducerContext, A: Access, K, G, F> {
        Begin {
            producer: &'p Producer<C, A>,
            fields: Option<Fields<'r>>,
            opaque: Option<C::DeliveryOpaque>,
            go_on: Option<G>,
            kind: PhantomData<fn() -> K>,
        },
        Wait { #[pin] future: F },
    }
}

impl<'p, 'r, C: ProducerContext, A: Access, K, G, F> EnqueueFuture<'p, 'r, C, A, K, G, F> {
    #[inline]
    pub(super) fn new(
        producer: &'p Producer<C, A>,
        record: ProducerRecord<'r, C::DeliveryOpaque>,
        _kind: PhantomData<K>,
        go_on: G,
    ) -> Self {
        Self::Begin {
            producer,
            fields: Some(record.fields),
            opaque: Some(record.opaque),
            go_on: Some(go_on),
            kind: PhantomData,
        }
    }
}

impl<'p, 'r, C, A, K, G, F> Future for EnqueueFuture<'p, 'r, C, A, K, G, F>
where
    C: ProducerContext,
    A: Access,
    K: DeliveryKind<C::DeliveryOpaque>,
    G: FnOnce(NotNow, ProducerRecord<'r, C::DeliveryOpaque>) -> F,
    F: Future<Output = Result<K::Handle, SendError<C::DeliveryOpaque>>>,
{
    type Output = F::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = match self.as_mut().project() {
            EnqueueProject::Wait { future } => return future.poll(cx),
            EnqueueProject::Begin {
                producer,
                fields,
                opaque,
                go_on,
                ..
            } => {
                let Some(record) = fields else {
                    panic!("it was polled after it had resolved");
                };
                let not_now = match producer.enqueue_now::<K>(record, opaque) {
                    Ok(handle) => {
                        Fields::drop_produced_in(fields, || producer.client_name());
                        return Poll::Ready(Ok(handle));
                    }
                    Err(not_now) => not_now,
                };
                let (Some(fields), Some(opaque), Some(go_on)) =
                    (fields.take(), opaque.take(), go_on.take())
                else {
                    unreachable!("the record was refused");
                };
                go_on(not_now, ProducerRecord { fields, opaque })
            }
        };
        self.set(Self::Wait { future });
        self.poll_again(cx)
    }
}

impl<'p, 'r, C, A, K, G, F> EnqueueFuture<'p, 'r, C, A, K, G, F>
where
    C: ProducerContext,
    A: Access,
    F: Future,
{
    #[cold]
    fn poll_again(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            EnqueueProject::Wait { future } => future.poll(cx),
            EnqueueProject::Begin { .. } => unreachable!("it waits"),
        }
    }
}

impl<C: ProducerContext, A: Access, K, G, F> fmt::Debug for EnqueueFuture<'_, '_, C, A, K, G, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begin { .. } => "EnqueueFuture::Begin",
            Self::Wait { .. } => "EnqueueFuture::Wait",
        })
    }
}

pin_project! {
    /// An enqueue, then its delivery, in the same memory. An `async` block would store the record
    /// three times; thousands of these can wait at once.
    #[project = SendProject]
    pub(super) enum SendFuture<F, D> {
        Enqueue { #[pin] enqueue: F },
        Delivery { delivery: DeliveryFuture<D> },
    }
}

impl<F, D> SendFuture<F, D> {
    pub(super) fn new(enqueue: F) -> Self {
        Self::Enqueue { enqueue }
    }
}

impl<F, D> Future for SendFuture<F, D>
where
    F: Future<Output = Result<DeliveryFuture<D>, SendError<D>>>,
{
    type Output = Result<Delivery, SendError<D>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                SendProject::Enqueue { enqueue } => {
                    let delivery = ready!(enqueue.poll(cx))?;
                    self.set(Self::Delivery { delivery });
                }
                SendProject::Delivery { delivery } => return Pin::new(delivery).poll(cx),
            }
        }
    }
}

impl<F, D> fmt::Debug for SendFuture<F, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enqueue { .. } => "SendFuture::Enqueue",
            Self::Delivery { .. } => "SendFuture::Delivery",
        })
    }
}
