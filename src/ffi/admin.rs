//! Admin requests, whose answers come through the queue.

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::client::Client;
use super::convert::{LONGEST_REQUEST, millis, with_errstr};
use super::queue::Queue;
use super::redeclared::{
    rd_kafka_AdminOptions_set_broker, rd_kafka_AdminOptions_set_request_timeout,
};

/// Where a request goes, for how long, and what its answer is known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) ticket: usize,
    pub(crate) timeout: Duration,
    /// `None` is the controller.
    pub(crate) broker: Option<i32>,
}

impl Client {
    /// Asks for the brokers; never blocks. The answer comes in on the main queue, at the latest when
    /// the time is over, unless the client is destroyed before.
    pub(crate) fn describe_cluster(self: &Arc<Self>, ask: Ask) {
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER;
        let options = Options::new(self, operation, ask);
        let queue = Queue::main(self);
        // SAFETY: client, options and queue are valid during the call, which copies the options and
        // takes a reference of its own to the queue.
        unsafe { sys::rd_kafka_DescribeCluster(self.as_ptr(), options.as_ptr(), queue.as_ptr()) }
    }

    /// As [`describe_cluster`](Self::describe_cluster), of a topic. It does not make the topic.
    pub(crate) fn describe_topic(self: &Arc<Self>, name: &CStr, ask: Ask) {
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = Options::new(self, operation, ask);
        let queue = Queue::main(self);
        let mut names = [name.as_ptr()];
        // SAFETY: client, options and queue are valid during the call, which copies the names and the
        // options and takes a reference of its own to the queue. The collection, with a copy of the
        // one name, is ours, and destroyed at once.
        unsafe {
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
            let options = options.as_ptr();
            sys::rd_kafka_DescribeTopics(self.as_ptr(), topics, options, queue.as_ptr());
            sys::rd_kafka_TopicCollection_destroy(topics);
        }
    }
}

/// Owner of `rd_kafka_AdminOptions_t`.
struct Options(NonNull<sys::rd_kafka_AdminOptions_t>);

impl Options {
    fn new(client: &Client, operation: sys::rd_kafka_admin_op_t, ask: Ask) -> Self {
        // SAFETY: the client is valid; the object that is returned is ours.
        let options = unsafe { sys::rd_kafka_AdminOptions_new(client.as_ptr(), operation) };
        let options = NonNull::new(options).expect("librdkafka has options for each operation");
        let options = Self(options);
        let ptr = options.as_ptr();
        let timeout = millis(ask.timeout.min(LONGEST_REQUEST));
        let (code, text) = with_errstr(|errstr, size| {
            // SAFETY: the options are ours; the buffer has the size that is given.
            unsafe { rd_kafka_AdminOptions_set_request_timeout(ptr, timeout, errstr, size) }
        });
        debug_assert_eq!(code, 0, "{text}");
        if let Some(broker) = ask.broker {
            let (code, text) = with_errstr(|errstr, size| {
                // SAFETY: as above.
                unsafe { rd_kafka_AdminOptions_set_broker(ptr, broker, errstr, size) }
            });
            debug_assert_eq!(code, 0, "{text}");
        }
        // SAFETY: the options are ours. The ticket is a number, which nobody takes for an address.
        unsafe {
            let ticket: *mut c_void = ptr::without_provenance_mut(ask.ticket);
            sys::rd_kafka_AdminOptions_set_opaque(options.as_ptr(), ticket);
        }
        options
    }

    fn as_ptr(&self) -> *mut sys::rd_kafka_AdminOptions_t {
        self.0.as_ptr()
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: they are ours.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.as_ptr()) }
    }
}
