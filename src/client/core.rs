//! The part that both producers share: one librdkafka client, the count of its messages in flight,
//! and its destruction.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use super::config::ClientConfig;
use super::config_errors::creation_error;
use super::context::ProducerContext;
use super::partitioner_callback::partitioner_callback;
use super::secrets::Secrets;
use super::topic_handles::TopicHandles;
use crate::error::KafkaError;
use crate::ffi::{CertificateFailures, Client, Conf, Opaque, Queue};
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
    /// Messages that have been numbered.
    pub(super) issued: AtomicU64,
    /// Messages that are no longer in flight.
    pub(super) settled: AtomicU64,
    /// Settled messages that were delivered.
    pub(super) delivered: AtomicU64,
    /// The value of `delivered` when the transaction began.
    pub(super) delivered_before: AtomicU64,
    closed: AtomicBool,
    pub(super) fatal: OnceLock<KafkaError>,
    pub(super) callback_panics: Arc<AtomicU64>,
    /// Token failures in a row.
    pub(super) token_failures: AtomicU64,
    pub(super) has_partitioner: bool,
    pub(super) takes_batches: bool,
    pub(super) secrets: Secrets,
    pub(super) certificates: Arc<CertificateFailures>,
    opaque: PhantomData<fn(O) -> O>,
}

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
        let callback_panics = Arc::default();
        let partitioner = partitioner_callback(context, &callback_panics);
        let has_partitioner = partitioner.is_some();
        if has_partitioner {
            config.prepare_for_partitioner(&mut conf)?;
        }
        let client = Client::new_producer::<O>(conf, partitioner)
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

    /// Returns the client, or `None` once it has been destroyed.
    ///
    /// [`destroy`](Self::destroy) waits for every clone, so callers should drop theirs soon.
    pub(crate) fn client(&self) -> Option<Arc<Client>> {
        read(&self.live)
            .as_ref()
            .map(|live| Arc::clone(&live.client))
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
        self.closed.store(true, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
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
