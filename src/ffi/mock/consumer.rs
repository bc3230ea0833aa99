//! A consumer without a group and without committed offsets, to read the mock cluster's records.

use std::ffi::{CStr, c_char, c_int};
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::arguments::{check, topic_name};
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::conf::Conf;
use crate::ffi::convert::{millis, with_errstr};
use crate::ffi::message::{Batch, BorrowedMessage};
use crate::ffi::redeclared::rd_kafka_last_error;

/// A consumer client. Dropping it blocks until its threads have terminated.
pub(crate) struct Consumer(NonNull<sys::rd_kafka_t>);

// SAFETY: any thread may use and destroy an rd_kafka_t.
unsafe impl Send for Consumer {}

/// A partition of a topic, according to the cluster's metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition {
    pub(crate) id: i32,
    /// True if the partition has a leader that the metadata lists as a broker.
    pub(crate) has_leader: bool,
}

impl Consumer {
    /// Creates a consumer. `conf` must not have a `group.id`, so that there is no group to leave.
    pub(crate) fn new(conf: Conf) -> Result<Self, KafkaError> {
        let (client, text) = with_errstr(|errstr, size| {
            // SAFETY: the configuration is valid and ours to pass on; the buffer has the given
            // size.
            unsafe {
                sys::rd_kafka_new(
                    sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                    conf.as_ptr(),
                    errstr,
                    size,
                )
            }
        });
        let client = NonNull::new(client)
            .ok_or_else(|| KafkaError::with_text(RDKafkaErrorCode::Fail, text))?;
        // On success the client has taken it over.
        mem::forget(conf);
        Ok(Self(client))
    }

    fn as_ptr(&self) -> *mut sys::rd_kafka_t {
        self.0.as_ptr()
    }

    /// Returns the partitions of a topic. Asks for all topics, because asking for one may create
    /// it.
    pub(crate) fn partitions(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<Vec<Partition>, KafkaError> {
        let topic = topic_name(topic)?;
        let metadata = Metadata::of_all_topics(self, timeout)?;
        metadata.partitions(&topic).unwrap_or_else(|| {
            Err(KafkaError::from_code(
                RDKafkaErrorCode::UnknownTopicOrPartition,
            ))
        })
    }

    /// Returns the offset of the first message and the offset after the last one.
    pub(crate) fn watermarks(
        &self,
        topic: &str,
        partition: i32,
        timeout: Duration,
    ) -> Result<(i64, i64), KafkaError> {
        let topic = topic_name(topic)?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: client, name and out-parameters are valid during the call.
        check(unsafe {
            rd_kafka_query_watermark_offsets(
                self.as_ptr(),
                topic.as_ptr(),
                partition,
                &mut low,
                &mut high,
                millis(timeout),
            )
        })?;
        Ok((low, high))
    }

    /// Prepares to read partitions of a topic.
    pub(crate) fn reader(&self, topic: &str) -> Result<TopicReader<'_>, KafkaError> {
        let topic = topic_name(topic)?;
        // SAFETY: client and name are valid; NULL stands for the default topic configuration.
        let topic =
            unsafe { sys::rd_kafka_topic_new(self.as_ptr(), topic.as_ptr(), ptr::null_mut()) };
        let Some(topic) = NonNull::new(topic) else {
            // SAFETY: the call takes no arguments. The value is this thread's, set by the call
            // above.
            return Err(KafkaError::from_code(unsafe { rd_kafka_last_error() }));
        };
        // SAFETY: the client is valid; the returned queue is ours.
        let queue = unsafe { sys::rd_kafka_queue_new(self.as_ptr()) };
        Ok(TopicReader {
            topic,
            queue: NonNull::new(queue)
                .expect("rd_kafka_queue_new aborts instead of returning NULL"),
            started: Vec::new(),
            consumer: PhantomData,
        })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // SAFETY: the client is ours. Readers, with their topic handles and queues, borrow it, so
        // they are gone.
        unsafe { sys::rd_kafka_destroy(self.as_ptr()) }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Consumer").field(&self.0).finish()
    }
}

/// Owner of `rd_kafka_metadata_t`.
struct Metadata(NonNull<sys::rd_kafka_metadata_t>);

impl Metadata {
    fn of_all_topics(consumer: &Consumer, timeout: Duration) -> Result<Self, KafkaError> {
        let mut metadata = ptr::null();
        // SAFETY: the client is valid, and NULL stands for no topic. On success the metadata is
        // ours.
        check(unsafe {
            rd_kafka_metadata(
                consumer.as_ptr(),
                1,
                ptr::null_mut(),
                &mut metadata,
                millis(timeout),
            )
        })?;
        let metadata = NonNull::new(metadata.cast_mut()).expect("metadata comes with success");
        Ok(Self(metadata))
    }

    /// Returns the partitions of a topic, or `None` if the topic does not exist.
    fn partitions(&self, name: &CStr) -> Option<Result<Vec<Partition>, KafkaError>> {
        let metadata = self.0.as_ptr();
        // SAFETY: the metadata is valid and ours, the counts are those of the arrays, and names are
        // C strings. Codes are read as C ints, because the bindings' enum does not have every
        // value. No reference to a struct with such an enum is created.
        unsafe {
            let brokers: Vec<i32> = elements((*metadata).brokers, (*metadata).broker_cnt)
                .map(|broker| (*broker).id)
                .collect();
            let topic = elements((*metadata).topics, (*metadata).topic_cnt)
                .find(|&topic| CStr::from_ptr((*topic).topic) == name)?;
            if let Err(error) = check(ptr::addr_of!((*topic).err).cast::<c_int>().read()) {
                return Some(Err(error));
            }
            let partitions = elements((*topic).partitions, (*topic).partition_cnt)
                .map(|partition| Partition {
                    id: (*partition).id,
                    has_leader: brokers.contains(&(*partition).leader),
                })
                .collect();
            Some(Ok(partitions))
        }
    }
}

/// Returns pointers to the elements of an array.
///
/// # Safety
///
/// `array` has `len` elements; none if `len` is not positive.
unsafe fn elements<T>(array: *mut T, len: c_int) -> impl Iterator<Item = *mut T> {
    let len = usize::try_from(len).unwrap_or(0);
    // SAFETY: by this function's contract the index is within the array.
    (0..len).map(move |index| unsafe { array.add(index) })
}

impl Drop for Metadata {
    fn drop(&mut self) {
        // SAFETY: the metadata is ours.
        unsafe { sys::rd_kafka_metadata_destroy(self.0.as_ptr()) }
    }
}

/// Reads partitions of one topic into one queue.
pub(crate) struct TopicReader<'a> {
    topic: NonNull<sys::rd_kafka_topic_t>,
    queue: NonNull<sys::rd_kafka_queue_t>,
    started: Vec<i32>,
    consumer: PhantomData<&'a Consumer>,
}

impl TopicReader<'_> {
    /// Starts to read a partition from an offset.
    pub(crate) fn start(&mut self, partition: i32, offset: i64) -> Result<(), KafkaError> {
        // SAFETY: topic handle and queue are valid. `drop` stops the partition before it destroys
        // them.
        let result = unsafe {
            sys::rd_kafka_consume_start_queue(
                self.topic.as_ptr(),
                partition,
                offset,
                self.queue.as_ptr(),
            )
        };
        if result != 0 {
            // SAFETY: the call takes no arguments. The value is this thread's, set by the call
            // above.
            return Err(KafkaError::from_code(unsafe { rd_kafka_last_error() }));
        }
        self.started.push(partition);
        Ok(())
    }

    /// Returns the next message or error, or `None` after `timeout`.
    pub(crate) fn next(&self, timeout: Duration) -> Option<ConsumedMessage<'_>> {
        // SAFETY: the queue is valid; the returned message is ours.
        let message = unsafe { sys::rd_kafka_consume_queue(self.queue.as_ptr(), millis(timeout)) };
        NonNull::new(message).map(|ptr| ConsumedMessage {
            ptr,
            reader: PhantomData,
        })
    }
}

impl Drop for TopicReader<'_> {
    fn drop(&mut self) {
        for &partition in &self.started {
            // SAFETY: the handle is valid and has started the partition. The result does not
            // matter, as the queue is no longer read.
            unsafe { sys::rd_kafka_consume_stop(self.topic.as_ptr(), partition) };
        }
        // SAFETY: both are ours. The client is alive, as `self` borrows it. Messages borrow `self`,
        // so they are gone.
        unsafe {
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
            sys::rd_kafka_topic_destroy(self.topic.as_ptr());
        }
    }
}

impl fmt::Debug for TopicReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicReader").field(&self.topic).finish()
    }
}

/// Owner of a consumed message, which may stand for an error.
pub(crate) struct ConsumedMessage<'a> {
    ptr: NonNull<sys::rd_kafka_message_t>,
    reader: PhantomData<&'a TopicReader<'a>>,
}

impl ConsumedMessage<'_> {
    pub(crate) fn get(&self) -> BorrowedMessage<'_> {
        // SAFETY: the message is valid, ours, and lives until `self` is dropped. Its offset is the
        // broker's: librdkafka sets the status of consumed messages to PERSISTED (rdkafka_op.c,
        // rd_kafka_op_new_fetch_msg).
        unsafe { BorrowedMessage::new(self.ptr, Batch::WITH_OFFSETS) }
    }
}

impl Drop for ConsumedMessage<'_> {
    fn drop(&mut self) {
        // SAFETY: the message is ours. The client is alive, as the reader borrows it.
        unsafe { sys::rd_kafka_message_destroy(self.ptr.as_ptr()) }
    }
}

// Functions that return an enum, declared with `c_int` as in `ffi::redeclared`.
#[allow(clashing_extern_declarations)]
unsafe extern "C" {
    fn rd_kafka_metadata(
        rk: *mut sys::rd_kafka_t,
        all_topics: c_int,
        only_rkt: *mut sys::rd_kafka_topic_t,
        metadata: *mut *const sys::rd_kafka_metadata_t,
        timeout_ms: c_int,
    ) -> c_int;

    fn rd_kafka_query_watermark_offsets(
        rk: *mut sys::rd_kafka_t,
        topic: *const c_char,
        partition: i32,
        low: *mut i64,
        high: *mut i64,
        timeout_ms: c_int,
    ) -> c_int;
}
