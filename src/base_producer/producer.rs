//! The synchronous producer: no task, no runtime; whoever uses it polls.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::callback_threads::CallbackThreads;
use super::gate::Gate;
use crate::client::{
    ClientConfig, Core, DefaultProducerContext, FromClientConfigAndContext, OAuthToken,
    ProducerContext, is_transactional,
};
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::{Carried, Event, Queue};
use crate::message::{EnqueueError, ProducerRecord, Topic};
use crate::values::PurgeConfig;

/// How many events one `poll` serves at the most, so that it returns even while deliveries keep
/// coming in.
const EVENTS_PER_POLL: usize = 128;

/// One slice of a flush: short, because librdkafka's count falls only when the queue is served
/// between two slices.
const FLUSH_SLICE: Duration = Duration::from_millis(5);

/// How long the drain at the drop waits for an event before it purges again.
const PURGE_AGAIN: Duration = Duration::from_millis(100);

/// A producer that needs no runtime: [`send`](Self::send) puts records into librdkafka's queue, and
/// callbacks run in [`poll`](Self::poll), which must be called regularly.
///
/// ```no_run
/// use std::time::Duration;
/// use tokio_rdkafka::{BaseProducer, ClientConfig, EnqueueError, ProducerRecord};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let producer: BaseProducer =
///     ClientConfig::new().set("bootstrap.servers", "localhost:9092").create()?;
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
/// # Drop
///
/// Dropping it purges what has not been delivered, runs the callbacks of that, and waits for
/// librdkafka's threads to end: it blocks. Call [`flush`](Self::flush) before, to have everything
/// delivered, and do not drop it on a thread that must not block.
pub struct BaseProducer<C: ProducerContext = DefaultProducerContext> {
    // Declared, and so dropped, before the core, whose client it refers to.
    pub(super) queue: Queue,
    pub(super) core: Core<Carried<C::DeliveryOpaque>>,
    context: Arc<C>,
    pub(super) callback_threads: CallbackThreads,
    /// Of a producer with transactions.
    pub(super) gate: Option<Gate>,
}

impl<C: ProducerContext> BaseProducer<C> {
    /// Puts a record into librdkafka's queue; never blocks. The delivery callback runs in a later
    /// [`poll`](Self::poll).
    ///
    /// # Errors
    ///
    /// The record comes back, with its opaque, where librdkafka's queue is full
    /// (`queue.buffering.max.messages`, `queue.buffering.max.kbytes`;
    /// [`is_queue_full`](EnqueueError::is_queue_full)), where it is too large
    /// (`message.max.bytes`), its partition or topic is known not to exist, a field of it is wrong,
    /// or after a fatal error; with `transactional.id`, also outside of a transaction
    /// ([`State`](RDKafkaErrorCode::State)). No callback runs then.
    pub fn send<'a>(
        &self,
        record: ProducerRecord<'a, C::DeliveryOpaque>,
    ) -> Result<(), EnqueueError<'a, C::DeliveryOpaque>> {
        let ProducerRecord { mut fields, opaque } = record;
        if let Err(error) = fields.check() {
            return Err(EnqueueError::new(error, ProducerRecord { fields, opaque }));
        }
        // Held until the record is in.
        let _way_in = match &self.gate {
            None => None,
            Some(gate) => match gate.enter() {
                Some(way_in) => Some(way_in),
                None => {
                    let record = ProducerRecord { fields, opaque };
                    return Err(EnqueueError::new(transaction_ends(), record));
                }
            },
        };
        self.core.issue(1);
        self.core
            .produce(&mut fields, Carried::new(opaque))
            .map_err(|(error, opaque)| {
                self.core.settle(1);
                let opaque = opaque.value;
                EnqueueError::new(error, ProducerRecord { fields, opaque })
            })
    }

    /// Waits up to `timeout` for deliveries, errors or statistics, runs their callbacks and those
    /// of whatever else is there by then, and returns their number: as soon as it has served
    /// something. Log lines are served too, but neither counted nor waited for.
    ///
    /// [`Duration::ZERO`] serves what is there, [`Duration::MAX`] waits without an end.
    pub fn poll(&self, timeout: Duration) -> usize {
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

    pub(super) fn serve(&self, event: Event<Carried<C::DeliveryOpaque>>) -> usize {
        let Event::Delivery(mut event) = event else {
            return self.core.serve_client_event(&*self.context, event);
        };
        let _callback = self.callback_threads.enter();
        let mut served = 0;
        while let Some((message, opaque)) = event.next() {
            let result = message.into_result();
            self.core.count_delivered(u64::from(result.is_ok()));
            self.core.report(&*self.context, &result, opaque.value);
            self.core.settle(1);
            served += 1;
        }
        served
    }

    /// Sends what is queued without waiting for `linger.ms`, and polls until nothing is in flight.
    ///
    /// # Errors
    ///
    /// [`OperationTimedOut`](RDKafkaErrorCode::OperationTimedOut) where messages are still in
    /// flight after `timeout`; they go on being delivered as long as somebody polls.
    /// [`State`](RDKafkaErrorCode::State) in a delivery callback, whose own message it would wait
    /// for.
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.check_not_in_callback("flush")?;
        self.flush_for(|| timeout);
        match self.core.in_flight() {
            0 => Ok(()),
            in_flight => {
                let text = format!("{in_flight} messages are still in flight");
                Err(KafkaError::with_text(
                    RDKafkaErrorCode::OperationTimedOut,
                    text,
                ))
            }
        }
    }

    /// Refuses what would wait for the delivery of a message whose callback it is called from.
    pub(super) fn check_not_in_callback(&self, name: &str) -> Result<(), KafkaError> {
        if self.callback_threads.is_here() {
            let text = format!(
                "{name}: called from a delivery callback, for the end of which it would wait"
            );
            return Err(KafkaError::with_text(RDKafkaErrorCode::State, text));
        }
        Ok(())
    }

    /// Flushes until nothing is in flight, or that time is over, which may become another.
    pub(super) fn flush_for(&self, timeout: impl Fn() -> Duration) {
        let started = Instant::now();
        loop {
            let left = || timeout().saturating_sub(started.elapsed());
            // Without any time, what is in flight may have been delivered, and only wait to be served.
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

    /// librdkafka gives up what is in its queue once, when it raises a fatal error; what comes back
    /// into the queue after that, to be tried again, would stay there until `message.timeout.ms`.
    pub(super) fn purge_after_fatal_error(&self) {
        if self.core.has_fatal_error() {
            self.core
                .purge(PurgeConfig::default().queue().non_blocking());
        }
    }

    /// Gives up what `config` covers; the callbacks of it run in a later [`poll`](Self::poll).
    ///
    /// With `transactional.id` it fails the commit, and [`inflight`](PurgeConfig::inflight) has no
    /// effect: what has been sent could be written behind the end of the transaction, and into the next
    /// one.
    pub fn purge(&self, config: PurgeConfig) {
        let config = match self.gate {
            Some(_) => config.without_inflight(),
            None => config,
        };
        self.core.purge(config);
    }

    /// Answers [`ClientContext::oauth_token_requested`] with a token.
    ///
    /// Until the first token nothing connects: have [`poll`](Self::poll) called, and the request
    /// answered, before a call that waits for brokers.
    ///
    /// # Errors
    ///
    /// [`InvalidArgument`](RDKafkaErrorCode::InvalidArgument) where the token has expired, or it, its
    /// principal or an extension has a character that is not allowed: the request is still to be
    /// answered. [`State`](RDKafkaErrorCode::State) where `sasl.mechanisms` is not `OAUTHBEARER`. No
    /// error shows the token.
    ///
    /// Source: `rd_kafka_oauthbearer_set_token`.
    ///
    /// [`ClientContext::oauth_token_requested`]: crate::ClientContext::oauth_token_requested
    pub fn set_oauth_token(&self, token: OAuthToken) -> Result<(), KafkaError> {
        self.core.set_oauth_token(&token)
    }

    /// Answers [`ClientContext::oauth_token_requested`] with the reason why there is no token.
    /// [`ClientContext::error`] hears of it in a later [`poll`](Self::poll), and is shown the reason:
    /// it should have no secret in it. A token is asked for again some 10 seconds later.
    ///
    /// # Errors
    ///
    /// [`State`](RDKafkaErrorCode::State) where `sasl.mechanisms` is not `OAUTHBEARER`.
    ///
    /// Source: `rd_kafka_oauthbearer_set_token_failure`.
    ///
    /// [`ClientContext::oauth_token_requested`]: crate::ClientContext::oauth_token_requested
    /// [`ClientContext::error`]: crate::ClientContext::error
    pub fn set_oauth_token_failure(&self, reason: &str) -> Result<(), KafkaError> {
        self.core.set_oauth_token_failure(reason)
    }

    /// A handle of a topic, which saves the look-up by name.
    ///
    /// # Errors
    ///
    /// Names what is wrong with the topic's name.
    pub fn topic(&self, name: &str) -> Result<Topic, KafkaError> {
        self.core.topic(name)
    }

    /// The number of messages whose delivery callback has not run yet.
    pub fn in_flight_count(&self) -> usize {
        self.core.in_flight()
    }

    /// The context that the producer was made with.
    pub fn context(&self) -> &Arc<C> {
        &self.context
    }

    /// The error after which nothing can be sent any more, if there was one: the code and reason
    /// that lie behind librdkafka's `_FATAL`.
    pub fn fatal_error(&self) -> Option<KafkaError> {
        self.core.fatal_error()
    }

    /// How many callbacks of the context have panicked.
    pub fn callback_panics(&self) -> u64 {
        self.core.callback_panics()
    }
}

#[cold]
fn transaction_ends() -> KafkaError {
    KafkaError::with_text(
        RDKafkaErrorCode::State,
        "the transaction is being committed or aborted",
    )
}

impl<C: ProducerContext> FromClientConfigAndContext<C> for BaseProducer<C> {
    fn from_config_and_context(config: &ClientConfig, context: C) -> Result<Self, KafkaError> {
        let conf = config.to_conf()?;
        let is_transactional = is_transactional(&conf);
        let context = Arc::new(context);
        let (core, queue) = Core::new(config, conf, &context)?;
        Ok(Self {
            queue,
            core,
            context,
            callback_threads: CallbackThreads::default(),
            gate: is_transactional.then(Gate::default),
        })
    }
}

impl<C: ProducerContext> Drop for BaseProducer<C> {
    fn drop(&mut self) {
        self.core.close();
        let everything = PurgeConfig::default().queue().inflight().non_blocking();
        while self.core.in_flight() > 0 {
            // Again and again: one purge may miss messages on their way between two queues.
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
