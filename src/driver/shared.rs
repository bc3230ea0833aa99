//! The driver: one tokio task that serves the queue, and what it shares with the producer's handles.

mod blocking;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::completion::{Awaited, DeliveryFuture, DeliveryPromise, DeliveryPromises, Parcel, Told};
use crate::config::QueueLimits;
use crate::context::ProducerContext;
use crate::core::Core;
use crate::delivery::DeliveryError;
use crate::error::{KafkaError, SendError};
use crate::ffi::{BorrowedMessage, DeliveryEvent, Event, Queue, catch_panic};
use crate::flush::{Closing, Ending, Finished, Watches};
use crate::lane;
use crate::metadata::Requests;
use crate::ready::Ready;
use crate::record::{Fields, PARTITION_UNASSIGNED, Plain, ProducerRecord, TopicName};
use crate::refresh::Refresh;
use crate::report::CloseReport;
use crate::room::Room;
use crate::stall::Stall;
use crate::sync::{lock, wake};
use crate::transactions::Transactions;

pub(crate) use blocking::Watching;

/// How many messages are taken from an event before their futures resolve: one event can have
/// hundreds of thousands (a purge, a time-out), which must neither delay the first nor hold copies
/// of them all.
const CHUNK: usize = 512;

/// How many messages or other events the driver serves before it leaves the worker to others.
const MESSAGES_PER_POLL: usize = 2048;

type MessagePromise<C> = DeliveryPromise<<C as ProducerContext>::DeliveryOpaque>;

/// What the handles of one producer and its driver share.
pub(crate) struct Shared<C: ProducerContext> {
    pub(crate) core: Core<MessagePromise<C>>,
    promises: DeliveryPromises<C::DeliveryOpaque>,
    pub(crate) context: Arc<C>,
    pub(crate) room: Room,
    watches: Mutex<Watches>,
    /// How many purges have been made: looked at before the queue is, so that one that comes
    /// between the two is not taken for served.
    purges_made: AtomicU64,
    serving: Mutex<Serving<C::DeliveryOpaque>>,
    /// Wakes the driver: something is in the queue, or there may be an end.
    wake: Arc<Notify>,
    pub(crate) transactions: Transactions,
    pub(crate) ready: Ready,
    pub(crate) requests: Requests,
    /// The report of the end, see [`ended`](Self::ended).
    end: watch::Sender<Option<CloseReport>>,
}

/// What is being served. It is shared, not the driver's own, so that an event that an aborted
/// driver leaves behind is finished by the teardown.
struct Serving<D: Send + Sync + 'static> {
    // Declared, and so dropped, before the queue.
    event: Option<DeliveryEvent<DeliveryPromise<D>>>,
    queue: Option<Queue>,
    batch: Vec<Ended<D>>,
    /// Payload bytes of the batch.
    bytes: usize,
    wakers: Vec<Waker>,
    finished: Vec<Finished>,
}

/// A message taken from an event, whose callback has run.
struct Ended<D> {
    sequence: u64,
    promise: DeliveryPromise<D>,
    ending: Ending,
}

/// Has the future of a record resolve that never entered the queue.
#[cold]
pub(crate) fn refuse<D: Send + 'static>(
    mut promise: DeliveryPromise<D>,
    error: KafkaError,
    topic: &TopicName<'_>,
    plain: &Plain<'_>,
) {
    let opaque = promise.cargo().take_opaque();
    let record = ProducerRecord::with_opaque_to(topic.clone(), opaque)
        .key(plain.key.clone())
        .payload(plain.payload.clone());
    promise.put(Err(SendError::refused(error, record)));
    promise.keep().into_iter().for_each(wake);
}

/// What one step of serving found.
#[derive(Debug, PartialEq, Eq)]
enum Served {
    /// So many messages, or something else.
    Some(usize),
    /// A token is wanted.
    TokenRefresh(Option<String>),
    /// The queue was empty.
    Nothing,
}

impl<C: ProducerContext> Shared<C> {
    pub(crate) fn new(
        core: Core<MessagePromise<C>>,
        mut queue: Queue,
        context: Arc<C>,
        limits: QueueLimits,
        transactions: Transactions,
    ) -> Arc<Self> {
        let wake = Arc::new(Notify::new());
        let waker = Arc::clone(&wake);
        // `Notify` keeps a permit where nobody waits yet, so no wake-up is lost; its lock is not
        // held across any call of ours.
        queue.wake_with(move || waker.notify_one());
        let line_formed = Arc::clone(&wake);
        Arc::new(Self {
            core,
            promises: DeliveryPromises::new(),
            context,
            room: Room::new(limits, move || line_formed.notify_one()),
            watches: Mutex::default(),
            purges_made: AtomicU64::new(0),
            serving: Mutex::new(Serving {
                event: None,
                queue: Some(queue),
                batch: Vec::with_capacity(CHUNK),
                bytes: 0,
                wakers: Vec::new(),
                finished: Vec::new(),
            }),
            wake,
            transactions,
            ready: Ready::default(),
            requests: Requests::default(),
            end: watch::Sender::new(None),
        })
    }

    /// Produces a record whose room has been taken.
    ///
    /// # Errors
    ///
    /// Why it was refused, and the opaque; the fields are as they were, and the room has been given
    /// back.
    #[inline]
    pub(crate) fn produce<T: Told<C::DeliveryOpaque>>(
        &self,
        fields: &mut Fields<'_>,
        opaque: C::DeliveryOpaque,
    ) -> Result<T::Handle, (KafkaError, C::DeliveryOpaque)> {
        let sequence = self.core.issue(1);
        let parcel = Parcel::new(sequence, fields.partition, fields.timestamp, Some(opaque));
        // The handle is made before the call: the report may be served before it returns.
        let (promise, handle) = T::promise(&self.promises, parcel);
        match self.core.produce(fields, promise) {
            Ok(()) => Ok(handle),
            Err((error, mut promise)) => {
                self.refused(sequence, fields.payload_len());
                Err((error, promise.cargo().take_opaque()))
            }
        }
    }

    /// The promise of a record that is to be produced in a run, and its future.
    #[inline]
    pub(crate) fn promise(
        &self,
        opaque: C::DeliveryOpaque,
    ) -> (MessagePromise<C>, DeliveryFuture<C::DeliveryOpaque>) {
        // It gets its number with the run.
        let parcel = Parcel::new(0, PARTITION_UNASSIGNED, None, Some(opaque));
        Awaited::promise(&self.promises, parcel)
    }

    /// Produces records of one topic whose room has been taken. Where one is refused its room is
    /// given back, and its promise kept with what `noted` returns.
    pub(crate) fn produce_run(
        &self,
        topic: &TopicName<'_>,
        run: &[Plain<'_>],
        promises: impl ExactSizeIterator<Item = MessagePromise<C>>,
        noted: impl Fn(KafkaError) -> KafkaError,
    ) {
        let mut sequence = self.core.issue(promises.len() as u64);
        let numbered = promises.map(|mut promise| {
            promise.cargo().sequence = sequence;
            sequence += 1;
            promise
        });
        self.core
            .produce_run(topic, run, numbered, |plain, error, mut promise| {
                self.refused(promise.cargo().sequence, plain.payload_len());
                refuse(promise, noted(error), topic, plain);
            });
    }

    /// The future of a record that never entered the queue.
    pub(crate) fn failed(
        &self,
        error: SendError<C::DeliveryOpaque>,
    ) -> DeliveryFuture<C::DeliveryOpaque> {
        let parcel = Parcel::new(0, 0, None, None);
        let (mut promise, future) = Awaited::promise(&self.promises, parcel);
        promise.put(Err(error));
        promise.keep();
        future
    }

    /// Accounts for a message that librdkafka did not take.
    #[cold]
    fn refused(&self, sequence: u64, bytes: usize) {
        let (mut wakers, mut finished) = (Vec::new(), Vec::new());
        {
            let mut watches = lock(&self.watches);
            watches.account(std::iter::once((sequence, Ending::Refused)), &mut finished);
            self.core.settle(1);
        }
        self.room.release(1, bytes, &mut wakers);
        wakers.into_iter().for_each(wake);
        tell(&mut finished);
        // It may have been the last one in flight, which the end waits for, and lending.
        self.wake.notify_one();
    }

    /// Serves one event, or a chunk of a large one, waiting up to `timeout` for it.
    fn serve(&self, timeout: Duration) -> Served {
        let mut serving = lock(&self.serving);
        let serving = &mut *serving;
        if serving.event.is_none() {
            let Some(queue) = &serving.queue else {
                return Served::Nothing;
            };
            let purges_made = self.purges_made.load(Ordering::SeqCst);
            match queue.poll(timeout) {
                None => {
                    lock(&self.watches).queue_was_empty(purges_made, &mut serving.finished);
                    tell(&mut serving.finished);
                    return Served::Nothing;
                }
                Some(Event::Delivery(event)) => serving.event = Some(event),
                Some(Event::OAuthTokenRefresh(config)) => return Served::TokenRefresh(config),
                Some(Event::Answer(answer)) => {
                    self.answer(answer);
                    return Served::Some(1);
                }
                Some(event) => {
                    self.ready.note(&event, self.core.delivered());
                    self.core.serve_client_event(&*self.context, event);
                    self.ready.tell();
                    return Served::Some(1);
                }
            }
        }
        while serving.batch.len() < CHUNK {
            let Some((message, promise)) = serving.event.as_mut().and_then(DeliveryEvent::next)
            else {
                break;
            };
            serving.bytes += message.payload_len();
            serving.batch.push(self.end_message(message, promise));
        }
        let is_last_chunk = serving.batch.len() < CHUNK;
        let served = self.finish_batch(serving);
        if is_last_chunk {
            serving.event = None;
        }
        Served::Some(served)
    }

    /// Runs the callback of a message, and puts into its promise what its future needs.
    fn end_message(
        &self,
        message: BorrowedMessage<'_>,
        mut promise: MessagePromise<C>,
    ) -> Ended<C::DeliveryOpaque> {
        let result = message.into_result();
        let parcel = promise.cargo();
        let sequence = parcel.sequence;
        let opaque = parcel.take_opaque();
        self.core.report(&*self.context, &result, opaque);
        let ending = match result {
            Ok(message) => {
                if promise.is_awaited() {
                    promise.put(Ok(message.to_delivery()));
                }
                Ending::Delivered
            }
            Err(failure) => {
                self.end_failure(&failure, &mut promise);
                Ending::of_failure(failure.code(), self.core.has_fatal_error())
            }
        };
        Ended {
            sequence,
            promise,
            ending,
        }
    }

    #[cold]
    fn end_failure(&self, failure: &DeliveryError<'_>, promise: &mut MessagePromise<C>) {
        let (partition, timestamp) = promise.cargo().asked_for();
        if let Some(scope) = self.transactions.scope() {
            scope.fail(&self.core.message_error(failure.code().raw(), partition));
        }
        if promise.is_awaited() {
            promise.put(Err(self.undelivered(failure, partition, timestamp)));
        } else if let Some(closing) = &mut lock(&self.watches).closing {
            let record = self.undelivered(failure, partition, timestamp);
            closing.records.push(record);
        }
    }

    /// The failure with its record; its opaque is the callback's.
    fn undelivered<D>(
        &self,
        failure: &DeliveryError<'_>,
        partition: i32,
        timestamp: Option<i64>,
    ) -> SendError<D> {
        let error = self.core.message_error(failure.code().raw(), partition);
        let record = failure.to_record(partition, timestamp);
        SendError::undelivered(error, failure.persistence(), record)
    }

    /// Accounts for the batch, gives its room back, then resolves its futures, then wakes those
    /// who were let in.
    fn finish_batch(&self, serving: &mut Serving<C::DeliveryOpaque>) -> usize {
        let count = serving.batch.len();
        {
            let mut watches = lock(&self.watches);
            let endings = serving
                .batch
                .iter()
                .map(|ended| (ended.sequence, ended.ending));
            watches.account(endings, &mut serving.finished);
            self.core.settle(count as u64);
        }
        self.room.release(
            count,
            std::mem::take(&mut serving.bytes),
            &mut serving.wakers,
        );
        for Ended { promise, .. } in serving.batch.drain(..) {
            if let Some(waker) = promise.keep() {
                wake(waker);
            }
        }
        serving.wakers.drain(..).for_each(wake);
        tell(&mut serving.finished);
        count
    }

    /// Whether nothing can come any more that anybody waits for; no transactional call begins then.
    fn is_over(&self) -> bool {
        self.is_over_but_for_calls() && self.transactions.stop_calls()
    }

    /// Likewise, but for a transactional call that may be under way.
    fn is_over_but_for_calls(&self) -> bool {
        self.core.is_closed()
            && self.core.in_flight() == 0
            && !self.ready.is_asking()
            && !self.requests.is_calling()
    }

    /// Has the driver look whether there is something to do.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Stops admission, here and for those who wait for room; what is in flight goes on.
    pub(crate) fn stop_admission(&self) {
        self.core.close();
        self.room.close();
        self.ready.tell();
        self.wake.notify_one();
    }

    /// Begins to keep account for the report of the end, and stops admission.
    fn begin_report(&self, deadline: Option<Instant>) {
        {
            let mut watches = lock(&self.watches);
            let closing = watches.closing.get_or_insert_with(Closing::default);
            closing.deadline = [closing.deadline, deadline].into_iter().flatten().min();
        }
        self.stop_admission();
    }

    /// Begins to close, or joins a close that has begun: flushes, and purges what is left at the
    /// earliest deadline that any caller has set.
    pub(crate) fn begin_close(self: &Arc<Self>, deadline: Option<Instant>) {
        self.begin_report(deadline);
        if let Err(error) = self.ensure_flusher() {
            // Without a thread there is no flush and no deadline, but the driver goes on.
            tracing::error!(%error, "no thread to flush with at the close");
        }
    }

    /// Where all that is left is a transactional call that is overdue, nobody waits for its end.
    fn end_without_overdue(&self) {
        if self.is_over_but_for_calls() && self.transactions.is_overdue() {
            self.tell_report();
        }
    }

    /// Tells the report of the end, unless it has been told. Nothing may be in flight.
    fn tell_report(&self) {
        if self.end.borrow().is_some() {
            return;
        }
        let mut finished = Vec::new();
        let report = lock(&self.watches).end(&mut finished);
        tell(&mut finished);
        self.end.send_replace(Some(report));
    }

    /// Resolves when the client has been destroyed; or will be, by nobody who waits.
    pub(crate) async fn ended(&self) -> CloseReport {
        let mut end = self.end.subscribe();
        let report = end
            .wait_for(Option::is_some)
            .await
            .map(|report| report.clone());
        // The sender is in `self`, and the condition says that there is a report.
        report.ok().flatten().unwrap_or_default()
    }
}

/// Tells watches that have come to their end; one that nobody waits for any more is no error.
fn tell(finished: &mut Vec<Finished>) {
    for (done, tally) in finished.drain(..) {
        // It calls a waker, which may panic; see `wake`.
        let _ = catch_panic(|| done.send(tally));
    }
}

/// The driver's task.
pub(crate) async fn drive<C: ProducerContext>(driver: Driver<C>) {
    let shared = &driver.shared;
    let mut stall = Stall::default();
    let mut refresh = Refresh::default();
    loop {
        let mut served = 0;
        // Until the queue is empty, or at the end: logs and statistics may go on coming.
        let is_over = loop {
            match shared.serve(Duration::ZERO) {
                Served::Some(count) => served += count,
                Served::TokenRefresh(config) => refresh.start(shared, config),
                Served::Nothing => break shared.is_over(),
            }
            if served >= MESSAGES_PER_POLL {
                if shared.is_over() {
                    break true;
                }
                served = 0;
                tokio::task::yield_now().await;
            }
        };
        if is_over {
            break;
        }
        shared.end_without_overdue();
        shared.give_up_after_fatal_error();
        if shared.core.in_flight() == 0 && stall.lends(&shared.room) {
            tokio::task::yield_now().await;
        } else {
            shared.wake.notified().await;
        }
    }
    drop(refresh);
    driver.finish();
}

/// Sees to it that a producer comes to its end, also where the task is dropped before.
pub(crate) struct Driver<C: ProducerContext> {
    shared: Arc<Shared<C>>,
    is_over: bool,
}

impl<C: ProducerContext> Driver<C> {
    pub(crate) fn new(shared: Arc<Shared<C>>) -> Self {
        Self {
            shared,
            is_over: false,
        }
    }

    fn finish(mut self) {
        self.is_over = true;
    }
}

impl<C: ProducerContext> Drop for Driver<C> {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        if self.is_over {
            lane::run(move || shared.destroy());
        } else {
            // The runtime has gone, or somebody aborted the task. Nobody gets in from here on.
            shared.begin_report(None);
            lane::run(move || shared.tear_down());
        }
    }
}
