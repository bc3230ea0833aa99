//! The future of a delivery, and the cell that resolves it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use crate::coop;
use crate::delivery::Delivery;
use crate::error::SendError;
use crate::sync::{Arc, Mutex, lock, wake};

/// What a message carries through librdkafka: what its report does not have, and where its
/// future waits. One allocation, shared by the two.
pub(crate) struct Cell<D> {
    /// The number that the core issued.
    pub(crate) sequence: u64,
    /// As the caller asked for it; −1 for none.
    pub(crate) partition: i32,
    /// As the caller gave it.
    pub(crate) timestamp: Option<i64>,
    state: Mutex<State<D>>,
}

struct State<D> {
    /// Until the delivery callback takes it.
    opaque: Option<D>,
    stage: Stage<D>,
}

enum Stage<D> {
    Waiting(Option<Waker>),
    Done(Result<Delivery, SendError<D>>),
    /// The future has returned it.
    Taken,
}

impl<D> Cell<D> {
    pub(crate) fn new(
        sequence: u64,
        partition: i32,
        timestamp: Option<i64>,
        opaque: D,
    ) -> Arc<Self> {
        let state = State {
            opaque: Some(opaque),
            stage: Stage::Waiting(None),
        };
        Arc::new(Self {
            sequence,
            partition,
            timestamp,
            state: Mutex::new(state),
        })
    }

    /// Takes the opaque, which is there once.
    pub(crate) fn take_opaque(&self) -> D {
        lock(&self.state)
            .opaque
            .take()
            .expect("a message has one report, or was refused")
    }

    /// Whether somebody still waits for the result. Once false it stays so.
    pub(crate) fn is_awaited(this: &Arc<Self>) -> bool {
        // The other references are the future's, which cannot be cloned, and this one.
        Arc::strong_count(this) > 1
    }

    /// Resolves the future.
    pub(crate) fn complete(&self, result: Result<Delivery, SendError<D>>) {
        let before = std::mem::replace(&mut lock(&self.state).stage, Stage::Done(result));
        if let Stage::Waiting(Some(waker)) = before {
            wake(waker);
        }
    }
}

impl<D> fmt::Debug for Cell<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// Resolves when the message has been delivered or has failed.
///
/// Made by [`Producer::enqueue`](crate::Producer::enqueue): at that point the record's place in
/// the order is fixed. It does not keep the producer alive.
///
/// # Errors
///
/// [`SendError`], with the record and what is known of its persistence, where it was not delivered
/// within `message.timeout.ms`, was purged, or the broker refused it.
///
/// # Cancel safety
///
/// Dropping it does not cancel the message: it is delivered all the same, and the context's
/// delivery callback runs.
///
/// # Panics
///
/// When it is polled again after it has resolved.
#[must_use = "the message is on its way, but whether it arrives only the future tells"]
pub struct DeliveryFuture<D = ()> {
    cell: Arc<Cell<D>>,
}

impl<D> DeliveryFuture<D> {
    pub(crate) fn new(cell: Arc<Cell<D>>) -> Self {
        Self { cell }
    }

    /// Of a record that never entered the queue.
    pub(crate) fn failed(error: SendError<D>) -> Self {
        let state = State {
            opaque: None,
            stage: Stage::Done(Err(error)),
        };
        let cell = Cell {
            sequence: 0,
            partition: 0,
            timestamp: None,
            state: Mutex::new(state),
        };
        Self {
            cell: Arc::new(cell),
        }
    }
}

impl<D> Future for DeliveryFuture<D> {
    type Output = Result<Delivery, SendError<D>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.cell.state);
        match &mut state.stage {
            Stage::Waiting(Some(waker)) if waker.will_wake(cx.waker()) => Poll::Pending,
            Stage::Waiting(waker) => {
                let before = waker.replace(cx.waker().clone());
                // Dropping a waker may run foreign code: not under the lock.
                drop(state);
                drop(before);
                Poll::Pending
            }
            Stage::Done(_) => {
                ready!(coop::poll_proceed(cx));
                match std::mem::replace(&mut state.stage, Stage::Taken) {
                    Stage::Done(result) => Poll::Ready(result),
                    _ => unreachable!("the stage was Done, and the lock is held"),
                }
            }
            Stage::Taken => panic!("DeliveryFuture polled after it had resolved"),
        }
    }
}

impl<D> fmt::Debug for DeliveryFuture<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match lock(&self.cell.state).stage {
            Stage::Waiting(_) => "waiting",
            Stage::Done(_) => "done",
            Stage::Taken => "taken",
        };
        f.debug_struct("DeliveryFuture")
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
