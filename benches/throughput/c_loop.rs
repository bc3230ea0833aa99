//! The floor `c-loop`: what C code would do, without a binding in between.
//!
//! The topics' handles are cached, messages are enqueued with `rd_kafka_produce`, and delivery events are counted and destroyed: by a
//! thread of its own where many messages are in flight, by the sending thread where there is only one. A message's opaque is where
//! its delivery is counted.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rdkafka_sys::bindings as sys;

use super::callback::CallbackProducer;
use super::config;
use super::job::Job;
use super::window::Deliveries;
use super::work::Work;

/// How long one look at an empty queue takes: only the end of a run waits for it.
const POLL_MS: c_int = 100;

pub(crate) struct CLoop {
    client: Arc<Client>,
    /// Of what this thread sends.
    deliveries: &'static Deliveries,
    drainer: Option<Arc<Drainer>>,
}

impl CLoop {
    pub(crate) fn new(job: &Job) -> Self {
        let client = Arc::new(Client::new(job));
        let deliveries = Deliveries::new();
        let one_at_a_time = matches!(job.case.work, Work::Latency | Work::Idle);
        let drainer = (!one_at_a_time).then(|| Arc::new(Drainer::start(client.clone())));
        Self {
            client,
            deliveries,
            drainer,
        }
    }

    /// The same producer, with a count of its own for what the calling thread sends.
    pub(crate) fn on_this_thread(&self) -> Self {
        Self {
            client: self.client.clone(),
            deliveries: Deliveries::new(),
            drainer: self.drainer.clone(),
        }
    }

    /// How many of this thread's messages failed.
    pub(crate) fn failed(&self) -> u64 {
        self.deliveries.failed()
    }
}

impl CallbackProducer for CLoop {
    fn produce(&self, topic: usize, payload: &[u8]) {
        let taken = self.client.produce(topic, payload, self.deliveries);
        assert!(taken, "librdkafka takes the message");
    }

    fn flush(&self) {
        self.client.flush();
    }

    fn deliveries(&self) -> &Deliveries {
        self.deliveries
    }

    fn wait_for(&self, count: u64) -> u64 {
        if self.drainer.is_some() {
            return self.deliveries.wait_for(count);
        }
        while self.deliveries.done() < count {
            self.client.drain();
        }
        self.deliveries.done()
    }
}

/// A thread that drains until dropped.
struct Drainer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drainer {
    fn start(client: Arc<Client>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let drain = move || {
            while !stopped.load(Ordering::Relaxed) {
                client.drain();
            }
        };
        Self {
            stop,
            thread: Some(thread::spawn(drain)),
        }
    }
}

impl Drop for Drainer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        debug_assert!(matches!(ended, Some(Ok(()))), "the drainer does not panic");
    }
}

/// A librdkafka producer, its main queue, and the handles of its topics; never null.
struct Client {
    client: *mut sys::rd_kafka_t,
    queue: *mut sys::rd_kafka_queue_t,
    topics: Vec<*mut sys::rd_kafka_topic_t>,
}

// SAFETY: librdkafka's handles may be used from any thread.
unsafe impl Send for Client {}
// SAFETY: and from several at once; `Client` adds no state of its own.
unsafe impl Sync for Client {}

impl Client {
    fn new(job: &Job) -> Self {
        let mut reason = [0; 512];
        let why = |reason: &[u8]| CStr::from_bytes_until_nul(reason).map(CStr::to_owned);
        // SAFETY: no preconditions.
        let conf = unsafe { sys::rd_kafka_conf_new() };
        for (name, value) in config::properties(job) {
            let (name, value) = (c_string(name), c_string(&value));
            // SAFETY: `conf` is live, the strings end with NUL, and `reason` is as long as is said.
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
        // SAFETY: `conf` is live. `rd_kafka_new` takes it over unless it fails, and then the process ends.
        let client = unsafe {
            sys::rd_kafka_conf_set_events(conf, sys::RD_KAFKA_EVENT_DR);
            let producer = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
            sys::rd_kafka_new(producer, conf, reason.as_mut_ptr().cast(), reason.len())
        };
        assert!(!client.is_null(), "{:?}", why(&reason));
        let topic = |name: String| {
            let name = c_string(&name);
            // SAFETY: `client` is live, `name` ends with NUL and is copied; NULL stands for the default topic configuration.
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

    /// Enqueues a copy of `payload`, to be counted at `deliveries`; false if librdkafka refuses it.
    fn produce(&self, topic: usize, payload: &[u8], deliveries: &'static Deliveries) -> bool {
        let flags = sys::RD_KAFKA_MSG_F_COPY;
        let data = payload.as_ptr().cast_mut().cast();
        // SAFETY: the topic is live; the payload is read during the call only (F_COPY); there is no key.
        let refused = unsafe {
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
        refused == 0
    }

    /// Returns when nothing is in flight, and somebody has drained the queue.
    fn flush(&self) {
        const NEVER: c_int = -1;
        // SAFETY: the client is live.
        let result = unsafe { sys::rd_kafka_flush(self.client, NEVER) };
        assert_eq!(
            result as c_int, 0,
            "a flush without a limit of time succeeds"
        );
    }

    /// Waits for an event and counts its deliveries.
    fn drain(&self) {
        // SAFETY: the queue is live. `message_next` is NULL for events other than delivery reports.
        // A message lives until its event is destroyed, after the loop; its code is read as the integer that C keeps there.
        // Its opaque is the `&'static Deliveries` that `produce` gave it.
        let last = unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue, POLL_MS);
            if event.is_null() {
                return;
            }
            let mut run = None::<Run>;
            loop {
                let message = sys::rd_kafka_event_message_next(event);
                if message.is_null() {
                    break;
                }
                let sender = &*(*message)._private.cast::<Deliveries>();
                let code = (&raw const (*message).err).cast::<c_int>().read();
                let run = match &mut run {
                    Some(run) if ptr::eq(run.sender, sender) => run,
                    _ => {
                        run.take().into_iter().for_each(Run::report);
                        run.insert(Run::of(sender))
                    }
                };
                run.done += 1;
                run.failed += u64::from(code != 0);
            }
            sys::rd_kafka_event_destroy(event);
            run
        };
        last.into_iter().for_each(Run::report);
    }
}

/// Deliveries one after the other that were sent by one thread.
struct Run {
    sender: &'static Deliveries,
    done: u64,
    failed: u64,
}

impl Run {
    fn of(sender: &'static Deliveries) -> Self {
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

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: all are live, nobody else has them, and what belongs to the client goes first.
        unsafe {
            for &topic in &self.topics {
                sys::rd_kafka_topic_destroy(topic);
            }
            sys::rd_kafka_queue_destroy(self.queue);
            sys::rd_kafka_destroy(self.client);
        }
    }
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("no NUL in a configuration")
}
