//! What a cluster says of itself: its brokers, topics and partitions.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::redeclared::{
    rd_kafka_AdminOptions_set_broker, rd_kafka_AdminOptions_set_request_timeout,
    rd_kafka_error_code, rd_kafka_event_error, rd_kafka_metadata,
};
use super::{Client, millis, to_string, with_errstr};
use crate::error::KafkaError;
use crate::metadata::{Broker, ClusterInfo, PartitionInfo, TopicInfo};

/// How long librdkafka lets a request take at the most.
const LONGEST: Duration = Duration::from_secs(3_600);

/// The answer to a request, as it came through the queue.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What the request was given.
    pub(crate) ticket: usize,
    /// Or librdkafka's code and text, which may contain values of the configuration.
    pub(crate) result: Result<Description, (i32, String)>,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Description {
    Cluster(ClusterInfo),
    Topics(Vec<TopicInfo>),
}

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
        let queue = self.main_queue();
        // SAFETY: client, options and queue are valid during the call, which copies the options and
        // takes a reference of its own to the queue.
        unsafe { sys::rd_kafka_DescribeCluster(self.as_ptr(), options.as_ptr(), queue.as_ptr()) }
    }

    /// As [`describe_cluster`](Self::describe_cluster), of a topic. It does not make the topic.
    pub(crate) fn describe_topic(self: &Arc<Self>, name: &CStr, ask: Ask) {
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = Options::new(self, operation, ask);
        let queue = self.main_queue();
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

    /// All topics that the client may see. Blocks, for up to that time.
    ///
    /// # Errors
    ///
    /// librdkafka's code.
    pub(crate) fn all_topics(&self, timeout: Duration) -> Result<Vec<TopicInfo>, i32> {
        let metadata = Metadata::fetch(self, true, timeout)?;
        // SAFETY: what it points to lives as long as the metadata, and its count is that of its
        // array; all is copied.
        unsafe {
            let metadata = metadata.0.as_ptr();
            let topics = elements((*metadata).topics, (*metadata).topic_cnt);
            Ok(topics.map(|topic| topic_info(topic)).collect())
        }
    }

    /// A broker that answers; `None` where none is known by a number. Blocks, for up to that time.
    ///
    /// # Errors
    ///
    /// librdkafka's code.
    pub(crate) fn any_broker(&self, timeout: Duration) -> Result<Option<i32>, i32> {
        let metadata = Metadata::fetch(self, false, timeout)?;
        // SAFETY: as above.
        unsafe {
            let metadata = metadata.0.as_ptr();
            let asked = (*metadata).orig_broker_id;
            let mut brokers = elements((*metadata).brokers, (*metadata).broker_cnt);
            let any = || brokers.next().map(|broker| (*broker).id);
            Ok((asked >= 0).then_some(asked).or_else(any))
        }
    }
}

/// Owner of `rd_kafka_metadata_t`.
struct Metadata(NonNull<sys::rd_kafka_metadata_t>);

impl Metadata {
    fn fetch(client: &Client, all_topics: bool, timeout: Duration) -> Result<Self, i32> {
        let mut metadata = ptr::null();
        let timeout = millis(timeout.min(LONGEST));
        // SAFETY: the client is valid; NULL stands for no topic in particular. On success the pointer
        // is set to an object that is ours.
        let code = unsafe {
            let client = client.as_ptr();
            let all_topics = c_int::from(all_topics);
            rd_kafka_metadata(client, all_topics, ptr::null_mut(), &mut metadata, timeout)
        };
        match NonNull::new(metadata.cast_mut()) {
            Some(metadata) if code == 0 => Ok(Self(metadata)),
            _ => Err(code),
        }
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { sys::rd_kafka_metadata_destroy(self.0.as_ptr()) }
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
        let timeout = millis(ask.timeout.min(LONGEST));
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

impl Answer {
    /// Copies the answer that an event has.
    ///
    /// # Safety
    ///
    /// The event is valid, and of the type `RD_KAFKA_EVENT_DESCRIBECLUSTER_RESULT` or
    /// `RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT`.
    pub(super) unsafe fn new(event: *mut sys::rd_kafka_event_t) -> Self {
        // SAFETY: by this function's contract the event is valid, and so is what it gives out for as
        // long as it lives. It has the opaque of the request's options.
        unsafe {
            let ticket = sys::rd_kafka_event_opaque(event).addr();
            let code = rd_kafka_event_error(event.cast());
            if code != 0 {
                let text = to_string(sys::rd_kafka_event_error_string(event));
                return Self {
                    ticket,
                    result: Err((code, text)),
                };
            }
            let cluster = sys::rd_kafka_event_DescribeCluster_result(event);
            let description = if cluster.is_null() {
                Description::Topics(topics_of(sys::rd_kafka_event_DescribeTopics_result(event)))
            } else {
                Description::Cluster(cluster_of(cluster))
            };
            Self {
                ticket,
                result: Ok(description),
            }
        }
    }
}

/// # Safety
///
/// The result is valid, and of a request that succeeded.
unsafe fn cluster_of(result: *const sys::rd_kafka_DescribeCluster_result_t) -> ClusterInfo {
    // SAFETY: by this function's contract; the nodes and strings live as long as the result.
    unsafe {
        let mut count = 0;
        let nodes = sys::rd_kafka_DescribeCluster_result_nodes(result, &mut count);
        let controller = sys::rd_kafka_DescribeCluster_result_controller(result);
        ClusterInfo {
            id: to_string(sys::rd_kafka_DescribeCluster_result_cluster_id(result)),
            controller: node_id(controller),
            brokers: pointers(nodes, count)
                .map(|node| Broker {
                    id: sys::rd_kafka_Node_id(node),
                    host: to_string(sys::rd_kafka_Node_host(node)),
                    port: sys::rd_kafka_Node_port(node),
                    rack: {
                        let rack = sys::rd_kafka_Node_rack(node);
                        (!rack.is_null()).then(|| to_string(rack))
                    },
                })
                .collect(),
        }
    }
}

/// # Safety
///
/// The result is valid, and of a request that succeeded.
unsafe fn topics_of(result: *const sys::rd_kafka_DescribeTopics_result_t) -> Vec<TopicInfo> {
    // SAFETY: by this function's contract; all that is asked for lives as long as the result.
    unsafe {
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        pointers(topics, count)
            .map(|topic| {
                let error = sys::rd_kafka_TopicDescription_error(topic);
                let error = (!error.is_null()).then(|| rd_kafka_error_code(error));
                let mut count = 0;
                let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &mut count);
                TopicInfo {
                    name: to_string(sys::rd_kafka_TopicDescription_name(topic)),
                    error: error.map(KafkaError::from_code),
                    partitions: pointers(partitions, count)
                        .map(|partition| described_partition(partition))
                        .collect(),
                }
            })
            .collect()
    }
}

/// # Safety
///
/// The partition is valid.
unsafe fn described_partition(
    partition: *const sys::rd_kafka_TopicPartitionInfo_t,
) -> PartitionInfo {
    // SAFETY: by this function's contract; all that is asked for lives as long as the partition.
    unsafe {
        let (mut in_replicas, mut in_isr) = (0, 0);
        let replicas = sys::rd_kafka_TopicPartitionInfo_replicas(partition, &mut in_replicas);
        let isr = sys::rd_kafka_TopicPartitionInfo_isr(partition, &mut in_isr);
        PartitionInfo {
            id: sys::rd_kafka_TopicPartitionInfo_partition(partition),
            leader: node_id(sys::rd_kafka_TopicPartitionInfo_leader(partition)),
            replicas: pointers(replicas, in_replicas)
                .filter_map(|node| node_id(node))
                .collect(),
            isr: pointers(isr, in_isr)
                .filter_map(|node| node_id(node))
                .collect(),
        }
    }
}

/// # Safety
///
/// The node is NULL or valid.
unsafe fn node_id(node: *const sys::rd_kafka_Node_t) -> Option<i32> {
    if node.is_null() {
        return None;
    }
    // SAFETY: it is not NULL, so by this function's contract it is valid.
    Some(unsafe { sys::rd_kafka_Node_id(node) })
}

/// # Safety
///
/// The topic is valid.
unsafe fn topic_info(topic: *const sys::rd_kafka_metadata_topic) -> TopicInfo {
    // SAFETY: by this function's contract; the counts are those of the arrays. The code is read as
    // the C int that it is, because the bindings' type does not have every value; no reference to
    // the whole is made.
    unsafe {
        let code = ptr::addr_of!((*topic).err).cast::<c_int>().read();
        TopicInfo {
            name: to_string((*topic).topic),
            error: (code != 0).then(|| KafkaError::from_code(code)),
            partitions: elements((*topic).partitions, (*topic).partition_cnt)
                .map(|partition| {
                    let leader = (*partition).leader;
                    let replicas = elements((*partition).replicas, (*partition).replica_cnt);
                    let isr = elements((*partition).isrs, (*partition).isr_cnt);
                    PartitionInfo {
                        id: (*partition).id,
                        leader: (leader >= 0).then_some(leader),
                        replicas: replicas.map(|id| *id).collect(),
                        isr: isr.map(|id| *id).collect(),
                    }
                })
                .collect(),
        }
    }
}

/// Pointers to the elements of an array.
///
/// # Safety
///
/// There are so many, or none.
unsafe fn elements<T>(first: *mut T, count: c_int) -> impl Iterator<Item = *const T> {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: by this function's contract it stays within the array.
    (0..count).map(move |index| unsafe { first.add(index) }.cast_const())
}

/// The pointers in an array that are not NULL.
///
/// # Safety
///
/// There are so many, or none, for as long as the iterator is used.
unsafe fn pointers<T>(first: *mut *const T, count: usize) -> impl Iterator<Item = *const T> {
    // SAFETY: by this function's contract it stays within the array.
    (0..count)
        .map(move |index| unsafe { *first.add(index) })
        .filter(|pointer| !pointer.is_null())
}
