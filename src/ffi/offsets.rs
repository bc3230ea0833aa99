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

// SAFETY: nothing of a list is bound to a thread.
unsafe impl Send for Offsets {}
// SAFETY: it does not change once it has been made.
unsafe impl Sync for Offsets {}

impl Offsets {
    /// # Errors
    ///
    /// Names what is wrong.
    pub(crate) fn new(offsets: &[TopicPartitionOffset]) -> Result<Self, KafkaError> {
        check_offsets(offsets)?;
        // SAFETY: takes a size to begin with, returns an object that is ours.
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
        // SAFETY: the list is ours alone and the name is copied. The element that is returned is
        // valid until the next one is added, and has no metadata yet. Its metadata becomes the
        // list's, which frees it: `mem_malloc` is of the same allocator, and aborts instead of
        // returning NULL.
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

/// A consumer group and a member of it.
#[derive(Debug)]
pub(crate) struct Group(NonNull<sys::rd_kafka_consumer_group_metadata_t>);

// SAFETY: nothing of it is bound to a thread.
unsafe impl Send for Group {}
// SAFETY: it does not change once it has been made.
unsafe impl Sync for Group {}

impl Group {
    /// # Errors
    ///
    /// Names what is wrong.
    pub(crate) fn new(group: &ConsumerGroupMetadata) -> Result<Self, KafkaError> {
        group.check()?;
        let group_id = c_string("group id", group.group_id())?;
        let member_id = c_string("member id", group.member_id())?;
        let instance_id = group
            .group_instance_id()
            .map(|id| c_string("group instance id", id))
            .transpose()?;
        // SAFETY: the strings live during the call and are copied; NULL stands for no instance id.
        // The object that is returned is ours.
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

    /// As which member of which group a consumer goes on; none where it has no `group.id`. A word
    /// with librdkafka's main thread.
    #[cfg(feature = "rdkafka")]
    pub(crate) fn of_consumer<C: rdkafka::ClientContext>(
        client: &rdkafka::client::Client<C>,
    ) -> Option<Self> {
        // SAFETY: the client is borrowed, so its handle is valid during the call; it is one of the
        // same librdkafka, as both crates have their bindings from the same `rdkafka-sys`. Any
        // thread may call it; without a group it returns NULL, otherwise an object that is ours.
        let native = unsafe { sys::rd_kafka_consumer_group_metadata(client.native_ptr()) };
        NonNull::new(native).map(Self)
    }

    /// A copy of what it says.
    #[cfg(feature = "rdkafka")]
    pub(crate) fn to_metadata(&self) -> ConsumerGroupMetadata {
        let native = self.as_ptr();
        // SAFETY: the object is valid, and each getter returns NULL or a C string that it owns.
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
        // SAFETY: it is ours.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

/// The elements of a list that have an offset, with their leader epochs, which rdkafka does not show.
#[cfg(feature = "rdkafka")]
pub(crate) fn offsets_of_list(list: &rdkafka::TopicPartitionList) -> Vec<TopicPartitionOffset> {
    let count = list.count();
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: the list is borrowed, so it is valid and does not change, and it has that many
    // elements, of the same `rdkafka-sys`.
    let elements = unsafe { std::slice::from_raw_parts((*list.ptr()).elems, count) };
    let with_offset = elements.iter().filter(|element| element.offset >= 0);
    with_offset
        .map(|element| {
            // SAFETY: an element's topic is a C string.
            let topic = unsafe { to_string(element.topic) };
            // SAFETY: the element is valid, of a list; this only reads it.
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
