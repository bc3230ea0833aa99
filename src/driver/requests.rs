//! Admin requests that wait for their answers, which come through the queue.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::oneshot;
use tokio::task::coop::unconstrained;

use crate::error::KafkaError;
use crate::ffi::Description;
use crate::sync::{catch_panic, lock};

pub(crate) type Answered = Result<Description, KafkaError>;

/// The requests of a producer that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: Mutex<Waiting>,
    /// The broker to ask, after the controller did not answer.
    pub(super) broker: Mutex<Option<i32>>,
}

#[derive(Debug, Default)]
struct Waiting {
    last_ticket: usize,
    by_ticket: HashMap<usize, oneshot::Sender<Answered>>,
}

/// A request that waits for its answer. Dropping it stops the wait.
#[derive(Debug)]
pub(super) struct Request<'r> {
    requests: &'r Requests,
    pub(super) ticket: usize,
    answer: oneshot::Receiver<Answered>,
}

impl Requests {
    pub(super) fn begin(&self) -> Request<'_> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        waiting.last_ticket += 1;
        let ticket = waiting.last_ticket;
        waiting.by_ticket.insert(ticket, sender);
        Request {
            requests: self,
            ticket,
            answer,
        }
    }

    /// Passes an answer to the request with that ticket, if it still waits.
    pub(super) fn answer(&self, ticket: usize, answer: Answered) {
        let sender = lock(&self.waiting).by_ticket.remove(&ticket);
        if let Some(sender) = sender {
            // It calls a waker.
            let _ = catch_panic(|| sender.send(answer));
        }
    }

    /// Fails all requests that wait, because the producer is closed.
    pub(super) fn close(&self) {
        let left = std::mem::take(&mut lock(&self.waiting).by_ticket);
        for sender in left.into_values() {
            let _ = catch_panic(|| drop(sender));
        }
    }
}

impl Request<'_> {
    /// Resolves with the answer, or with `None` if the producer is closed before it comes.
    pub(super) async fn answered(mut self) -> Option<Answered> {
        unconstrained(&mut self.answer).await.ok()
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        // The sender is dropped under the lock, where it must not call a waker.
        self.answer.close();
        lock(&self.requests.waiting).by_ticket.remove(&self.ticket);
    }
}
