//! `c-loop`: the floor. It does what C code would do, without a binding in between.
//!
//! Delivery events are read by their own thread if many messages are in flight, and by the sending
//! thread if there is only one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::contenders::c_client::Client;
use crate::jobs::contender::Contender;
use crate::jobs::job::Job;
use crate::jobs::work::Work;
use crate::measure::sample::Sample;
use crate::works::callback;
use crate::works::callback_producer::CallbackProducer;
use crate::works::deliveries::Deliveries;
use crate::works::tasks;

/// librdkafka itself.
pub(crate) struct CLoop;

impl Contender for CLoop {
    fn run(&self, job: &Job) -> Sample {
        let sender = Sender::new(job);
        if job.case.work != Work::Tasks {
            return callback::run(&sender, job);
        }
        let payload = job.payload();
        callback::connect(&sender, &payload, job);
        tasks::threads(|| sender.on_this_thread(), &payload, job)
    }
}

/// The producer, as one thread uses it.
struct Sender {
    client: Arc<Client>,
    /// The deliveries of what this thread sends.
    deliveries: &'static Deliveries,
    drainer: Option<Arc<Drainer>>,
}

impl Sender {
    fn new(job: &Job) -> Self {
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

    /// Returns the same producer with separate counts for the calling thread.
    fn on_this_thread(&self) -> Self {
        Self {
            client: self.client.clone(),
            deliveries: Deliveries::new(),
            drainer: self.drainer.clone(),
        }
    }
}

impl CallbackProducer for Sender {
    fn produce(&self, topic: usize, payload: &[u8]) {
        let enqueued = self.client.produce(topic, payload, self.deliveries);
        assert!(enqueued, "librdkafka accepts the message");
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

/// A thread that reads delivery events until dropped.
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
