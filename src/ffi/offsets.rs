//! Owners of `rd_kafka_topic_partition_list_t` and `rd_kafka_consumer_group_metadata_t`.

use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};

use rdkafka_sys::bindings as sys;

#[cfg(feature = "rdkafka")]
use super::convert::to_string;
use crate::error::KafkaError;
use crate::values::{ConsumerGroupMetadata, TopicPartitionOffset, check_offsets, invalid_offsets};

/// A list of partitions with offsets.
#[derive(Debug)]
pub(crate) struct Offsets(NonNull<sys::rd_kafka_topic_partition_list_t>);

// SAFETY: a list is not bound to a thread.
unsafe impl Send for Offsets {}
// SAFETY: the list does not change once it has been created.
unsafe impl Sync for Offsets {}

impl Offsets {
    /// Checks the offsets and copies them into a list.
    ///
    /// # Errors
    ///
    /// Returns an error that says what is wrong with them.
    pub(crate) fn new(offsets: &[TopicPartitionOffset]) -> Result<Self, KafkaError> {
        check_offsets(offsets)?;
        // SAFETY: the call takes an initial capacity only; the returned object is ours.
        let list = unsafe { sys::rd_kafka_topic_partition_list_new(0) };
        let list = NonNull::new(list)
            .expect("rd_kafka_topic_partition_list_new aborts instead of returning NULL");
        let mut list = Self(list);
        for offset in offsets {
            list.add(&c_string("topic", offset.topic())?, offset);
        }
        Ok(list)
    }

    fn add(&mut self, topic: &CStr, offset: &TopicPartitionOffset) {
        // SAFETY: the list is ours alone, and the name is copied. The returned element is valid
        // until the next one is added, and has no metadata yet. The list frees the metadata:
        // `rd_kafka_mem_malloc` uses the same allocator, and aborts instead of returning NULL.
        unsafe {
            let element = sys::rd_kafka_topic_partition_list_add(
                self.0.as_ptr(),
                topic.as_ptr(),
                offset.partition(),
            );
            (*element).offset = offset.offset();
            if let Some(epoch) = offset.leader_epoch() {
                sys::rd_kafka_topic_partition_set_leader_epoch(element, epoch);
            }
            if let Some(metadata) = offset.metadata().filter(|metadata| !metadata.is_empty()) {
                let copy = sys::rd_kafka_mem_malloc(ptr::null_mut(), metadata.len());
                ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast(), metadata.len());
                (*element).metadata = copy;
                (*element).metadata_size = metadata.len();
            }
        }
    }

    pub(super) fn as_ptr(&self) -> *const sys::rd_kafka_topic_partition_list_t {
        self.0.as_ptr()
    }
}

impl Drop for Offsets {
    fn drop(&mut self) {
        // SAFETY: the list is ours.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) }
    }
}

/// A consumer group and one of its members.
#[derive(Debug)]
pub(crate) struct Group(NonNull<sys::rd_kafka_consumer_group_metadata_t>);

// SAFETY: the object is not bound to a thread.
unsafe impl Send for Group {}
// SAFETY: the object does not change once it has been created.
unsafe impl Sync for Group {}

impl Group {
    /// Checks a group's metadata and copies it.
    ///
    /// # Errors
    ///
    /// Returns an error that says what is wrong with it.
    pub(crate) fn new(group: &ConsumerGroupMetadata) -> Result<Self, KafkaError> {
        group.check()?;
        let group_id = c_string("group id", group.group_id())?;
        let member_id = c_string("member id", group.member_id())?;
        let instance_id = group
            .group_instance_id()
            .map(|id| c_string("group instance id", id))
            .transpose()?;
        // SAFETY: the strings live during the call and are copied; NULL stands for no instance id.
        // The returned object is ours.
        let native = unsafe {
            sys::rd_kafka_consumer_group_metadata_new_with_genid(
                group_id.as_ptr(),
                group.generation_id(),
                member_id.as_ptr(),
                instance_id.as_ref().map_or(ptr::null(), |id| id.as_ptr()),
            )
        };
        let native = NonNull::new(native).expect(
            "rd_kafka_consumer_group_metadata_new_with_genid aborts instead of returning NULL",
        );
        Ok(Self(native))
    }

    /// Returns a consumer's group and its current member, or `None` if it has no `group.id`.
    ///
    /// Blocks until librdkafka's main thread answers.
    #[cfg(feature = "rdkafka")]
    pub(crate) fn of_consumer<C: rdkafka::ClientContext>(
        client: &rdkafka::client::Client<C>,
    ) -> Option<Self> {
        // SAFETY: the client is borrowed, so its handle is valid during the call. Both crates use
        // the same `rdkafka-sys`, and so the same librdkafka. Any thread may call it. It returns
        // NULL without a group, otherwise an object that is ours.
        let native = unsafe { sys::rd_kafka_consumer_group_metadata(client.native_ptr()) };
        NonNull::new(native).map(Self)
    }

    /// Copies it into a plain value.
    #[cfg(feature = "rdkafka")]
    pub(crate) fn to_metadata(&self) -> ConsumerGroupMetadata {
        let native = self.as_ptr();
        // SAFETY: the object is valid. Each getter returns NULL or a C string that the object owns.
        let (group_id, generation_id, member_id, instance_id) = unsafe {
            let instance_id = sys::rd_kafka_consumer_group_metadata_group_instance_id(native);
            (
                to_string(sys::rd_kafka_consumer_group_metadata_group_id(native)),
                sys::rd_kafka_consumer_group_metadata_generation_id(native),
                to_string(sys::rd_kafka_consumer_group_metadata_member_id(native)),
                (!instance_id.is_null()).then(|| to_string(instance_id)),
            )
        };
        let group = ConsumerGroupMetadata::new(group_id).with_member(generation_id, member_id);
        match instance_id {
            Some(instance_id) => group.with_group_instance_id(instance_id),
            None => group,
        }
    }

    pub(super) fn as_ptr(&self) -> *const sys::rd_kafka_consumer_group_metadata_t {
        self.0.as_ptr()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: the object is ours.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

/// Copies the elements of a list that have an offset, with their leader epochs, which `rdkafka`
/// does not return.
#[cfg(feature = "rdkafka")]
pub(crate) fn offsets_of_list(list: &rdkafka::TopicPartitionList) -> Vec<TopicPartitionOffset> {
    let count = list.count();
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: the list is borrowed, so it is valid and does not change. It has `count` elements, of
    // the same `rdkafka-sys`.
    let elements = unsafe { std::slice::from_raw_parts((*list.ptr()).elems, count) };
    let with_offset = elements.iter().filter(|element| element.offset >= 0);
    with_offset
        .map(|element| {
            // SAFETY: an element's topic is a C string.
            let topic = unsafe { to_string(element.topic) };
            // SAFETY: the element is valid and part of a list; the call only reads it.
            let epoch = unsafe { sys::rd_kafka_topic_partition_get_leader_epoch(element) };
            let next = TopicPartitionOffset::new(topic, element.partition, element.offset);
            if epoch < 0 {
                next
            } else {
                next.with_leader_epoch(epoch)
            }
        })
        .collect()
}

fn c_string(what: &str, text: &str) -> Result<CString, KafkaError> {
    CString::new(text).map_err(|_| invalid_offsets(format!("the {what} contains a NUL byte")))
}
