//! A producer of librdkafka's C API, with as little code around it as a C program has.
//!
//! It caches the topics' handles and enqueues with `rd_kafka_produce`. It reads delivery events,
//! counts their messages and destroys them. The opaque of a message points to where its delivery is
//! counted.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int};
use std::ptr;

use rdkafka_sys::bindings as sys;

use crate::contenders::config;
use crate::jobs::job::Job;
use crate::works::deliveries::Deliveries;

/// How long one poll of an empty queue takes. Only the end of a run waits for it.
const POLL_MS: c_int = 100;

/// A librdkafka producer, its main queue, and the handles of its topics. No pointer is null.
pub(crate) struct Client {
    client: *mut sys::rd_kafka_t,
    queue: *mut sys::rd_kafka_queue_t,
    topics: Vec<*mut sys::rd_kafka_topic_t>,
}

// SAFETY: librdkafka's handles may be used from any thread.
unsafe impl Send for Client {}
// SAFETY: librdkafka's handles may be used from several threads at once. `Client` adds no state.
unsafe impl Sync for Client {}

impl Client {
    /// Creates the producer for `job`, and a handle for each topic.
    pub(crate) fn new(job: &Job) -> Self {
        let mut reason = [0; 512];
        let why = |reason: &[u8]| CStr::from_bytes_until_nul(reason).map(CStr::to_owned);
        // SAFETY: no preconditions.
        let conf = unsafe { sys::rd_kafka_conf_new() };
        for (name, value) in config::properties(job) {
            let (name, value) = (c_string(name), c_string(&value));
            // SAFETY: `conf` is live, the strings end with NUL, and `reason` has the given length.
            let result = unsafe {
                sys::rd_kafka_conf_set(
                    conf,
                    name.as_ptr(),
                    value.as_ptr(),
                    reason.as_mut_ptr().cast(),
                    reason.len(),
                )
            };
            assert_eq!(result as c_int, 0, "{:?}", why(&reason));
        }
        // SAFETY: `conf` is live. `rd_kafka_new` takes ownership of it unless it fails, and then
        // the process ends.
        let client = unsafe {
            sys::rd_kafka_conf_set_events(conf, sys::RD_KAFKA_EVENT_DR);
            let producer = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
            sys::rd_kafka_new(producer, conf, reason.as_mut_ptr().cast(), reason.len())
        };
        assert!(!client.is_null(), "{:?}", why(&reason));
        let topic = |name: String| {
            let name = c_string(&name);
            // SAFETY: `client` is live. `name` ends with NUL and is copied. NULL selects the default
            // topic configuration.
            let topic = unsafe { sys::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
            assert!(!topic.is_null(), "the topic's name is valid");
            topic
        };
        let topics = job.topics().map(topic).collect();
        // SAFETY: `client` is live.
        let queue = unsafe { sys::rd_kafka_queue_get_main(client) };
        Self {
            client,
            queue,
            topics,
        }
    }

    /// Enqueues a copy of `payload`, whose delivery is counted in `deliveries`.
    ///
    /// Returns false if librdkafka rejects it.
    pub(crate) fn produce(
        &self,
        topic: usize,
        payload: &[u8],
        deliveries: &'static Deliveries,
    ) -> bool {
        let flags = sys::RD_KAFKA_MSG_F_COPY;
        let data = payload.as_ptr().cast_mut().cast();
        // SAFETY: the topic is live. The payload is read only during the call (F_COPY). There is no
        // key.
        let rejected = unsafe {
            sys::rd_kafka_produce(
                self.topics[topic],
                -1,
                flags,
                data,
                payload.len(),
                ptr::null(),
                0,
                ptr::from_ref(deliveries).cast_mut().cast(),
            )
        };
        rejected == 0
    }

    /// Blocks until no message is in flight. Another thread must drain the queue meanwhile.
    pub(crate) fn flush(&self) {
        const NEVER: c_int = -1;
        // SAFETY: the client is live.
        let result = unsafe { sys::rd_kafka_flush(self.client, NEVER) };
        assert_eq!(result as c_int, 0, "a flush without a time limit succeeds");
    }

    /// Waits up to 100 ms for an event and counts its deliveries.
    pub(crate) fn drain(&self) {
        // SAFETY: the queue is live. `message_next` is NULL for events other than delivery reports.
        // A message lives until its event is destroyed, after the loop. Its code is read as the
        // integer that C keeps there. Its opaque is the `&'static Deliveries` that `produce` set.
        let last = unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue, POLL_MS);
            if event.is_null() {
                return;
            }
            let mut batch = None::<Batch>;
            loop {
                let message = sys::rd_kafka_event_message_next(event);
                if message.is_null() {
                    break;
                }
                let sender = &*(*message)._private.cast::<Deliveries>();
                let code = (&raw const (*message).err).cast::<c_int>().read();
                let batch = match &mut batch {
                    Some(batch) if ptr::eq(batch.sender, sender) => batch,
                    _ => {
                        batch.take().into_iter().for_each(Batch::report);
                        batch.insert(Batch::new(sender))
                    }
                };
                batch.done += 1;
                batch.failed += u64::from(code != 0);
            }
            sys::rd_kafka_event_destroy(event);
            batch
        };
        last.into_iter().for_each(Batch::report);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: all pointers are live and have no other owner. What belongs to the client is
        // destroyed before it.
        unsafe {
            for &topic in &self.topics {
                sys::rd_kafka_topic_destroy(topic);
            }
            sys::rd_kafka_queue_destroy(self.queue);
            sys::rd_kafka_destroy(self.client);
        }
    }
}

/// Consecutive deliveries of messages from one sending thread.
struct Batch {
    sender: &'static Deliveries,
    done: u64,
    failed: u64,
}

impl Batch {
    fn new(sender: &'static Deliveries) -> Self {
        Self {
            sender,
            done: 0,
            failed: 0,
        }
    }

    fn report(self) {
        self.sender.report(self.done, self.failed);
    }
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("no NUL in a configuration")
}
