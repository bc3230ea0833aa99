//! Admin requests that wait for their answers, which come through the queue.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::oneshot;

use crate::error::KafkaError;
use crate::ffi::Description;
use crate::sync::{catch_panic, lock};

pub(crate) type Answered = Result<Description, KafkaError>;

/// The requests of a producer that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: Mutex<Waiting>,
    /// Whom to ask, after the controller did not answer.
    pub(super) broker: Mutex<Option<i32>>,
}

#[derive(Debug, Default)]
struct Waiting {
    last_ticket: usize,
    by_ticket: HashMap<usize, oneshot::Sender<Answered>>,
}

/// A request that waits; dropping it ends the waiting.
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

    /// Gives an answer to whoever waits for it, if anybody does.
    pub(super) fn answer(&self, ticket: usize, answer: Answered) {
        let sender = lock(&self.waiting).by_ticket.remove(&ticket);
        if let Some(sender) = sender {
            // It calls a waker.
            let _ = catch_panic(|| sender.send(answer));
        }
    }

    /// No more answers come: those who wait learn that the producer is closed.
    pub(super) fn end(&self) {
        let left = std::mem::take(&mut lock(&self.waiting).by_ticket);
        for sender in left.into_values() {
            let _ = catch_panic(|| drop(sender));
        }
    }
}

impl Request<'_> {
    /// Resolves with the answer, or with `None` if the producer is closed before it comes.
    pub(super) async fn answered(mut self) -> Option<Answered> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        // The sender, which is dropped under the lock, must not call a waker there.
        self.answer.close();
        lock(&self.requests.waiting).by_ticket.remove(&self.ticket);
    }
}
