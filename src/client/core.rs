//! What both producers are built on: one client, its topic handles, the produce call, and the count
//! of what is in flight.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use super::chooser::chooser;
use super::config::{ClientConfig, creation_error};
use super::connection_diagnosis::client_error;
use super::context::{ClientContext, ProducerContext};
use super::oauth_token::OAuthToken;
use super::secrets::{Secrets, without_claims};
use super::topic_handles::TopicHandles;
use crate::error::{KafkaError, RDKafkaErrorCode, is_fencing, is_purge};
use crate::ffi::{
    CallError, Certificates, Client, Conf, Event, Message, Opaque, PARTITION_UNASSIGNED, Queue,
    TopicHandle,
};
use crate::message::{DeliveryResult, Fields, Plain, Topic, TopicName, ZERO_COPY_FROM};
use crate::sync::{catch_panic, log, read, write};
use crate::values::{PurgeConfig, RDKafkaLogLevel, topic_name};

/// One client whose messages carry an `O`.
///
/// # When the client is destroyed
///
/// A message counts as in flight from before its produce call until its report has been served and
/// [`settle`](Self::settle)d, or its refusal has. So once [`close`](Self::close) has stopped
/// admission and [`in_flight`](Self::in_flight) is zero, no produce call is in progress that could
/// still be let in, and [`destroy`](Self::destroy) may take the client.
#[derive(Debug)]
pub(crate) struct Core<O> {
    /// `None` once the client has been destroyed.
    live: RwLock<Option<Live>>,
    client_id: u64,
    /// Messages that were given a number, and those whose end has been accounted for.
    issued: AtomicU64,
    settled: AtomicU64,
    /// Of the settled ones, those that were delivered.
    delivered: AtomicU64,
    /// Of the delivered ones, those before the transaction.
    delivered_before: AtomicU64,
    closed: AtomicBool,
    fatal: OnceLock<KafkaError>,
    callback_panics: Arc<AtomicU64>,
    /// How many times no token was got, since one was.
    token_failures: AtomicU64,
    has_partitioner: bool,
    takes_batches: bool,
    secrets: Secrets,
    certificates: Arc<Certificates>,
    opaque: PhantomData<fn(O) -> O>,
}

#[derive(Debug)]
struct Live {
    client: Arc<Client>,
    topics: TopicHandles,
}

impl<O: Opaque> Core<O> {
    /// Makes the client; the queue is where its events come in.
    ///
    /// # Errors
    ///
    /// Names what is wrong with the configuration.
    pub(crate) fn new<C: ProducerContext>(
        config: &ClientConfig,
        mut conf: Conf,
        context: &Arc<C>,
    ) -> Result<(Self, Queue), KafkaError> {
        let secrets = config.secrets();
        let callback_panics = Arc::default();
        let chooser = chooser(context, &callback_panics);
        if chooser.is_some() {
            config.make_way_for_partitioner(&mut conf)?;
        }
        let has_partitioner = chooser.is_some();
        let client = Client::new_producer::<O>(conf, chooser)
            .map_err(|text| creation_error(&text, &secrets))?;
        let queue = Queue::main(&client);
        let core = Self {
            client_id: client.id(),
            certificates: client.certificates(),
            live: RwLock::new(Some(Live {
                client,
                topics: TopicHandles::default(),
            })),
            issued: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            delivered_before: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            fatal: OnceLock::new(),
            callback_panics,
            token_failures: AtomicU64::new(0),
            has_partitioner,
            takes_batches: config.get("plugin.library.paths").is_none(),
            secrets,
            opaque: PhantomData,
        };
        Ok((core, queue))
    }

    /// The number of the next message, of `count` that are in flight from now on, until they are
    /// settled.
    #[inline]
    pub(crate) fn issue(&self, count: u64) -> u64 {
        self.issued.fetch_add(count, Ordering::SeqCst)
    }

    /// How many numbers have been given.
    pub(crate) fn issued(&self) -> u64 {
        self.issued.load(Ordering::SeqCst)
    }

    /// Accounts for the end of `count` messages: reports served, or produce calls refused.
    pub(crate) fn settle(&self, count: u64) {
        self.settled.fetch_add(count, Ordering::SeqCst);
    }

    /// How many messages have ended.
    pub(crate) fn settled(&self) -> u64 {
        self.settled.load(Ordering::SeqCst)
    }

    /// A transaction begins.
    pub(crate) fn note_begin(&self) {
        self.delivered_before
            .store(self.delivered(), Ordering::SeqCst);
    }

    /// Whether a message of the transaction has been delivered.
    pub(crate) fn has_delivered_since_begin(&self) -> bool {
        self.delivered() > self.delivered_before.load(Ordering::SeqCst)
    }

    /// How many messages have been delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::SeqCst)
    }

    pub(crate) fn in_flight(&self) -> usize {
        // In this order the difference cannot be negative.
        let settled = self.settled();
        usize::try_from(self.issued() - settled).unwrap_or(usize::MAX)
    }

    /// Puts an [issued](Self::issue) message of [checked](Fields::check) fields into librdkafka's
    /// queue; never blocks. A payload that pays to be lent goes with the opaque.
    ///
    /// # Errors
    ///
    /// Why it was refused, and the opaque back; the fields are as they were. The caller settles it.
    #[inline]
    pub(crate) fn produce(
        &self,
        fields: &mut Fields<'_>,
        mut opaque: O,
    ) -> Result<(), (KafkaError, O)> {
        let topic = match self.handle(&fields.topic) {
            Ok(topic) => topic,
            Err(error) => return Err((error, opaque)),
        };
        if fields.payload_len() >= ZERO_COPY_FROM {
            if let Some(place) = opaque.payload_guard() {
                *place = fields.take_payload_guard();
            }
        }
        let message = Message {
            partition: fields.partition,
            key: fields.key.as_deref(),
            payload: fields.payload.as_deref(),
            timestamp: fields.timestamp,
            headers: &fields.headers,
        };
        let Err((code, opaque)) = topic.produce(message, opaque) else {
            return Ok(());
        };
        Err(self.not_produced(code, fields, opaque))
    }

    /// Whether records are to be produced in runs. Not with interceptors of plugins: where the
    /// partitioner refuses a message, librdkafka shows them the one of the call, which lacks the part
    /// that its functions read headers and timestamps from.
    #[inline]
    pub(crate) fn takes_batches(&self) -> bool {
        self.takes_batches
    }

    /// As [`produce`](Self::produce), of [plain](Plain) records of one topic, in one call.
    /// Those that are refused go to `refused`, with their places; the caller settles them.
    pub(crate) fn produce_batch(
        &self,
        topic: &TopicName<'_>,
        batch: &[Plain<'_>],
        opaques: impl Iterator<Item = O>,
        mut refused: impl FnMut(&Plain<'_>, KafkaError, O),
    ) {
        let topic = match self.handle(topic) {
            Ok(topic) => topic,
            Err(error) => {
                let all = batch.iter().zip(opaques);
                return all.for_each(|(plain, opaque)| refused(plain, error.clone(), opaque));
            }
        };
        let messages = batch.iter().map(Plain::as_bytes).zip(opaques);
        topic.produce_batch(messages, |index, code, opaque| {
            let error = self.message_error(code, PARTITION_UNASSIGNED);
            refused(&batch[index], error, opaque);
        });
    }

    #[cold]
    fn not_produced(&self, code: i32, fields: &mut Fields<'_>, mut opaque: O) -> (KafkaError, O) {
        if let Some(loan) = opaque.payload_guard().and_then(Option::take) {
            fields.payload = Some(loan.into_payload());
        }
        (self.message_error(code, fields.partition), opaque)
    }

    /// A handle for users.
    pub(crate) fn topic(&self, name: &str) -> Result<Topic, KafkaError> {
        let handle = self.handle_by_name(name)?;
        Ok(Topic::new(name.into(), &handle))
    }

    #[inline]
    fn handle(&self, topic: &TopicName<'_>) -> Result<Arc<TopicHandle>, KafkaError> {
        if self.is_closed() {
            return Err(KafkaError::closed());
        }
        if let Some(handle) = topic.handle().and_then(Topic::upgrade) {
            if handle.client_id() == self.client_id {
                return Ok(handle);
            }
        }
        self.handle_by_name(topic.as_str())
    }

    fn handle_by_name(&self, name: &str) -> Result<Arc<TopicHandle>, KafkaError> {
        let find = |live: &Live| live.topics.get(name);
        // A statement of its own, so that the lock is free again.
        let found = read(&self.live).as_ref().and_then(find);
        match found {
            Some(handle) => Ok(handle),
            None => self.new_handle(name),
        }
    }

    #[cold]
    fn new_handle(&self, name: &str) -> Result<Arc<TopicHandle>, KafkaError> {
        topic_name::check_name(name)?;
        let mut live = write(&self.live);
        // Looked at under the lock: `destroy` takes the handles out under it.
        let live = live
            .as_mut()
            .filter(|_| !self.is_closed())
            .ok_or_else(KafkaError::closed)?;
        if let Some(found) = live.topics.get_any(name) {
            return Ok(found);
        }
        let handle = TopicHandle::open(&live.client, name)
            .map_err(|code| self.error_of(&live.client, code))?;
        live.topics.insert(name.into(), Arc::clone(&handle));
        Ok(handle)
    }

    /// The error for a code; where that is `_FATAL`, or says as the fatal error does that another
    /// producer has taken over, what lies behind it.
    pub(crate) fn error(&self, code: i32) -> KafkaError {
        match self.client() {
            Some(client) => self.error_of(&client, code),
            None => KafkaError::from_code(code),
        }
    }

    /// The error of a message that was to go to that partition, or to any.
    pub(crate) fn message_error(&self, code: i32, partition: i32) -> KafkaError {
        let error = self.error(code);
        if error.code().is_some_and(is_purge) {
            // librdkafka purges by itself after a fatal error.
            return match self.fatal_error() {
                Some(fatal) => error.after_fatal(fatal),
                None => error,
            };
        }
        let is_unknown = error.code() == Some(RDKafkaErrorCode::UnknownPartition);
        if is_unknown && self.has_partitioner && partition == PARTITION_UNASSIGNED {
            return KafkaError::with_text(
                code,
                "the partitioner chose none, or one that the topic does not have",
            );
        }
        error
    }

    /// An error with librdkafka's text.
    pub(crate) fn error_with_text(&self, code: RDKafkaErrorCode, text: &str) -> KafkaError {
        KafkaError::with_text(code, self.secrets.redact(text))
    }

    fn error_of(&self, client: &Client, code: i32) -> KafkaError {
        match client.fatal_error() {
            Some(fatal) if is_of_fatal(code.into(), fatal.0.into()) => self.set_fatal(fatal),
            _ => KafkaError::from_code(code),
        }
    }

    /// The error of a transactional call.
    pub(crate) fn call_error(&self, call: &str, error: CallError) -> KafkaError {
        // It is served while the call is under way: only the time was too short.
        const UNSERVED: &str = ": the event queue must be polled";
        let reason = match error.text.split_once(UNSERVED) {
            Some((reason, _)) => format!("{reason}, retry call to resume"),
            None => error.text,
        };
        let text = format!("{call}: {}", self.secrets.redact(&reason));
        KafkaError::of_call(error.class, error.code, text)
    }

    fn set_fatal(&self, (code, text): (i32, String)) -> KafkaError {
        self.fatal
            .get_or_init(|| KafkaError::fatal(code, self.secrets.redact(&text)))
            .clone()
    }

    /// Whether a fatal error is known of.
    pub(crate) fn has_fatal_error(&self) -> bool {
        self.fatal.get().is_some()
    }

    /// Refuses what comes after a fatal error that is known of, as librdkafka would.
    #[inline]
    pub(crate) fn check_fatal(&self) -> Result<(), KafkaError> {
        self.fatal.get().cloned().map_or(Ok(()), Err)
    }

    /// The error after which nothing can be sent, if there was one.
    pub(crate) fn fatal_error(&self) -> Option<KafkaError> {
        let known = self.fatal.get().cloned();
        known.or_else(|| Some(self.set_fatal(self.client()?.fatal_error()?)))
    }

    pub(crate) fn purge(&self, config: PurgeConfig) {
        if let Some(client) = self.client() {
            client.purge(config);
        }
    }

    /// The client, until it is destroyed. Whoever holds it delays its end: not for long.
    pub(crate) fn client(&self) -> Option<Arc<Client>> {
        read(&self.live)
            .as_ref()
            .map(|live| Arc::clone(&live.client))
    }

    /// Refuses what is produced from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Destroys the client; blocks, while librdkafka's threads end. The queue must be gone, and
    /// nothing be in flight.
    pub(crate) fn destroy(&self) {
        let Some(Live { client, topics }) = write(&self.live).take() else {
            return;
        };
        drop(topics);
        // A produce call whose message has already been served may be on its way out, with its
        // reference: it must not be the last, or a user's thread would do the blocking.
        while Arc::strong_count(&client) > 1 {
            std::thread::yield_now();
        }
        drop(client);
    }

    /// Serves an event that is not of delivery reports; returns the number of callbacks run, in
    /// which log lines do not count.
    pub(crate) fn serve_client_event(
        &self,
        context: &impl ClientContext,
        event: Event<O>,
    ) -> usize {
        match event {
            Event::Log {
                level,
                facility,
                text,
            } => {
                let level = RDKafkaLogLevel::from_syslog(level);
                let text = self.secrets.redact(&text);
                self.guard("log", || context.log(level, &facility, &text));
                0
            }
            Event::Error {
                code,
                text,
                is_fatal,
            } => {
                let error = if is_fatal {
                    self.set_fatal((code, text))
                } else {
                    self.client_error(code, &text)
                };
                self.guard("error", || context.error(&error));
                1
            }
            Event::Stats(json) => {
                self.guard("stats", || context.stats(&json));
                1
            }
            Event::OAuthTokenRefresh(config) => {
                self.guard("oauth_token_requested", || {
                    context.oauth_token_requested(config.as_deref());
                });
                1
            }
            Event::Delivery(_) | Event::Answer(_) | Event::Other => 0,
        }
    }

    /// The error of the client, not of one message, that librdkafka tells of by that text.
    pub(crate) fn client_error(&self, code: i32, text: &str) -> KafkaError {
        let shown = self.secrets.redact(text);
        client_error(code, text, &shown, |broker| self.certificates.flaw(broker))
    }

    /// Counts messages that were delivered.
    pub(crate) fn count_delivered(&self, count: u64) {
        self.delivered.fetch_add(count, Ordering::SeqCst);
    }

    /// Calls the context's callback with the result of a message.
    pub(crate) fn report<C: ProducerContext>(
        &self,
        context: &C,
        result: &DeliveryResult<'_>,
        opaque: C::DeliveryOpaque,
    ) {
        self.guard("delivery", || context.delivery(result, opaque));
    }

    /// Calls a user's callback; its panic is logged and counted.
    fn guard(&self, callback: &str, body: impl FnOnce()) {
        if let Err(panic) = catch_panic(body) {
            self.callback_panicked(callback, &panic);
        }
    }

    /// Logs and counts the panic of a callback.
    pub(crate) fn callback_panicked(&self, callback: &str, panic: &str) {
        self.callback_panics.fetch_add(1, Ordering::Relaxed);
        log(|| {
            tracing::error!(
                callback,
                panic,
                "a callback of the producer's context panicked"
            );
        });
    }

    /// Answers the request for a token.
    ///
    /// # Errors
    ///
    /// What is wrong with the token, without showing it. The request is still to be answered.
    pub(crate) fn set_oauth_token(&self, token: &OAuthToken) -> Result<(), KafkaError> {
        let token = token.to_raw()?;
        let client = self.client().ok_or_else(KafkaError::closed)?;
        client.set_oauth_token(&token).map_err(|(code, text)| {
            // The token has been looked at, but what if librdkafka looks more closely?
            KafkaError::with_text(code, without_claims(&self.secrets.redact(&text)))
        })?;
        self.token_failures.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Answers that there is no token; librdkafka raises an error with the reason.
    pub(crate) fn set_oauth_token_failure(&self, reason: &str) -> Result<(), KafkaError> {
        let client = self.client().ok_or_else(KafkaError::closed)?;
        let reason = match self.secrets.redact(reason) {
            // As a C string it is empty, which librdkafka does not take.
            reason if reason.bytes().all(|byte| byte == 0) => "no reason given".into(),
            reason => reason,
        };
        let failures = self.token_failures.fetch_add(1, Ordering::Relaxed) + 1;
        // With a number: an error with the same text as the one before is not raised.
        let told = match failures {
            1 => client.set_oauth_token_failure(&reason),
            _ => client.set_oauth_token_failure(&format!("{reason} (failure {failures} in a row)")),
        };
        told.map_err(|code| self.error_of(&client, code))
    }

    /// How many callbacks of the context have panicked.
    pub(crate) fn callback_panics(&self) -> u64 {
        self.callback_panics.load(Ordering::Relaxed)
    }
}

/// Whether what a message or a call says comes of the fatal error.
fn is_of_fatal(code: RDKafkaErrorCode, fatal: RDKafkaErrorCode) -> bool {
    code == RDKafkaErrorCode::Fatal || (is_fencing(code) && is_fencing(fatal))
}

#[cfg(all(test, feature = "mock"))]
mod tests {
    use super::*;
    use crate::client::topic_handles::GENERATION;
    use crate::{MockCluster, Producer, ProducerRecord};

    /// More topics than there are handles, in turn: none is refused, and nothing is lost of those
    /// whose handle has gone.
    #[tokio::test]
    async fn the_handles_of_topics_have_a_bound() {
        const TOPICS: usize = 5 * GENERATION;
        let cluster = MockCluster::new(1).unwrap();
        let producer: Producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .unwrap();
        let first = producer.topic("topic-0").unwrap();
        let mut futures = Vec::new();
        for _round in 0..2 {
            for number in 0..TOPICS {
                let record = ProducerRecord::to(format!("topic-{number}")).payload("v");
                futures.push(producer.enqueue(record).await.unwrap());
            }
        }
        for future in futures {
            future.await.unwrap();
        }
        // Its handle has gone: it counts as its name.
        assert!(first.upgrade().is_none());
        producer
            .send(ProducerRecord::to(&first).payload("v"))
            .await
            .unwrap();
        assert_eq!(cluster.records("topic-0").await.unwrap().len(), 3);
        producer.close().await;
    }
}
