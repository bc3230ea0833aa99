//! Requests for metadata by `rd_kafka_metadata`, which blocks.

use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::client::Client;
use super::convert::{LONGEST_REQUEST, millis, to_string};
use super::redeclared::rd_kafka_metadata;
use crate::error::KafkaError;
use crate::values::{PartitionInfo, TopicInfo};

impl Client {
    /// Returns all topics that the client may see. Blocks up to `timeout`.
    ///
    /// # Errors
    ///
    /// Returns librdkafka's code.
    pub(crate) fn all_topics(&self, timeout: Duration) -> Result<Vec<TopicInfo>, i32> {
        let metadata = Metadata::fetch(self, true, timeout)?;
        // SAFETY: the array and what it points to live as long as the metadata, and the count is
        // that of the array. Everything is copied.
        unsafe {
            let metadata = metadata.0.as_ptr();
            let topics = elements((*metadata).topics, (*metadata).topic_cnt);
            Ok(topics.map(|topic| topic_info(topic)).collect())
        }
    }

    /// Returns the id of a broker that answers, or `None` if no broker's id is known. Blocks up to
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// Returns librdkafka's code.
    pub(crate) fn any_broker(&self, timeout: Duration) -> Result<Option<i32>, i32> {
        let metadata = Metadata::fetch(self, false, timeout)?;
        // SAFETY: as above.
        unsafe {
            let metadata = metadata.0.as_ptr();
            let answered = (*metadata).orig_broker_id;
            let mut brokers = elements((*metadata).brokers, (*metadata).broker_cnt);
            let any = || brokers.next().map(|broker| (*broker).id);
            Ok((answered >= 0).then_some(answered).or_else(any))
        }
    }

    /// Returns who answers a metadata request, or `None` if nobody does within `timeout`. Blocks.
    ///
    /// librdkafka first waits for a broker that is connected and authenticated, and connects to one
    /// if there is none. The request is about the topics that the client knows.
    pub(crate) fn answerer(&self, timeout: Duration) -> Option<Answerer> {
        let metadata = Metadata::fetch(self, false, timeout).ok()?;
        // SAFETY: the array and the strings live as long as the metadata, and the count is that of
        // the array. Everything is copied.
        unsafe {
            let metadata = metadata.0.as_ptr();
            if (*metadata).orig_broker_id >= 0 {
                return Some(Answerer::Broker);
            }
            let brokers = elements((*metadata).brokers, (*metadata).broker_cnt);
            let address = |broker: *const sys::rd_kafka_metadata_broker| {
                format!("{}:{}", to_string((*broker).host), (*broker).port)
            };
            Some(Answerer::Bootstrap(brokers.map(address).collect()))
        }
    }
}

/// Who has answered a metadata request.
#[derive(Debug)]
pub(crate) enum Answerer {
    /// A broker, at the address that the cluster advertises for it.
    Broker,
    /// A server of `bootstrap.servers`. Has the addresses that the cluster advertises, `host:port`
    /// as in librdkafka's texts.
    Bootstrap(Vec<String>),
}

/// Owner of `rd_kafka_metadata_t`.
struct Metadata(NonNull<sys::rd_kafka_metadata_t>);

impl Metadata {
    fn fetch(client: &Client, all_topics: bool, timeout: Duration) -> Result<Self, i32> {
        let mut metadata = ptr::null();
        let timeout = millis(timeout.min(LONGEST_REQUEST));
        // SAFETY: the client is valid, and NULL stands for no topic. On success the pointer is set
        // to an object that is ours; otherwise it stays NULL.
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
        // SAFETY: the metadata is ours.
        unsafe { sys::rd_kafka_metadata_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
///
/// `topic` is valid.
unsafe fn topic_info(topic: *const sys::rd_kafka_metadata_topic) -> TopicInfo {
    // SAFETY: by this function's contract the topic is valid, and the counts are those of the
    // arrays. The code is read as a C int, because the bindings' enum does not have every value; no
    // reference to the struct is created.
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

/// Returns pointers to the elements of an array.
///
/// # Safety
///
/// The array has `count` elements; none if `count` is not positive.
unsafe fn elements<T>(first: *mut T, count: c_int) -> impl Iterator<Item = *const T> {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: by this function's contract the index is within the array.
    (0..count).map(move |index| unsafe { first.add(index) }.cast_const())
}
