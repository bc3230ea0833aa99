//! The part that both producers share: one librdkafka client, the count of its messages in flight,
//! and its destruction.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use super::config::ClientConfig;
use super::config_values::{is_transactional, message_max_bytes};
use super::context::ProducerContext;
use super::login::{Changes, Login};
use super::partitioner_callback::partitioner_callback;
use super::secrets::Secrets;
use super::thinned_log::ThinnedLog;
use super::tls_errors;
use super::topic_handles::TopicHandles;
use crate::error::{KafkaError, WhyClosed};
use crate::ffi::{CertificateFailures, Client, Conf, Opaque, Process, Queue};
use crate::sync::{read, write};
use crate::values::PurgeConfig;

/// One client whose messages carry a value of type `O`.
///
/// Its methods are in the file of their concept. Produce calls are in `produce`, topic handles in
/// `topics`, and the count of messages in `in_flight`. Errors are in `errors`, calls of the context
/// in `callbacks`, and OAuth tokens in `tokens`.
///
/// # Destroying the client
///
/// A message is in flight from before its produce call until it is [settled](Self::settle). That
/// is after its report was served, or after the call refused it. Once the core is
/// [closed](Self::close) and [`in_flight`](Self::in_flight) is zero, no produce call can still
/// succeed. Only then may [`destroy`](Self::destroy) be called.
#[derive(Debug)]
pub(crate) struct Core<O> {
    /// `None` once the client has been destroyed.
    pub(super) live: RwLock<Option<Live>>,
    pub(super) client_id: u64,
    /// `client.id`
    #[cfg(feature = "metrics")]
    configured_client_id: String,
    /// Messages that have been numbered.
    pub(super) issued: AtomicU64,
    /// Those of them that librdkafka took, and the size of their payloads.
    pub(super) enqueued: AtomicU64,
    pub(super) enqueued_bytes: AtomicU64,
    /// Messages that are no longer in flight.
    pub(super) settled: AtomicU64,
    /// Settled messages that were delivered.
    pub(super) delivered: AtomicU64,
    /// The value of `delivered` when the transaction began.
    pub(super) delivered_before: AtomicU64,
    /// Whether it is closed, and why: see [`why_closed`](Self::why_closed).
    closed: AtomicU8,
    process: Process,
    pub(super) fatal: OnceLock<KafkaError>,
    pub(super) callback_panics: Arc<AtomicU64>,
    /// Token failures in a row.
    pub(super) token_failures: AtomicU64,
    pub(super) has_partitioner: bool,
    pub(super) takes_batches: bool,
    /// The highest syslog level of the log lines that the context gets.
    pub(super) shown_level: AtomicI32,
    /// What the user has changed since the creation.
    pub(super) changes: Mutex<Changes>,
    /// `message.max.bytes`, the limit of librdkafka's produce calls.
    pub(super) message_max_bytes: usize,
    pub(super) secrets: RwLock<Secrets>,
    pub(super) login: Login,
    #[cfg(feature = "statistics")]
    has_statistics: bool,
    pub(super) certificates: Arc<CertificateFailures>,
    /// Lines that are thinned out.
    pub(crate) log: Arc<ThinnedLog>,
    pub(super) is_transactional: bool,
    opaque: PhantomData<fn(O) -> O>,
}

/// The property that makes librdkafka write statistics.
#[cfg(feature = "statistics")]
const STATISTICS_INTERVAL: &str = "statistics.interval.ms";

/// The syslog level of the lines that say that a connection has broken.
pub(super) const INFO: i32 = 6;

/// Lets a transactional client log broken connections, whatever the user wants to see: they say
/// that a request may arrive late. Returns the level that the user wants to see.
fn prepare_logs(conf: &mut Conf) -> i32 {
    let level: Option<i32> = conf.get("log_level").and_then(|level| level.parse().ok());
    // With `debug` librdkafka logs everything anyway.
    let logs_everything = conf.get("debug").is_some_and(|debug| !debug.is_empty());
    match level {
        Some(level) if level < INFO && is_transactional(conf) && !logs_everything => {
            // The value is valid.
            let _ = conf.set("log_level", &INFO.to_string());
            level
        }
        _ => i32::MAX,
    }
}

/// The values of [`Core::closed`].
const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const RUNTIME_ENDED: u8 = 2;

#[derive(Debug)]
pub(super) struct Live {
    pub(super) client: Arc<Client>,
    pub(super) topics: TopicHandles,
}

impl<O: Opaque> Core<O> {
    /// Creates the client and returns it with its main queue.
    ///
    /// # Errors
    ///
    /// Returns an error that says what is wrong with the configuration.
    pub(crate) fn new<C: ProducerContext>(
        config: &ClientConfig,
        mut conf: Conf,
        context: &Arc<C>,
    ) -> Result<(Self, Queue), KafkaError> {
        let secrets = config.secrets();
        let login = Login::of(&conf);
        #[cfg(feature = "statistics")]
        let has_statistics = conf.get(STATISTICS_INTERVAL).as_deref() != Some("0");
        #[cfg(feature = "metrics")]
        let configured_client_id = conf.get("client.id").unwrap_or_default();
        let callback_panics = Arc::default();
        let log = Arc::<ThinnedLog>::default();
        let partitioner = partitioner_callback(context, &callback_panics, &log);
        let has_partitioner = partitioner.is_some();
        if has_partitioner {
            config.prepare_for_partitioner(&mut conf)?;
        }
        let shown_level = prepare_logs(&mut conf);
        let is_transactional = is_transactional(&conf);
        let message_max_bytes = message_max_bytes(&conf);
        let client = Client::new_producer::<O>(conf, partitioner)
            .map_err(|failure| tls_errors::error_of(&failure, config, &secrets))?;
        let name: Arc<str> = secrets.redact(&client.name()).into();
        client.set_shown_name(Arc::clone(&name));
        log.set_client(name);
        let queue = Queue::main(&client);
        let process = client.process();
        let core = Self {
            client_id: client.id(),
            #[cfg(feature = "metrics")]
            configured_client_id,
            certificates: client.certificates(),
            live: RwLock::new(Some(Live {
                client,
                topics: TopicHandles::default(),
            })),
            issued: AtomicU64::new(0),
            enqueued: AtomicU64::new(0),
            enqueued_bytes: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            delivered_before: AtomicU64::new(0),
            closed: AtomicU8::new(OPEN),
            process,
            fatal: OnceLock::new(),
            callback_panics,
            token_failures: AtomicU64::new(0),
            has_partitioner,
            shown_level: AtomicI32::new(shown_level),
            changes: Mutex::default(),
            message_max_bytes,
            takes_batches: config.get("plugin.library.paths").is_none(),
            log,
            is_transactional,
            secrets: RwLock::new(secrets),
            login,
            #[cfg(feature = "statistics")]
            has_statistics,
            opaque: PhantomData,
        };
        Ok((core, queue))
    }

    /// Returns the client, or `None` once it has been destroyed, and in a forked child, where its
    /// calls could wait for ever.
    ///
    /// [`destroy`](Self::destroy) waits for every clone, so callers should drop theirs soon.
    pub(crate) fn client(&self) -> Option<Arc<Client>> {
        if self.is_forked() {
            return None;
        }
        read(&self.live)
            .as_ref()
            .map(|live| Arc::clone(&live.client))
    }

    /// Returns `client.id`.
    #[cfg(feature = "metrics")]
    pub(crate) fn configured_client_id(&self) -> &str {
        &self.configured_client_id
    }

    /// Returns the client's name for the field `client` of events, without secrets.
    pub(crate) fn client_name(&self) -> Option<&str> {
        self.log.client()
    }

    /// # Errors
    ///
    /// librdkafka writes no statistics.
    #[cfg(feature = "statistics")]
    pub(crate) fn check_statistics(&self) -> Result<(), KafkaError> {
        if self.has_statistics {
            return Ok(());
        }
        Err(KafkaError::config(
            Some(STATISTICS_INTERVAL),
            "statistics: configuration property statistics.interval.ms is 0, so librdkafka writes \
             none; set it to an interval in milliseconds",
        ))
    }

    /// Purges the messages that `config` selects.
    pub(crate) fn purge(&self, config: PurgeConfig) {
        if let Some(client) = self.client() {
            client.purge(config);
        }
    }

    /// Returns the number of events in the main queue.
    pub(crate) fn queued_events(&self) -> u64 {
        let client = self.client();
        client.map_or(0, |client| Queue::main(&client).len())
    }

    /// Makes every later produce call fail.
    pub(crate) fn close(&self) {
        self.closed.fetch_max(CLOSED, Ordering::SeqCst);
    }

    /// As [`close`](Self::close), because the runtime has ended.
    pub(crate) fn runtime_ended(&self) {
        self.closed.store(RUNTIME_ENDED, Ordering::SeqCst);
    }

    /// Returns true if the core is closed, also because this process is a forked child.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) != OPEN || self.is_forked()
    }

    /// Returns why the core is closed. All errors that say so come from here.
    #[cold]
    pub(crate) fn why_closed(&self) -> WhyClosed {
        if self.is_forked() {
            WhyClosed::Forked
        } else if self.closed.load(Ordering::SeqCst) == RUNTIME_ENDED {
            WhyClosed::RuntimeEnded
        } else {
            WhyClosed::Closed
        }
    }

    /// Returns the error of a call on a closed core.
    #[cold]
    pub(crate) fn closed_error(&self) -> KafkaError {
        KafkaError::closed(self.why_closed())
    }

    /// Returns true if this process is a forked child of the one that created the client.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        !self.process.is_current()
    }

    /// Returns an error if nobody serves the queue any more, because the runtime has ended or this
    /// process is a forked child.
    pub(crate) fn check_served(&self) -> Result<(), KafkaError> {
        match self.why_closed() {
            WhyClosed::Closed => Ok(()),
            WhyClosed::RuntimeEnded | WhyClosed::Forked => Err(self.closed_error()),
        }
    }

    /// Destroys the client. Blocks until librdkafka's threads have terminated.
    ///
    /// The queue must have been dropped, and no message may be in flight.
    pub(crate) fn destroy(&self) {
        let Some(Live { client, topics }) = write(&self.live).take() else {
            return;
        };
        drop(topics);
        // A produce call may hold a reference after its message was reported. If it dropped the
        // last one, the user's thread would block.
        while Arc::strong_count(&client) > 1 {
            std::thread::yield_now();
        }
        drop(client);
    }
}

#[cfg(test)]
impl Core<crate::ffi::Carried<()>> {
    /// A client that reaches no broker, and whose queue nobody serves.
    pub(super) fn without_brokers(mut config: ClientConfig) -> Self {
        config.set("bootstrap.servers", "127.0.0.1:1");
        let conf = config.to_conf().unwrap();
        let context = Arc::new(super::context::DefaultProducerContext);
        Self::new(&config, conf, &context).unwrap().0
    }
}
