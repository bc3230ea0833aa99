//! A message that librdkafka owns, borrowed from its event.

use std::ffi::{CStr, c_int, c_void};
use std::fmt;
use std::ptr::{self, NonNull};

use rdkafka_sys::bindings as sys;

use super::convert::slice;
use super::headers::BorrowedHeaders;
use super::redeclared::{
    rd_kafka_message_headers, rd_kafka_message_status, rd_kafka_message_timestamp,
};
use super::version;
use crate::values::{Header, Persistence, TimestampKind};

/// What the messages of a delivery event have in common; see `DeliveryEvent::next`.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Whether the offsets are the broker's.
    pub(super) has_offsets: bool,
    /// How many messages failed together, or 0 if they were delivered. librdkafka reports the
    /// messages of one request in one event (`rd_kafka_dr_msgq0`).
    pub(super) failed: u32,
    /// The time of librdkafka's clock when the event was taken up, in microseconds. `None` if the
    /// messages do not have the [layout](Layout) that is known.
    pub(super) now: Option<i64>,
}

impl Batch {
    /// That of a message with a broker's offset, of which nothing else is known.
    pub(super) const WITH_OFFSETS: &'static Self = &Self {
        has_offsets: true,
        failed: 0,
        now: None,
    };
}

/// The beginning of librdkafka's `rd_kafka_msg_t` (rdkafka_msg.h), whose first field is the public
/// message.
///
/// The public functions that read these fields take a call for each, and
/// `rd_kafka_message_latency` reads the clock for each message: together a tenth of what a message
/// costs.
#[repr(C)]
struct Layout {
    message: sys::rd_kafka_message_t,
    link: [*mut c_void; 2],
    flags: c_int,
    timestamp_kind: c_int,
    timestamp: i64,
    headers: *mut c_void,
    status: c_int,
    broker_id: i32,
    timeout: i64,
    enqueued: i64,
    backoff: i64,
    id: u64,
    last_id: u64,
    retries: c_int,
}

impl Layout {
    /// Returns true if librdkafka has this layout. One that is not bundled may differ.
    pub(super) fn is_known() -> bool {
        !cfg!(feature = "dynamic-linking") && version::version() == version::BUNDLED
    }
}

/// Whether librdkafka tells how often it has sent a message again.
pub(crate) fn counts_retries() -> bool {
    Layout::is_known()
}

/// What a [`Delivery`](crate::Delivery) has of a message that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) persistence: Persistence,
    pub(crate) timestamp_kind: TimestampKind,
    pub(crate) timestamp_millis: i64,
    /// −1 if none answered.
    pub(crate) broker_id: i32,
    /// From the produce call until the event was taken up.
    pub(crate) latency_micros: u64,
}

/// A message of an event. Lives for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct BorrowedMessage<'a> {
    ptr: NonNull<sys::rd_kafka_message_t>,
    batch: &'a Batch,
}

impl<'a> BorrowedMessage<'a> {
    /// # Safety
    ///
    /// `ptr` points to a message that lives and does not change for `'a`. If the batch has a time,
    /// the message was produced, and [`Layout::is_known`] is true.
    #[inline]
    pub(super) unsafe fn new(ptr: NonNull<sys::rd_kafka_message_t>, batch: &'a Batch) -> Self {
        Self { ptr, batch }
    }

    /// Returns the time of librdkafka's clock in microseconds, if the message was produced and has
    /// the [layout](Layout) that is known.
    pub(super) fn now(&self) -> Option<i64> {
        // SAFETY: the message is valid by `new`'s contract.
        let latency = unsafe { sys::rd_kafka_message_latency(self.ptr.as_ptr()) };
        if latency < 0 || !Layout::is_known() {
            return None;
        }
        // SAFETY: as above, and the layout is known.
        let enqueued = unsafe { (*self.ptr.as_ptr().cast::<Layout>()).enqueued };
        Some(enqueued + latency)
    }

    /// Returns the report of a message that was delivered.
    #[inline]
    pub(crate) fn report(&self) -> Report {
        if self.batch.now.is_none() {
            return self.report_of_calls();
        }
        let message = self.ptr.as_ptr().cast::<Layout>();
        // SAFETY: by `new`'s contract the message is valid and has this layout. Only fields that
        // are integers are read.
        unsafe {
            let timestamp = ((*message).timestamp_kind, (*message).timestamp);
            let (timestamp_kind, timestamp_millis) = timestamp_of(timestamp);
            let broker_id = (*message).broker_id;
            Report {
                persistence: persistence_of((*message).status, broker_id),
                timestamp_kind,
                timestamp_millis,
                broker_id,
                latency_micros: self.latency_micros(),
            }
        }
    }

    /// As [`report`](Self::report), by librdkafka's public functions.
    #[cold]
    fn report_of_calls(&self) -> Report {
        let (timestamp_kind, timestamp_millis) = self.timestamp();
        Report {
            persistence: self.persistence(),
            timestamp_kind,
            timestamp_millis,
            broker_id: self.raw_broker_id(),
            latency_micros: self.latency_micros(),
        }
    }

    /// Returns the offset, which librdkafka may have invented.
    #[inline]
    pub(super) fn raw_offset(&self) -> i64 {
        // SAFETY: the message is valid by `new`'s contract.
        unsafe { (*self.ptr.as_ptr()).offset }
    }

    /// Returns the error code; 0 is success.
    #[inline]
    pub(crate) fn code(&self) -> i32 {
        // SAFETY: the message is valid by `new`'s contract. The field is read as a C int, because
        // the bindings' enum does not have every value; no reference to the enum is created.
        unsafe {
            ptr::addr_of!((*self.ptr.as_ptr()).err)
                .cast::<c_int>()
                .read()
        }
    }

    /// Returns how many messages failed together, this one included.
    pub(crate) fn failed_together(&self) -> usize {
        self.batch.failed as usize
    }

    pub(crate) fn topic(&self) -> &'a str {
        // SAFETY: the message is valid by `new`'s contract. It keeps its topic handle alive, and
        // the handle keeps its name, a C string.
        let name = unsafe {
            let handle = (*self.ptr.as_ptr()).rkt;
            if handle.is_null() {
                return "";
            }
            CStr::from_ptr(sys::rd_kafka_topic_name(handle))
        };
        // A produced name came from a `str`; Kafka's topic names are ASCII.
        name.to_str().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn partition(&self) -> i32 {
        // SAFETY: the message is valid by `new`'s contract.
        unsafe { (*self.ptr.as_ptr()).partition }
    }

    /// Returns the offset, if it is the broker's.
    #[inline]
    pub(crate) fn offset(&self) -> Option<i64> {
        self.offset_if(self.persistence())
    }

    /// As [`offset`](Self::offset), for a caller that already has the persistence.
    #[inline]
    pub(crate) fn offset_if(&self, persistence: Persistence) -> Option<i64> {
        (self.batch.has_offsets && persistence == Persistence::Persisted).then(|| self.raw_offset())
    }

    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: the message is valid by `new`'s contract. The length is that of the bytes, which
        // live as long as the message.
        unsafe {
            let message = self.ptr.as_ptr();
            slice((*message).key, (*message).key_len)
        }
    }

    pub(crate) fn payload(&self) -> Option<&'a [u8]> {
        // SAFETY: the message is valid by `new`'s contract. The length is that of the bytes, which
        // live as long as the message.
        unsafe {
            let message = self.ptr.as_ptr();
            slice((*message).payload, (*message).len)
        }
    }

    #[inline]
    pub(crate) fn payload_len(&self) -> usize {
        // SAFETY: the message is valid by `new`'s contract.
        unsafe { (*self.ptr.as_ptr()).len }
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is valid by `new`'s contract. On success the headers still belong to
        // the message. Otherwise (there are none, or they do not parse) the pointer stays NULL.
        let headers = unsafe {
            rd_kafka_message_headers(self.ptr.as_ptr(), &mut headers);
            BorrowedHeaders::<'a>::new(headers)
        };
        (0..).map_while(move |index| headers.get(index))
    }

    pub(crate) fn timestamp(&self) -> (TimestampKind, i64) {
        let mut kind = 0;
        // SAFETY: the message is valid by `new`'s contract; the out-parameter is ours.
        let millis = unsafe { rd_kafka_message_timestamp(self.ptr.as_ptr(), &mut kind) };
        timestamp_of((kind, millis))
    }

    #[inline]
    pub(crate) fn persistence(&self) -> Persistence {
        // SAFETY: the message is valid by `new`'s contract.
        let status = unsafe { rd_kafka_message_status(self.ptr.as_ptr()) };
        persistence_of(status, self.raw_broker_id())
    }

    /// Returns how often librdkafka has sent the message again after a broker's error or a lost
    /// answer. Always 0 if it does not [count](counts_retries) them.
    #[inline]
    pub(crate) fn retries(&self) -> u64 {
        if self.batch.now.is_none() {
            return 0;
        }
        // SAFETY: by `new`'s contract the message is valid and has this layout. Every bit pattern of
        // the field is valid.
        let retries = unsafe { (*self.ptr.as_ptr().cast::<Layout>()).retries };
        u64::try_from(retries).unwrap_or(0)
    }

    /// Returns the microseconds from the produce call until the event was taken up, or until now if
    /// the layout is not known.
    #[inline]
    pub(crate) fn latency_micros(&self) -> u64 {
        if let Some(now) = self.batch.now {
            // SAFETY: by `new`'s contract the message is valid and has this layout.
            let enqueued = unsafe { (*self.ptr.as_ptr().cast::<Layout>()).enqueued };
            return u64::try_from(now - enqueued).unwrap_or(0);
        }
        // SAFETY: the message is valid by `new`'s contract.
        let micros = unsafe { sys::rd_kafka_message_latency(self.ptr.as_ptr()) };
        u64::try_from(micros).unwrap_or(0)
    }

    /// Returns the id of the broker that answered, or −1 if none did.
    #[inline]
    pub(crate) fn raw_broker_id(&self) -> i32 {
        // SAFETY: the message is valid by `new`'s contract.
        unsafe { sys::rd_kafka_message_broker_id(self.ptr.as_ptr()) }
    }
}

/// Converts librdkafka's kind of a timestamp, of which it has none if that is negative.
#[inline]
fn timestamp_of((kind, millis): (c_int, i64)) -> (TimestampKind, i64) {
    const CREATE: c_int = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME as c_int;
    const APPEND: c_int =
        sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME as c_int;
    let kind = match kind {
        _ if millis < 0 => TimestampKind::NotAvailable,
        CREATE => TimestampKind::CreateTime,
        APPEND => TimestampKind::LogAppendTime,
        _ => TimestampKind::NotAvailable,
    };
    (kind, millis)
}

/// What the status of a message means, with the id of the broker that has answered, or −1.
///
/// Without an answer librdkafka only concludes that a batch was written, from the success of a later
/// one (`rd_kafka_dr_implicit_ack`). A broker that does not know the producer in that partition yet
/// accepts a later batch, though it has refused the first.
#[inline]
fn persistence_of(status: c_int, broker_id: i32) -> Persistence {
    const NOT: c_int = sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED as c_int;
    const PERSISTED: c_int = sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED as c_int;
    match status {
        NOT => Persistence::NotPersisted,
        PERSISTED if broker_id >= 0 => Persistence::Persisted,
        _ => Persistence::PossiblyPersisted,
    }
}

impl fmt::Debug for BorrowedMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BorrowedMessage").field(&self.ptr).finish()
    }
}

#[cfg(all(test, not(feature = "dynamic-linking")))]
mod tests {
    use super::*;

    /// Where it differs, each delivery takes calls, and the layout is to be compared again.
    #[test]
    fn the_bundled_librdkafka_has_the_known_layout() {
        assert!(Layout::is_known());
    }
}
