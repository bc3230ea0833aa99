//! The C callback that chooses the partition of a record.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use rdkafka_sys::bindings as sys;

use super::convert::slice;
use super::opaque::Opaque;
use crate::sync::catch_panic;

/// Chooses a partition. If the topic does not have it, the record fails.
pub(crate) type PartitionerFn = dyn Fn(&PartitionerArgs<'_>) -> i32 + Send + Sync;

/// Makes the record fail with `_UNKNOWN_PARTITION`, because no topic has that many partitions
/// (rdkafka_msg.c, `rd_kafka_msg_partitioner`).
const NONE: i32 = i32::MAX;

/// A record without a partition, and its topic. Lives while the callback runs, on its thread.
pub(crate) struct PartitionerArgs<'a> {
    topic: NonNull<sys::rd_kafka_topic_t>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload_len: usize,
    pub(crate) partition_count: i32,
    callback: PhantomData<&'a ()>,
}

impl<'a> PartitionerArgs<'a> {
    pub(crate) fn topic(&self) -> &'a str {
        // SAFETY: the topic lives for `'a`, and with it its name, a C string.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.topic.as_ptr())) };
        // The name came from a `str`.
        name.to_str().unwrap_or_default()
    }

    /// Returns true if librdkafka knows a leader of the partition.
    pub(crate) fn is_available(&self, partition: i32) -> bool {
        // SAFETY: the function may be called only inside the callback, with its topic. A value of
        // this type exists only there, and is neither `Send` nor `Sync`.
        (0..self.partition_count).contains(&partition)
            && unsafe {
                sys::rd_kafka_topic_partition_available(self.topic.as_ptr(), partition) != 0
            }
    }
}

/// The C callback for each record without a partition.
///
/// librdkafka calls it in the produce call. If it does not know the topic's partitions then, it
/// calls it later, on a thread of its own.
///
/// # Safety
///
/// Only librdkafka may call it, for a client that was created for opaques of type `O` and whose
/// topics have a `Box<PartitionerFn>` as their opaque.
pub(super) unsafe extern "C" fn partition<O: Opaque>(
    topic: *const sys::rd_kafka_topic_t,
    key: *const c_void,
    key_len: usize,
    partition_count: i32,
    partitioner: *mut c_void,
    message: *mut c_void,
) -> i32 {
    let Some(topic) = NonNull::new(topic.cast_mut()) else {
        return NONE;
    };
    // SAFETY: by this function's contract the topic's opaque has that type, and the client keeps it
    // until it has been destroyed. The key belongs to the message, which does not change meanwhile.
    // `message` is the message's opaque, from `into_raw` of the produce call. `from_raw` is called
    // when the message has failed or been reported, which is after this callback.
    let (partitioner, key, payload_len) = unsafe {
        (
            &*partitioner.cast_const().cast::<Box<PartitionerFn>>(),
            slice(key, key_len),
            O::payload_len(message),
        )
    };
    let args = PartitionerArgs {
        topic,
        key,
        payload_len,
        partition_count,
        callback: PhantomData,
    };
    match catch_panic(|| partitioner(&args)) {
        Ok(partition) if (0..partition_count).contains(&partition) => partition,
        _ => NONE,
    }
}
