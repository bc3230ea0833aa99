//! A send: an enqueue, and then the delivery.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::completion::DeliveryFuture;
use crate::delivery::Delivery;
use crate::error::SendError;

pin_project! {
    /// The two futures one after the other, in the same place. An `async` block would keep room for
    /// the record three times: what waits by the thousand should be small.
    #[project = Project]
    pub(crate) enum Sending<F, D> {
        Enqueue { #[pin] enqueue: F },
        Delivery { delivery: DeliveryFuture<D> },
    }
}

impl<F, D> Sending<F, D> {
    pub(crate) fn new(enqueue: F) -> Self {
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
