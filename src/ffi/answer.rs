//! Copies the answers to admin requests out of their events.

use rdkafka_sys::bindings as sys;

use super::convert::to_string;
use super::redeclared::{rd_kafka_error_code, rd_kafka_event_error};
use crate::error::KafkaError;
use crate::values::{Broker, ClusterInfo, PartitionInfo, TopicInfo};

/// The answer to an admin request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The ticket of the request.
    pub(crate) ticket: usize,
    /// The error is librdkafka's code and text. The text may contain values of the configuration.
    pub(crate) result: Result<Description, (i32, String)>,
}

/// The content of an answer.
#[derive(Debug)]
pub(crate) enum Description {
    Cluster(ClusterInfo),
    Topics(Vec<TopicInfo>),
}

impl Answer {
    /// Copies the answer out of an event.
    ///
    /// # Safety
    ///
    /// `event` is valid and has the type `RD_KAFKA_EVENT_DESCRIBECLUSTER_RESULT` or
    /// `RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT`.
    pub(super) unsafe fn new(event: *mut sys::rd_kafka_event_t) -> Self {
        // SAFETY: by this function's contract the event is valid. The objects that it returns live
        // as long as it does. Its opaque is that of the request's options.
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
/// `result` is valid and comes from a request that succeeded.
unsafe fn cluster_of(result: *const sys::rd_kafka_DescribeCluster_result_t) -> ClusterInfo {
    // SAFETY: by this function's contract the result is valid. Its nodes and strings live as long.
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
/// `result` is valid and comes from a request that succeeded.
unsafe fn topics_of(result: *const sys::rd_kafka_DescribeTopics_result_t) -> Vec<TopicInfo> {
    // SAFETY: by this function's contract the result is valid. Its parts live as long.
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
/// `partition` is valid.
unsafe fn described_partition(
    partition: *const sys::rd_kafka_TopicPartitionInfo_t,
) -> PartitionInfo {
    // SAFETY: by this function's contract the partition is valid. Its parts live as long.
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
/// `node` is NULL or valid.
unsafe fn node_id(node: *const sys::rd_kafka_Node_t) -> Option<i32> {
    if node.is_null() {
        return None;
    }
    // SAFETY: by this function's contract the node is valid, as it is not NULL.
    Some(unsafe { sys::rd_kafka_Node_id(node) })
}

/// Returns the pointers of an array, without those that are NULL.
///
/// # Safety
///
/// The array has `count` elements, which live as long as the iterator is used.
unsafe fn pointers<T>(first: *mut *const T, count: usize) -> impl Iterator<Item = *const T> {
    // SAFETY: by this function's contract the index is within the array.
    (0..count)
        .map(move |index| unsafe { *first.add(index) })
        .filter(|pointer| !pointer.is_null())
}
