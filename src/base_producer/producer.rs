//! The synchronous producer: no task and no runtime; its user polls.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::callback_threads::CallbackThreads;
use super::gate::Gate;
use crate::client::{
    ClientConfig, Core, Counts, DefaultProducerContext, FromClientConfigAndContext, OAuthToken,
    ProducerContext, QueueLimits, is_transactional,
};
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::{Carried, Event, Queue};
use crate::message::{DeliveryError, EnqueueError, ProducerRecord, SendSpan, Topic, ending};
use crate::sync::{lock, log};
use crate::values::{Amount, Metrics, PurgeConfig, RDKafkaLogLevel};

/// The most events that one `poll` serves, so that it returns even if deliveries keep arriving.
const EVENTS_PER_POLL: usize = 128;

/// One slice of a flush. It is short, because librdkafka's count falls only when the queue is
/// served between two slices.
const FLUSH_SLICE: Duration = Duration::from_millis(5);

/// How long the drop waits for an event before it purges again.
const PURGE_AGAIN: Duration = Duration::from_millis(100);

/// What a message carries: its opaque, and its span.
type Sent<D> = (D, SendSpan);

/// A synchronous producer that needs no runtime.
///
/// [`send`](Self::send) puts records into librdkafka's queue. Callbacks run in
/// [`poll`](Self::poll), which must be called regularly. Use [`Producer`](crate::Producer) in async
/// code.
///
/// ```no_run
/// use std::time::Duration;
/// use tokio_rdkafka::{BaseProducer, ClientConfig, EnqueueError, ProducerRecord};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let producer: BaseProducer =
///     ClientConfig::new()
///         .set("bootstrap.servers", "localhost:9092")
///         .set("enable.idempotence", "true")
///         .create()?;
/// let mut record = ProducerRecord::to("events").payload("hello");
/// while let Err(error) = producer.send(record) {
///     if !error.is_queue_full() {
///         return Err(error.into_owned().into());
///     }
///     producer.poll(Duration::from_millis(100));
///     record = error.into_record();
/// }
/// producer.flush(Duration::from_secs(10))?;
/// # Ok(())
/// # }
/// ```
///
/// # Capacity
///
/// The limits are librdkafka's own: `queue.buffering.max.messages` and
/// `queue.buffering.max.kbytes`. Nothing waits for capacity. If the queue is full, call
/// [`poll`](Self::poll) and send again, as above: librdkafka counts a message until `poll` has
/// served its delivery report.
///
/// # Drop
///
/// Dropping it blocks: it purges what has not been delivered, runs the callbacks for it, and waits
/// for librdkafka's threads to end. Call [`flush`](Self::flush) before to deliver everything. Do
/// not drop it on a thread that must not block. A drop with messages in flight logs a warning.
///
/// # Failures
///
/// [`ProducerContext::delivery`] receives the failures, and the default context ignores them. So
/// [`poll`](Self::poll) also logs them, as
/// [those of a `Producer` that nobody awaits](crate::Producer#failures-that-nobody-awaits). The
/// number of those after the first of a kind is logged by a `poll` 10 s later, or by the drop.
///
/// A child that was forked has none of librdkafka's threads. There `send`, `flush` and
/// transactional calls return an error for which [`is_closed`](KafkaError::is_closed) is true. A
/// drop returns at once. Create a producer in the child.
pub struct BaseProducer<C: ProducerContext = DefaultProducerContext> {
    // Declared, and so dropped, before the core, whose client it references.
    pub(super) queue: Queue,
    pub(super) core: Core<Carried<Sent<C::DeliveryOpaque>>>,
    context: Arc<C>,
    pub(super) callback_threads: CallbackThreads,
    /// What has become of its messages. They are settled under this lock.
    counts: Mutex<Counts>,
    limits: QueueLimits,
    /// `None` without `transactional.id`.
    pub(super) gate: Option<Gate>,
}

impl<C: ProducerContext> BaseProducer<C> {
    /// Enqueues a record without waiting: neither for capacity nor for the delivery.
    ///
    /// The delivery callback runs in a later [`poll`](Self::poll).
    ///
    /// rust-rdkafka calls this `send`, so its users find it under that name here.
    /// [`Producer::send`](crate::Producer::send) in contrast waits for the delivery.
    /// [`try_enqueue`](Self::try_enqueue) is the same call under the name that
    /// [`Producer`](crate::Producer) uses for it.
    ///
    /// # Errors
    ///
    /// Returns the record with its opaque, and runs no callback, if:
    ///
    /// - the [queue is full](EnqueueError::is_queue_full): see [capacity](Self#capacity);
    /// - the payload is larger than `queue.buffering.max.kbytes` or `message.max.bytes` allows;
    /// - the topic or the partition is known not to exist;
    /// - a field of the record is invalid;
    /// - the producer has had a fatal error;
    /// - the producer has a `transactional.id`, and no transaction is open or the open one is being
    ///   committed or aborted ([`State`](RDKafkaErrorCode::State)).
    pub fn send<'a>(
        &self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<(), EnqueueError<'a, C::DeliveryOpaque>> {
        let ProducerRecord {
            mut fields,
            mut opaque,
        } = record;
        self.core
            .intercept(&*self.context, &mut fields, &mut opaque);
        let checked = fields
            .check()
            .and_then(|()| self.limits.check_payload(fields.payload_len()));
        if let Err(error) = checked {
            lock(&self.counts).refused(&error);
            return Err(EnqueueError::new(error, ProducerRecord { fields, opaque }));
        }
        // Held until the record is enqueued.
        let entered = match &self.gate {
            None => None,
            Some(gate) => match gate.enter() {
                Some(entered) => Some(entered),
                None => {
                    let (error, record) = (
                        transaction_is_completing(),
                        ProducerRecord { fields, opaque },
                    );
                    lock(&self.counts).refused(&error);
                    return Err(EnqueueError::new(error, record));
                }
            },
        };
        self.core.issue(1);
        let mut span = fields.attached.take_span();
        span.enqueued();
        let produced = self.core.produce(&mut fields, Carried::new((opaque, span)));
        // The drop of a payload is foreign code, which must not run under the lock.
        drop(entered);
        match produced {
            Ok(()) => {
                fields.drop_produced(|| self.core.client_name());
                Ok(())
            }
            Err((error, opaque)) => {
                self.core.settle(1);
                lock(&self.counts).refused(&error);
                let (opaque, span) = opaque.value;
                fields.attached.put_span(span);
                Err(EnqueueError::new(error, ProducerRecord { fields, opaque }))
            }
        }
    }

    /// Enqueues a record without waiting: [`send`](Self::send) under the name that
    /// [`Producer::try_enqueue`](crate::Producer::try_enqueue) has.
    ///
    /// Code that uses both producers can then use one word for one thing.
    ///
    /// ```no_run
    /// use tokio_rdkafka::{BaseProducer, EnqueueError, ProducerRecord};
    ///
    /// # fn run(producer: BaseProducer) -> Result<(), Box<dyn std::error::Error>> {
    /// let record = ProducerRecord::to("events").payload("hello");
    /// producer.try_enqueue(record).map_err(EnqueueError::into_owned)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`send`](Self::send).
    pub fn try_enqueue<'a>(
        &self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<(), EnqueueError<'a, C::DeliveryOpaque>> {
        self.send(record)
    }

    /// Waits for deliveries, errors or statistics, runs their callbacks, and returns their number.
    ///
    /// It waits for up to `timeout`. It returns once it has served something and the queue is
    /// empty, or after 128 events. Requests for tokens count too. Log lines are served, but they
    /// are not counted and do not end the wait.
    ///
    /// [`Duration::ZERO`] serves what has already arrived. [`Duration::MAX`] waits without a limit.
    ///
    /// In a callback of this producer it serves nothing and returns 0 at once: callbacks would
    /// otherwise nest until the stack overflows. The same holds in the drop of a payload or opaque
    /// that a callback's message had. The outer call serves the next event after the callback. In a
    /// forked child it returns 0 at once, too: the child has none of librdkafka's threads.
    pub fn poll(&self, timeout: Duration) -> usize {
        if self.callback_threads.contains_current() || self.core.is_forked() {
            return 0;
        }
        self.core.log.log_due();
        let deadline = Instant::now().checked_add(timeout);
        let (mut served, mut events) = (0, 0);
        loop {
            let wait = match deadline {
                _ if served > 0 => Duration::ZERO,
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            match self.queue.poll(wait) {
                Some(event) => {
                    served += self.serve(event);
                    events += 1;
                }
                None if served > 0 || wait.is_zero() => break,
                None => {}
            }
            // Log lines alone do not end the wait.
            if events >= EVENTS_PER_POLL && (served > 0 || wait.is_zero()) {
                break;
            }
        }
        served
    }

    pub(super) fn serve(&self, event: Event<Carried<Sent<C::DeliveryOpaque>>>) -> usize {
        // Outlives the event, whose drop drops payloads: they are foreign code, too.
        let _callback = self.callback_threads.enter();
        let mut event = match event {
            Event::Delivery(event) => event,
            event => return self.core.serve_client_event(&*self.context, event),
        };
        let mut served = 0;
        let mut failures = Vec::new();
        while let Some((message, opaque)) = event.next() {
            let (bytes, retries) = (message.payload_len(), message.retries());
            let result = message.into_result();
            let (opaque, mut span) = opaque.value;
            let mut delivered = None;
            match &result {
                Ok(message) => {
                    self.core.count_delivered(1);
                    delivered = Some(message.latency_micros());
                }
                Err(failure) => {
                    failures.push((failure.code(), bytes));
                    self.failed(failure);
                }
            }
            span.finish(|| ending(&result));
            self.core.report(&*self.context, &result, opaque);
            let amount = delivered.map_or_else(Amount::default, |_| Amount::new(1, bytes as u64));
            let mut counts = lock(&self.counts);
            counts.reported("", amount, delivered.into_iter(), &mut failures);
            counts.retried(retries);
            self.core.settle(1);
            served += 1;
        }
        lock(&self.counts).end_turn();
        self.core.log.log_due();
        served
    }

    /// Logs a failure, which only the callback sees.
    #[cold]
    fn failed(&self, failure: &DeliveryError<'_>) {
        let error = self
            .core
            .message_error(failure.code().raw(), failure.partition());
        let (topic, persistence) = (failure.topic(), failure.persistence());
        self.core.failed_unawaited(topic, persistence, &error);
    }

    /// Sends queued messages without waiting for `linger.ms`, and polls until nothing is in flight.
    ///
    /// Source: `rd_kafka_flush`.
    ///
    /// # Errors
    ///
    /// - [`OperationTimedOut`](RDKafkaErrorCode::OperationTimedOut) if messages are still in flight
    ///   after `timeout`. Keep calling [`poll`](Self::poll) to deliver them.
    /// - [`State`](RDKafkaErrorCode::State) in a callback of this producer: it would wait for
    ///   itself.
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.check_not_in_callback("flush")?;
        self.core.check_served()?;
        self.flush_for(|| timeout);
        match self.core.in_flight() {
            0 => Ok(()),
            in_flight => {
                let text = format!("flush: {in_flight} messages are still in flight");
                Err(KafkaError::with_text(
                    RDKafkaErrorCode::OperationTimedOut,
                    text,
                ))
            }
        }
    }

    /// # Errors
    ///
    /// The call `name` was made in a callback, and would wait for itself: in a callback no event is
    /// served.
    pub(super) fn check_not_in_callback(&self, name: &str) -> Result<(), KafkaError> {
        if self.callback_threads.contains_current() {
            let text = format!(
                "{name}: called from a callback of the producer, which it would wait for; call it \
                 outside"
            );
            return Err(KafkaError::with_text(RDKafkaErrorCode::State, text));
        }
        Ok(())
    }

    /// Flushes until nothing is in flight, or `timeout` has passed, which is asked again each time.
    pub(super) fn flush_for(&self, timeout: impl Fn() -> Duration) {
        let started = Instant::now();
        loop {
            let left = || timeout().saturating_sub(started.elapsed());
            // With a timeout of 0, serve at most what is in flight now: its reports may be in the
            // queue.
            let most = if timeout().is_zero() {
                self.core.in_flight()
            } else {
                0
            };
            let mut served = 0;
            loop {
                match self.poll(Duration::ZERO) {
                    0 => break,
                    more => served += more,
                }
                if served >= most && left().is_zero() {
                    break;
                }
            }
            self.purge_after_fatal_error();
            let left = left();
            if self.core.in_flight() == 0 || left.is_zero() {
                return;
            }
            if let Some(client) = self.core.client() {
                client.flush(left.min(FLUSH_SLICE));
            }
        }
    }

    /// Purges the queue after a fatal error. librdkafka does so once, when it raises the error.
    /// Messages that return to the queue later, for a retry, would stay until `message.timeout.ms`.
    pub(super) fn purge_after_fatal_error(&self) {
        if self.core.has_fatal_error() {
            self.core
                .purge(PurgeConfig::default().queue().non_blocking());
        }
    }

    /// Discards the messages that `config` selects. Their callbacks run in a later
    /// [`poll`](Self::poll).
    ///
    /// With `transactional.id` a purge makes the commit fail, and
    /// [`inflight`](PurgeConfig::inflight) has no effect. A message that has been sent could
    /// otherwise be written after the transaction ends, as part of the next one.
    ///
    /// Source: `rd_kafka_purge`.
    pub fn purge(&self, config: PurgeConfig) {
        let config = match self.gate {
            Some(_) => config.without_inflight(),
            None => config,
        };
        self.core.purge(config);
    }

    /// Answers [`ClientContext::oauth_token_requested`] with a token.
    ///
    /// The client does not connect before it has a token. So call [`poll`](Self::poll) and answer
    /// the request before any call that waits for brokers.
    ///
    /// Source: `rd_kafka_oauthbearer_set_token`.
    ///
    /// # Errors
    ///
    /// No error shows the token.
    ///
    /// - [`InvalidArgument`](RDKafkaErrorCode::InvalidArgument) if the token has expired, or if the
    ///   token, its principal or an extension has a character that is not allowed. The request
    ///   still needs an answer.
    /// - [`State`](RDKafkaErrorCode::State) if `sasl.mechanisms` is not `OAUTHBEARER`.
    ///
    /// [`ClientContext::oauth_token_requested`]: crate::ClientContext::oauth_token_requested
    pub fn set_oauth_token(&self, token: OAuthToken) -> Result<(), KafkaError> {
        self.core.set_oauth_token(&token)
    }

    /// Answers [`ClientContext::oauth_token_requested`] with the reason why there is no token.
    ///
    /// A later [`poll`](Self::poll) reports it to [`ClientContext::error`] with `reason` in the
    /// text. So `reason` must not contain a secret. After about 10 s librdkafka requests a token
    /// again.
    ///
    /// Source: `rd_kafka_oauthbearer_set_token_failure`.
    ///
    /// # Errors
    ///
    /// [`State`](RDKafkaErrorCode::State) if `sasl.mechanisms` is not `OAUTHBEARER`.
    ///
    /// [`ClientContext::oauth_token_requested`]: crate::ClientContext::oauth_token_requested
    /// [`ClientContext::error`]: crate::ClientContext::error
    pub fn set_oauth_token_failure(&self, reason: &str) -> Result<(), KafkaError> {
        self.core.set_oauth_token_failure(reason)
    }

    /// Replaces `sasl.username` and `sasl.password`.
    ///
    /// It works as [`Producer::set_sasl_credentials`](crate::Producer::set_sasl_credentials) does,
    /// also in a callback.
    ///
    /// # Errors
    ///
    /// Same as [`Producer::set_sasl_credentials`](crate::Producer::set_sasl_credentials).
    pub fn set_sasl_credentials(&self, username: &str, password: &str) -> Result<(), KafkaError> {
        self.core.set_sasl_credentials(username, password)
    }

    /// Sets the lowest level of librdkafka's logs, as
    /// [`Producer::set_log_level`](crate::Producer::set_log_level) does.
    pub fn set_log_level(&self, level: RDKafkaLogLevel) {
        self.core.set_log_level(level);
    }

    /// Returns a handle of a topic, which saves the lookup by name.
    ///
    /// # Errors
    ///
    /// The topic's name is not valid.
    pub fn topic(&self, name: &str) -> Result<Topic, KafkaError> {
        self.core.topic(name)
    }

    /// Returns the number of messages that were enqueued and whose delivery callback has not
    /// returned yet.
    pub fn in_flight_count(&self) -> usize {
        self.core.in_flight()
    }

    /// Returns what the producer has done so far, in numbers.
    ///
    /// It never waits for a broker. A record counts as delivered or failed once its callback has
    /// returned. There is no wait for capacity: librdkafka keeps the limits.
    ///
    /// ```no_run
    /// # fn run(producer: tokio_rdkafka::BaseProducer) {
    /// let metrics = producer.metrics();
    /// println!("{} in flight", metrics.in_flight.records);
    /// # }
    /// ```
    pub fn metrics(&self) -> Metrics {
        let mut metrics = {
            let counts = lock(&self.counts);
            counts.snapshot(self.core.enqueued())
        };
        metrics.max_records = self.limits.messages as u64;
        metrics.max_bytes = self.limits.bytes as u64;
        metrics.callback_panics = self.core.callback_panics();
        metrics
    }

    /// Returns the context that the producer was created with.
    pub fn context(&self) -> &Arc<C> {
        &self.context
    }

    /// Returns the fatal error, if there was one. Nothing can be sent after it.
    ///
    /// It has the code and reason that `rd_kafka_fatal_error` returns, instead of `_FATAL`.
    pub fn fatal_error(&self) -> Option<KafkaError> {
        self.core.fatal_error()
    }

    /// Returns how many callbacks of the context have panicked.
    pub fn callback_panics(&self) -> u64 {
        self.core.callback_panics()
    }
}

#[cold]
fn transaction_is_completing() -> KafkaError {
    KafkaError::with_text(
        RDKafkaErrorCode::State,
        "the transaction is being committed or aborted; send in the next one",
    )
}

impl<C: ProducerContext> FromClientConfigAndContext<C> for BaseProducer<C> {
    fn from_config_and_context(config: &ClientConfig, context: C) -> Result<Self, KafkaError> {
        let conf = config.to_conf()?;
        let is_transactional = is_transactional(&conf);
        let limits = QueueLimits::of(&conf);
        let context = Arc::new(context);
        let (core, queue) = Core::new(config, conf, &context)?;
        Ok(Self {
            queue,
            core,
            context,
            callback_threads: CallbackThreads::default(),
            counts: Mutex::default(),
            limits,
            gate: is_transactional.then(Gate::default),
        })
    }
}

impl<C: ProducerContext> Drop for BaseProducer<C> {
    fn drop(&mut self) {
        self.core.close();
        let in_flight = self.core.in_flight();
        if in_flight > 0 && !self.core.is_forked() {
            log(|| {
                tracing::warn!(
                    client = self.core.client_name(),
                    in_flight,
                    "a BaseProducer was dropped with messages in flight, which are purged: call \
                     flush before"
                );
            });
        }
        let everything = PurgeConfig::default().queue().inflight().non_blocking();
        while self.core.in_flight() > 0 && !self.core.is_forked() {
            // Repeated, because one purge can miss messages that move between two queues.
            self.core.purge(everything);
            self.poll(PURGE_AGAIN);
        }
    }
}

impl<C: ProducerContext> fmt::Debug for BaseProducer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaseProducer")
            .field("in_flight", &self.in_flight_count())
            .finish_non_exhaustive()
    }
}
