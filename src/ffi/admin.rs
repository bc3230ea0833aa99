//! Admin requests, whose answers arrive as events on the main queue.

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

/// The options of an admin request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdminRequest {
    /// Identifies the answer.
    pub(crate) ticket: usize,
    pub(crate) timeout: Duration,
    /// The broker to ask; `None` for the controller.
    pub(crate) broker: Option<i32>,
}

impl Client {
    /// Asks for the brokers of the cluster. Never blocks.
    ///
    /// The answer arrives on the main queue within the timeout, unless the client is destroyed
    /// before.
    pub(crate) fn describe_cluster(self: &Arc<Self>, request: AdminRequest) {
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER;
        let options = Options::new(self, operation, request);
        let queue = Queue::main(self);
        // SAFETY: client, options and queue are valid during the call. It copies the options and
        // takes its own reference to the queue.
        unsafe { sys::rd_kafka_DescribeCluster(self.as_ptr(), options.as_ptr(), queue.as_ptr()) }
    }

    /// Asks for a topic, as [`describe_cluster`](Self::describe_cluster) does for the brokers. Does
    /// not create the topic.
    pub(crate) fn describe_topic(self: &Arc<Self>, name: &CStr, request: AdminRequest) {
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = Options::new(self, operation, request);
        let queue = Queue::main(self);
        let mut names = [name.as_ptr()];
        // SAFETY: client, options and queue are valid during the call. It copies the names and the
        // options and takes its own reference to the queue. The collection copies the one name; it
        // is ours, and destroyed once.
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
    fn new(client: &Client, operation: sys::rd_kafka_admin_op_t, request: AdminRequest) -> Self {
        // SAFETY: the client is valid; the returned object is ours.
        let options = unsafe { sys::rd_kafka_AdminOptions_new(client.as_ptr(), operation) };
        let options = NonNull::new(options).expect("librdkafka has options for each operation");
        let options = Self(options);
        let ptr = options.as_ptr();
        let timeout = millis(request.timeout.min(LONGEST_REQUEST));
        let (code, text) = with_errstr(|errstr, size| {
            // SAFETY: the options are ours; the buffer has the given size.
            unsafe { rd_kafka_AdminOptions_set_request_timeout(ptr, timeout, errstr, size) }
        });
        debug_assert_eq!(code, 0, "{text}");
        if let Some(broker) = request.broker {
            let (code, text) = with_errstr(|errstr, size| {
                // SAFETY: as above.
                unsafe { rd_kafka_AdminOptions_set_broker(ptr, broker, errstr, size) }
            });
            debug_assert_eq!(code, 0, "{text}");
        }
        // SAFETY: the options are ours. librdkafka passes the ticket on and never dereferences it.
        unsafe {
            let ticket: *mut c_void = ptr::without_provenance_mut(request.ticket);
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
        // SAFETY: the options are ours.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.as_ptr()) }
    }
}
