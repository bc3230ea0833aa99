//! The callback that chooses the partition of a record.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use rdkafka_sys::bindings as sys;

use super::convert::slice;
use super::opaque::Opaque;
use crate::sync::catch_panic;

/// Chooses a partition; what is none of the topic's fails the record.
pub(crate) type Chooser = dyn Fn(&Choice<'_>) -> i32 + Send + Sync;

/// Fails the record with `_UNKNOWN_PARTITION`: no topic has so many partitions
/// (rdkafka_msg.c, `rd_kafka_msg_partitioner`).
const NONE: i32 = i32::MAX;

/// A record whose partition is to be chosen, for as long as the callback runs. It cannot leave the
/// thread.
pub(crate) struct Choice<'a> {
    topic: NonNull<sys::rd_kafka_topic_t>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload_len: usize,
    pub(crate) partition_count: i32,
    callback: PhantomData<&'a ()>,
}

impl<'a> Choice<'a> {
    pub(crate) fn topic(&self) -> &'a str {
        // SAFETY: the topic lives for `'a`, and with it its name, a C string.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.topic.as_ptr())) };
        // It came from a `str`.
        name.to_str().unwrap_or_default()
    }

    /// Whether the partition has a leader that librdkafka knows of.
    pub(crate) fn is_available(&self, partition: i32) -> bool {
        // SAFETY: a `Choice` is there only while the callback runs, on its thread, which is when this
        // may be called; the topic is the one that the callback was given.
        (0..self.partition_count).contains(&partition)
            && unsafe {
                sys::rd_kafka_topic_partition_available(self.topic.as_ptr(), partition) != 0
            }
    }
}

/// What librdkafka calls for each record without a partition, once it knows how many there are: in
/// the produce call, or later on a thread of its own.
///
/// # Safety
///
/// For librdkafka alone, at a client whose messages carry an `O` and whose topics have a
/// `Box<Chooser>` as their opaque.
pub(super) unsafe extern "C" fn choose<O: Opaque>(
    topic: *const sys::rd_kafka_topic_t,
    key: *const c_void,
    key_len: usize,
    partition_count: i32,
    chooser: *mut c_void,
    message: *mut c_void,
) -> i32 {
    let Some(topic) = NonNull::new(topic.cast_mut()) else {
        return NONE;
    };
    // SAFETY: by this function's contract; the client keeps it until it has been destroyed. The key
    // is the message's, which does not change meanwhile. `message` is the message's opaque, from
    // `into_raw` of the produce call; whoever takes it back does so when it has failed or has been
    // reported, and this call comes before either.
    let (chooser, key, payload_len) = unsafe {
        (
            &*chooser.cast_const().cast::<Box<Chooser>>(),
            slice(key, key_len),
            O::payload_len(message),
        )
    };
    let choice = Choice {
        topic,
        key,
        payload_len,
        partition_count,
        callback: PhantomData,
    };
    match catch_panic(|| chooser(&choice)) {
        Ok(partition) if (0..partition_count).contains(&partition) => partition,
        _ => NONE,
    }
}
