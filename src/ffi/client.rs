//! Owner of `rd_kafka_t`, the client.

use std::any::TypeId;
use std::ffi::c_int;
use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::call_error::CallError;
use super::certificate::Certificates;
use super::conf::Conf;
use super::convert::{millis, with_errstr};
use super::opaque::Opaque;
use super::partitioner::{Chooser, choose};
use super::redeclared::{
    rd_kafka_fatal_error, rd_kafka_flush, rd_kafka_purge, rd_kafka_set_log_queue,
};
use crate::values::PurgeConfig;

/// A producer client. All its messages carry opaques of one type, chosen when it is made.
///
/// Dropping the last reference blocks: `rd_kafka_destroy` joins librdkafka's threads. Queues, topic
/// handles and events of the client hold references.
pub(crate) struct Client {
    ptr: NonNull<sys::rd_kafka_t>,
    opaque: TypeId,
    id: u64,
    // Its threads write to it: dropped, as all fields are, once they have ended.
    certificates: Arc<Certificates>,
    // Declared, and so dropped, after the client has been destroyed. It does not move, because C
    // points to it.
    chooser: Option<Arc<Box<Chooser>>>,
}

// SAFETY: an rd_kafka_t may be used by any number of threads at once (rdkafka.h, "thread-safe").
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// Makes a producer from the configuration; its delivery reports, logs, errors and statistics
    /// come as events of the main queue. Partitions are chosen by `chooser`, if there is one.
    ///
    /// # Errors
    ///
    /// librdkafka's text, which may contain values of the configuration.
    pub(crate) fn new_producer<O: Opaque>(
        mut conf: Conf,
        chooser: Option<Box<Chooser>>,
    ) -> Result<Arc<Self>, String> {
        let chooser = chooser.map(Arc::new);
        if let Some(chooser) = &chooser {
            conf.set_partitioner(choose::<O>, Arc::as_ptr(chooser).cast_mut().cast());
        }
        conf.set_events(
            sys::RD_KAFKA_EVENT_DR
                | sys::RD_KAFKA_EVENT_LOG
                | sys::RD_KAFKA_EVENT_ERROR
                | sys::RD_KAFKA_EVENT_STATS
                | sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH,
        );
        let makes_tokens = conf.makes_oauth_tokens();
        if makes_tokens {
            conf.separate_sasl_queue();
        }
        let certificates = Certificates::watch(&mut conf);
        let (client, text) = with_errstr(|errstr, size| {
            // SAFETY: the configuration is valid and ours to give; the buffer has the size given.
            unsafe {
                sys::rd_kafka_new(
                    sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
                    conf.as_ptr(),
                    errstr,
                    size,
                )
            }
        });
        let ptr = NonNull::new(client).ok_or(text)?;
        // It belongs to the client now (only on success).
        mem::forget(conf);
        // SAFETY: the client is valid; NULL forwards its logs to its main queue.
        unsafe { rd_kafka_set_log_queue(ptr.as_ptr(), ptr::null_mut()) };
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let client = Self {
            ptr,
            opaque: TypeId::of::<O>(),
            id,
            certificates,
            chooser,
        };
        if makes_tokens {
            client.make_tokens_in_background()?;
        }
        Ok(Arc::new(client))
    }

    /// Whether the messages of this client carry values of type `O`.
    #[inline]
    pub(super) fn carries<O: Opaque>(&self) -> bool {
        self.opaque == TypeId::of::<O>()
    }

    /// Whether partitions are chosen by a callback.
    #[inline]
    pub(crate) fn has_chooser(&self) -> bool {
        self.chooser.is_some()
    }

    /// A number that no other client of this process has or had.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// What was found wrong with brokers' certificates.
    pub(crate) fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_t {
        self.ptr.as_ptr()
    }

    /// Has librdkafka make tokens on a thread of its own. Otherwise whoever polls the main queue would
    /// do it, waiting for HTTP, and unsecured tokens would not be made again.
    fn make_tokens_in_background(&self) -> Result<(), String> {
        // SAFETY: the client is valid; the error that is returned is ours.
        unsafe {
            CallError::check(sys::rd_kafka_sasl_background_callbacks_enable(
                self.as_ptr(),
            ))
        }
        .map_err(|error| error.text)
    }

    /// Waits until nothing is outstanding, or that time is over; linger is off meanwhile. In event
    /// mode somebody must serve the queue, or its count never falls.
    pub(crate) fn flush(&self, timeout: Duration) {
        let timeout_ms = millis(timeout).max(1);
        // SAFETY: the client is valid. The result only says whether the time was over, which the
        // caller sees by its own count.
        unsafe { rd_kafka_flush(self.as_ptr(), timeout_ms) };
    }

    /// Purges what the configuration covers.
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
        // SAFETY: the client is valid; librdkafka checks the flags, and this is a producer, so
        // there is no error to return.
        unsafe { rd_kafka_purge(self.as_ptr(), flags as c_int) };
    }

    /// The first fatal error: its code and text.
    pub(crate) fn fatal_error(&self) -> Option<(i32, String)> {
        let (code, text) = with_errstr(|errstr, size| {
            // SAFETY: the client is valid; the buffer has the size that is given.
            unsafe { rd_kafka_fatal_error(self.as_ptr(), errstr, size) }
        });
        (code != 0).then_some((code, text))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: this is the last reference, and whatever belongs to the client holds one, so
        // queue references, topic handles and events are gone. No callback of ours runs on
        // librdkafka's threads with a reference, so this is not one of the threads it joins.
        unsafe { sys::rd_kafka_destroy(self.as_ptr()) }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.ptr).finish()
    }
}
