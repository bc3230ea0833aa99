//! Serving the queue: how a delivery report becomes the result of a future.

use std::mem;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::serving::{CHUNK, Chunk, Popped};
use super::shared::{Completer, Shared};
use super::trackers::Outcome;
use crate::client::ProducerContext;
use crate::error::{KafkaError, RDKafkaErrorCode, is_purge};
use crate::ffi::{BorrowedMessage, DeliveryEvent, Event};
use crate::message::{Attachment, Delays, DeliveryError, SendError, ending};
use crate::sync::{drop_foreign, lock, wake};
use crate::values::Amount;

/// The result of one step of serving.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// The number of messages that were served, or 1 for another event.
    Some(usize),
    /// librdkafka requests a token.
    TokenRefresh(Option<String>),
    /// The queue was empty.
    Nothing,
}

impl<C: ProducerContext> Shared<C> {
    /// Serves one event, or a chunk of a large one, waiting up to `timeout` for it.
    pub(super) fn serve(&self, timeout: Duration) -> Served {
        let Some(mut serving) = self.serving.take() else {
            return Served::Nothing;
        };
        let serving = serving.get();
        if serving.event.is_none() {
            let Some(queue) = &serving.queue else {
                return Served::Nothing;
            };
            let purges_called = self.purges_called.load(Ordering::SeqCst);
            match queue.poll(timeout) {
                None => {
                    let completions = &mut serving.chunk.completions;
                    let mut trackers = lock(&self.trackers);
                    trackers.queue_was_empty(purges_called, completions);
                    trackers.counts.end_turn();
                    drop(trackers);
                    completions.resolve_all();
                    return Served::Nothing;
                }
                Some(Event::Delivery(mut event)) => {
                    event.reuse(&mut serving.guards);
                    serving.event = Some(event);
                }
                Some(Event::OAuthTokenRefresh(config)) => return Served::TokenRefresh(config),
                Some(event) => {
                    let is_ordered = event.is_ordered();
                    self.serve_other(event);
                    if is_ordered {
                        let completions = &mut serving.chunk.completions;
                        lock(&self.trackers).event_served(completions);
                        completions.resolve_all();
                    }
                    return Served::Some(1);
                }
            }
        }
        if let Some(event) = &mut serving.event {
            event.begin_chunk();
        }
        while serving.chunk.messages.len() < CHUNK {
            let Some((message, completer)) = serving.event.as_mut().and_then(DeliveryEvent::next)
            else {
                break;
            };
            self.pop(message, completer, &mut serving.chunk);
        }
        let is_last_chunk = serving.chunk.messages.len() < CHUNK;
        let served = self.complete_chunk(&mut serving.chunk, is_last_chunk);
        if is_last_chunk {
            if let Some(event) = serving.event.take() {
                serving.guards = event.finish();
            }
        }
        Served::Some(served)
    }

    /// Serves an event that has neither delivery reports nor a request for a token.
    fn serve_other(&self, event: Event<Completer<C>>) {
        match event {
            Event::Answer(answer) => self.answer(answer),
            event => {
                let error = |code, text: &str| self.core.client_error(code, text);
                let shown = |text: &str| self.core.shown(text);
                self.brokers
                    .record(&event, self.core.delivered(), error, shown);
                #[cfg(feature = "statistics")]
                if let Event::Stats(json) = &event {
                    self.statistics.publish(json);
                }
                self.doubts.record_event(&event, shown);
                self.core.serve_client_event(&*self.context, event);
                self.brokers.notify();
            }
        }
    }

    /// Makes the result of a message, and runs its callback.
    fn pop(
        &self,
        message: BorrowedMessage<'_>,
        mut completer: Completer<C>,
        chunk: &mut Chunk<C::DeliveryOpaque>,
    ) {
        let bytes = message.payload_len();
        chunk.retries += message.retries();
        #[cfg(feature = "metrics")]
        if chunk.messages.is_empty() && self.exports_topics.load(Ordering::Relaxed) {
            message.topic().clone_into(&mut chunk.topic);
        }
        let result = message.into_result();
        let state = completer.carried();
        let number = state.number();
        let opaque = state.take_opaque();
        let mut attached = state.take_attached();
        let mut latency = 0;
        let outcome = match &result {
            Ok(message) => {
                latency = message.latency_micros();
                if completer.is_tracked() {
                    completer.set_result(Ok(message.to_delivery()));
                }
                Outcome::Delivered
            }
            Err(failure) => {
                chunk.failed(failure.code(), bytes);
                let outcome = Outcome::of_failure(failure.code(), self.core.has_fatal_error());
                if !self.fail(failure, &mut completer, attached.as_mut()) {
                    chunk.before_close.count(outcome);
                }
                outcome
            }
        };
        chunk.bytes += bytes;
        chunk.tally.count(outcome);
        chunk.messages.push(Popped {
            number,
            completer,
            outcome,
            latency,
        });
        // Foreign code runs only after the message has an owner.
        if let Some(attachment) = attached.as_mut() {
            attachment.span.finish(|| ending(&result));
        }
        drop(attached);
        self.core.report(&*self.context, &result, opaque);
    }

    /// Makes the result of a failure. Returns false if nobody gets the record: the callback alone
    /// sees it.
    #[cold]
    fn fail(
        &self,
        failure: &DeliveryError<'_>,
        completer: &mut Completer<C>,
        mut attachment: Option<&mut Attachment>,
    ) -> bool {
        let (partition, timestamp) = completer.carried().requested(attachment.as_deref());
        let is_tracked = completer.is_tracked();
        let error = self.failure(failure, partition);
        if let Some(attachment) = &mut attachment {
            attachment.span.set_error(&error);
        }
        self.topic_failures.record(failure.topic(), &error);
        if let Some(epoch) = self.transactions.epoch() {
            epoch.fail(&error);
            if !is_purge(failure.code()) {
                self.doubts.record(&error);
            }
        }
        if !is_tracked {
            let (topic, persistence) = (failure.topic(), failure.persistence());
            self.core.failed_unawaited(topic, persistence, &error);
            if !lock(&self.trackers).is_closing() {
                return false;
            }
        }
        let delays = Delays {
            for_capacity: completer.carried().waited(),
            in_queue: Some(failure.latency()),
        };
        // The opaque is the callback's.
        let mut record = failure.to_record(partition, timestamp);
        if let Some(attachment) = attachment {
            let original = mem::take(&mut attachment.original);
            record.fields.restore_from(original);
        }
        let persistence = failure.persistence();
        if is_tracked {
            let error = SendError::undelivered(error, persistence, delays, record);
            completer.set_result(Err(error));
        } else {
            let error = SendError::undelivered(error, persistence, delays, record);
            lock(&self.trackers).keep_record(error);
        }
        true
    }

    /// The error of a message. If no broker has taken it, the last failure of a broker is its
    /// source.
    fn failure(&self, failure: &DeliveryError<'_>, partition: i32) -> KafkaError {
        let code = failure.code();
        let error = self.core.message_error(code.raw(), partition);
        if error.is_fatal() {
            return error;
        }
        if code.is_batch_verdict() {
            return failure.error();
        }
        if !is_without_answer(code) {
            return error;
        }
        match self.broker_failure() {
            None if code == RDKafkaErrorCode::MessageTimedOut => KafkaError::timed_out_in_queue(),
            cause => error.caused_by(cause),
        }
    }

    /// A future was dropped with the failure of its message, which nobody has seen.
    #[cold]
    pub(crate) fn unseen(&self, failure: SendError<C::DeliveryOpaque>) {
        if self.core.is_forked() {
            // The producer is its parent's, whose threads may have held the locks.
            return drop_foreign(failure);
        }
        let (failure, opaque) = failure.without_opaque();
        drop_foreign(opaque);
        let topic = failure.record().get_topic();
        let persistence = failure.persistence();
        if self
            .core
            .failed_unawaited(topic, persistence, failure.error())
        {
            let unkept = lock(&self.trackers).unseen(failure);
            drop_foreign(unkept);
            // The driver logs it. Once it has ended, nobody else does.
            self.wake();
            if self.report.get().is_some() {
                self.core.log.log_due();
            }
        } else {
            drop_foreign(failure);
        }
    }

    /// Accounts for the chunk, releases its capacity, then resolves its futures, then wakes those
    /// who were admitted.
    fn complete_chunk(&self, chunk: &mut Chunk<C::DeliveryOpaque>, is_last: bool) -> usize {
        let Chunk {
            messages,
            tally,
            before_close,
            bytes,
            failures,
            #[cfg(feature = "metrics")]
            topic,
            retries,
            wakeups,
            completions,
        } = chunk;
        let count = messages.len();
        let tally = mem::take(tally);
        let before_close = mem::take(before_close);
        self.core.count_delivered(tally.delivered);
        let is_closing = {
            let mut trackers = lock(&self.trackers);
            let completed = messages.iter().map(|it| (it.number, it.outcome));
            trackers.account(tally, completed, completions);
            trackers.fell_before_close(before_close, self.core.reports_unawaited());
            let failed: usize = failures.iter().map(|(_, bytes)| bytes).sum();
            let delivered = Amount::new(tally.delivered, (*bytes - failed) as u64);
            let has_failures = !failures.is_empty();
            let latencies = messages
                .iter()
                .filter(|it| !has_failures || it.outcome == Outcome::Delivered)
                .map(|it| it.latency);
            #[cfg(not(feature = "metrics"))]
            let topic = "";
            trackers
                .counts
                .reported(topic, delivered, latencies, failures);
            trackers.counts.retried(mem::take(retries));
            if is_last {
                trackers.event_served(completions);
            }
            self.core.settle(count as u64);
            trackers.is_closing()
        };
        if is_closing {
            messages.iter_mut().for_each(Popped::set_in_close_report);
        }
        self.capacity.release_into(count, mem::take(bytes), wakeups);
        for Popped { completer, .. } in messages.drain(..) {
            if let Some(waker) = completer.complete() {
                wake(waker);
            }
        }
        wakeups.wake_all();
        completions.resolve_all();
        self.core.log.log_due();
        count
    }
}

/// Whether a message with the code failed before a broker answered.
fn is_without_answer(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageTimedOut
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::TimedOutQueue
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::PurgeQueue
            | RDKafkaErrorCode::PurgeInflight
    )
}
