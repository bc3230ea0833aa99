//! Admin requests, whose answers come through the queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::shared::Shared;
use crate::client::ProducerContext;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::{Answer, Ask, Client, Description};
use crate::sync::{catch_panic, lock};

/// How long a broker has for its answer before another is looked for.
const PATIENCE: Duration = Duration::from_millis(500);

type Answered = Result<Description, KafkaError>;

/// The requests of a producer that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: Mutex<Waiting>,
    /// Whom to ask, after the controller did not answer.
    broker: Mutex<Option<i32>>,
}

#[derive(Debug, Default)]
struct Waiting {
    last_ticket: usize,
    by_ticket: HashMap<usize, oneshot::Sender<Answered>>,
}

/// A request that waits; dropping it ends the waiting.
#[derive(Debug)]
struct Request<'r> {
    requests: &'r Requests,
    ticket: usize,
    answer: oneshot::Receiver<Answered>,
}

impl Requests {
    fn begin(&self) -> Request<'_> {
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
    fn answer(&self, ticket: usize, answer: Answered) {
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
    async fn answered(mut self) -> Answered {
        let answer = (&mut self.answer).await;
        answer.unwrap_or_else(|_| Err(KafkaError::closed()))
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        // The sender, which is dropped under the lock, must not call a waker there.
        self.answer.close();
        lock(&self.requests.waiting).by_ticket.remove(&self.ticket);
    }
}

impl<C: ProducerContext> Shared<C> {
    /// Gives an answer from the queue to whoever waits for it.
    pub(super) fn answer(&self, answer: Answer) {
        let result = answer.result.map_err(|(code, text)| {
            let code = code.into();
            if code == RDKafkaErrorCode::OperationTimedOut {
                KafkaError::no_answer()
            } else {
                self.core.error_with_text(code, &text)
            }
        });
        self.requests.answer(answer.ticket, result);
    }

    /// Sends a request, and waits for its answer.
    ///
    /// librdkafka asks the controller, and waits for it if it cannot be reached. (That of a mock
    /// cluster never can: it does not exist.) Any other broker would do, but it takes a blocking call
    /// to find one.
    pub(crate) async fn request(
        self: &Arc<Self>,
        ask: impl Fn(&Arc<Client>, Ask),
        timeout: Duration,
    ) -> Answered {
        let started = Instant::now();
        match self.request_once(&ask, timeout.min(PATIENCE)).await {
            Err(error) if error.is_timed_out() && timeout > PATIENCE => {}
            // It was asked, and went away.
            Err(error) if error.code() == Some(RDKafkaErrorCode::BrokerTransportFailure) => {}
            answer => return answer,
        }
        let left = timeout.saturating_sub(started.elapsed());
        let broker = self.find_broker(left).await?;
        *lock(&self.requests.broker) = broker;
        let left = timeout.saturating_sub(started.elapsed());
        self.request_once(&ask, left).await
    }

    async fn request_once(&self, ask: impl Fn(&Arc<Client>, Ask), timeout: Duration) -> Answered {
        let request = self.requests.begin();
        let broker = *lock(&self.requests.broker);
        let ticket = request.ticket;
        // The request is known first: the client's end comes after that of all that had it.
        match self.core.client().filter(|_| !self.core.is_closed()) {
            Some(client) => ask(
                &client,
                Ask {
                    ticket,
                    timeout,
                    broker,
                },
            ),
            None => return Err(KafkaError::closed()),
        }
        request.answered().await
    }
}
