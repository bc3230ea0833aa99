//! Owner of `rd_kafka_t`, the client.

use std::any::TypeId;
use std::ffi::{CStr, c_int};
use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::call_error::CallError;
use super::certificate::CertificateFailures;
use super::conf::Conf;
use super::convert::{millis, to_string, with_errstr};
use super::failed_creation::{self, CreationFailure};
use super::opaque::Opaque;
use super::partitioner::{PartitionerFn, partition};
use super::process::Process;
use super::redeclared::{
    rd_kafka_fatal_error, rd_kafka_flush, rd_kafka_purge, rd_kafka_set_log_queue,
};
use super::version;
use crate::values::{PurgeConfig, RDKafkaLogLevel};

/// A producer client. All its messages carry opaques of the type that it was created for.
///
/// Queues, topic handles and events of the client hold references to it. Dropping the last
/// reference blocks, because `rd_kafka_destroy` joins librdkafka's threads.
pub(crate) struct Client {
    ptr: NonNull<sys::rd_kafka_t>,
    opaque: TypeId,
    id: u64,
    /// For log lines.
    shown_name: OnceLock<Arc<str>>,
    process: Process,
    // librdkafka's threads use these two through raw pointers. Fields are dropped after `drop` has
    // joined the threads, and an `Arc` does not move its value.
    certificates: Arc<CertificateFailures>,
    partitioner: Option<Arc<Box<PartitionerFn>>>,
}

// SAFETY: any number of threads may use an rd_kafka_t at once (rdkafka.h, "thread-safe").
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// Creates a producer client. Its delivery reports, logs, errors, statistics and token requests
    /// arrive as events on the main queue.
    ///
    /// # Errors
    ///
    /// Returns librdkafka's text, and what it has logged. Both may contain values of the
    /// configuration.
    pub(crate) fn new_producer<O: Opaque>(
        mut conf: Conf,
        partitioner: Option<Box<PartitionerFn>>,
    ) -> Result<Arc<Self>, CreationFailure> {
        version::check().map_err(|text| CreationFailure {
            text,
            logs: Vec::new(),
        })?;
        #[cfg(feature = "ssl")]
        super::openssl::keep_at_exit();
        let partitioner = partitioner.map(Arc::new);
        if let Some(partitioner) = &partitioner {
            let opaque = Arc::as_ptr(partitioner).cast_mut().cast();
            conf.set_partitioner(partition::<O>, opaque);
        }
        conf.set_events(
            sys::RD_KAFKA_EVENT_DR
                | sys::RD_KAFKA_EVENT_LOG
                | sys::RD_KAFKA_EVENT_ERROR
                | sys::RD_KAFKA_EVENT_STATS
                | sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH,
        );
        let creates_tokens = conf.creates_oauth_tokens();
        if creates_tokens {
            conf.separate_sasl_queue();
        }
        // Before the call, because it overwrites keys. OpenSSL's causes come as log lines.
        let security = conf.get("security.protocol").unwrap_or_default();
        // A plugin may count on being loaded once.
        let is_spared = security.ends_with("ssl") && conf.get("plugin.library.paths").is_none();
        let spare = is_spared.then(|| conf.duplicate());
        let certificates = CertificateFailures::install(&mut conf);
        let (client, text) = with_errstr(|errstr, size| {
            // SAFETY: the configuration is valid and ours to pass on; the buffer has the given
            // size.
            unsafe {
                sys::rd_kafka_new(
                    sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
                    conf.as_ptr(),
                    errstr,
                    size,
                )
            }
        });
        let Some(ptr) = NonNull::new(client) else {
            let logs = spare.map(failed_creation::logs).unwrap_or_default();
            return Err(CreationFailure { text, logs });
        };
        // On success the client has taken it over.
        mem::forget(conf);
        // SAFETY: the client is valid. NULL forwards its logs to its main queue.
        unsafe { rd_kafka_set_log_queue(ptr.as_ptr(), ptr::null_mut()) };
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let client = Self {
            ptr,
            opaque: TypeId::of::<O>(),
            id,
            shown_name: OnceLock::new(),
            process: Process::current(),
            certificates,
            partitioner,
        };
        if creates_tokens {
            client
                .create_tokens_in_background()
                .map_err(|text| CreationFailure {
                    text,
                    logs: Vec::new(),
                })?;
        }
        Ok(Arc::new(client))
    }

    /// Returns true if the client was created for opaques of type `O`.
    #[inline]
    pub(super) fn carries<O: Opaque>(&self) -> bool {
        self.opaque == TypeId::of::<O>()
    }

    /// Returns true if a callback chooses partitions.
    #[inline]
    pub(crate) fn has_partitioner(&self) -> bool {
        self.partitioner.is_some()
    }

    /// Returns a number that no other client of this process has or had.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the client's name: its `client.id`, its kind and a number. The `client.id` may
    /// contain a secret.
    pub(crate) fn name(&self) -> String {
        // SAFETY: the client is valid. The name is a C string that lives as long as it does.
        unsafe { to_string(sys::rd_kafka_name(self.as_ptr())) }
    }

    /// Sets the name that log lines show.
    pub(crate) fn set_shown_name(&self, name: Arc<str>) {
        let _ = self.shown_name.set(name);
    }

    /// Returns the name that log lines show.
    pub(crate) fn shown_name(&self) -> Option<&str> {
        self.shown_name.get().map(|name| &**name)
    }

    /// Returns the process in which the client was created.
    pub(crate) fn process(&self) -> Process {
        self.process
    }

    /// Returns the record of refused broker certificates.
    pub(crate) fn certificates(&self) -> Arc<CertificateFailures> {
        Arc::clone(&self.certificates)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_t {
        self.ptr.as_ptr()
    }

    /// Makes librdkafka create OAuth tokens on its background thread.
    ///
    /// Otherwise polling the main queue would create them, and block on HTTP. Unsecured tokens
    /// would not be renewed.
    fn create_tokens_in_background(&self) -> Result<(), String> {
        // SAFETY: the client is valid; the returned error is ours.
        unsafe {
            CallError::check(sys::rd_kafka_sasl_background_callbacks_enable(
                self.as_ptr(),
            ))
        }
        .map_err(|error| error.text)
    }

    /// Blocks until no message is outstanding, at most `timeout`. Linger is off meanwhile.
    ///
    /// Another thread or task must serve the queue, because librdkafka's count of messages falls
    /// only when their events are destroyed.
    pub(crate) fn flush(&self, timeout: Duration) {
        let timeout_ms = millis(timeout).max(1);
        // SAFETY: the client is valid. The result only says whether the call timed out, which the
        // caller finds out by its own count.
        unsafe { rd_kafka_flush(self.as_ptr(), timeout_ms) };
    }

    /// Sets the lowest level of librdkafka's logs.
    pub(crate) fn set_log_level(&self, level: RDKafkaLogLevel) {
        // SAFETY: the client is valid. The call writes one aligned `int`. librdkafka's threads read
        // it without a lock, and only compare it: an old or a new value decides about a line.
        unsafe { sys::rd_kafka_set_log_level(self.as_ptr(), level.to_syslog() as c_int) }
    }

    /// Sets the user and the password of new connections. Never blocks for longer than a copy.
    ///
    /// # Errors
    ///
    /// Returns librdkafka's error. Its text contains neither.
    pub(crate) fn set_sasl_credentials(
        &self,
        username: &CStr,
        password: &CStr,
    ) -> Result<(), CallError> {
        // SAFETY: the client is valid. Both are C strings that live during the call, which copies
        // them under the lock that readers hold. The returned error is ours.
        unsafe {
            CallError::check(sys::rd_kafka_sasl_set_credentials(
                self.as_ptr(),
                username.as_ptr(),
                password.as_ptr(),
            ))
        }
    }

    /// Purges the messages that `config` selects.
    pub(crate) fn purge(&self, config: PurgeConfig) {
        let mut flags = 0;
        if config.covers_queue() {
            flags |= sys::RD_KAFKA_PURGE_F_QUEUE;
        }
        if config.covers_inflight() {
            flags |= sys::RD_KAFKA_PURGE_F_INFLIGHT;
        }
        if config.is_non_blocking() {
            flags |= sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
        }
        // SAFETY: the client is valid. The call fails only for unknown flags, and for consumers.
        unsafe { rd_kafka_purge(self.as_ptr(), flags as c_int) };
    }

    /// Returns the code and the text of the first fatal error, if there was one.
    pub(crate) fn fatal_error(&self) -> Option<(i32, String)> {
        let (code, text) = with_errstr(|errstr, size| {
            // SAFETY: the client is valid; the buffer has the given size.
            unsafe { rd_kafka_fatal_error(self.as_ptr(), errstr, size) }
        });
        (code != 0).then_some((code, text))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A forked child does not have the threads that the call joins.
        if !self.process.is_current() {
            return;
        }
        // SAFETY: this is the last reference. Queue references, topic handles and events each hold
        // one, so they are gone. Callbacks on librdkafka's threads hold none, so this thread is not
        // one of those that the call joins.
        unsafe { sys::rd_kafka_destroy(self.as_ptr()) }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.ptr).finish()
    }
}
