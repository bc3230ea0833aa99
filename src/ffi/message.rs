//! A message that librdkafka owns, borrowed from its event.

use std::ffi::{CStr, c_int, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use rdkafka_sys::bindings as sys;

use super::convert::slice;
use super::headers::BorrowedHeaders;
use super::redeclared::{
    rd_kafka_message_headers, rd_kafka_message_status, rd_kafka_message_timestamp,
};
use crate::values::{Header, Persistence, TimestampKind};

/// What the messages of a delivery event have in common; see `DeliveryEvent::next`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Batch {
    /// Whether the offsets are the broker's.
    pub(super) has_offsets: bool,
    /// How many messages failed together, or 0 if they were delivered. librdkafka reports the
    /// messages of one request in one event (`rd_kafka_dr_msgq0`).
    pub(super) failed: u32,
}

#[cfg(feature = "mock")]
impl Batch {
    /// That of a consumed message.
    pub(super) fn with_offsets() -> Self {
        Self {
            has_offsets: true,
            failed: 0,
        }
    }
}

/// Whether [`BorrowedMessage::retries`] can be read. A shared library may be of another version,
/// whose struct may be another one.
pub(crate) const COUNTS_RETRIES: bool = cfg!(not(feature = "dynamic-linking"));

/// The start of `rd_kafka_msg_t` (rdkafka_msg.h), which is private to librdkafka 2.12: no public
/// function returns the number of retries. `Cargo.toml` allows one minor version, for this and for
/// `fail_transaction_to_renew`.
#[repr(C)]
struct ProducedMessage {
    message: sys::rd_kafka_message_t,
    link: [*mut c_void; 2],
    flags: c_int,
    timestamp_type: c_int,
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

/// A message of an event. Lives for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct BorrowedMessage<'a> {
    ptr: NonNull<sys::rd_kafka_message_t>,
    batch: Batch,
    event: PhantomData<&'a ()>,
}

impl<'a> BorrowedMessage<'a> {
    /// # Safety
    ///
    /// `ptr` points to a message that lives and does not change for `'a`.
    #[inline]
    pub(super) unsafe fn new(ptr: NonNull<sys::rd_kafka_message_t>, batch: Batch) -> Self {
        Self {
            ptr,
            batch,
            event: PhantomData,
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

    #[inline]
    pub(crate) fn timestamp(&self) -> (TimestampKind, i64) {
        const CREATE: c_int =
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME as c_int;
        const APPEND: c_int =
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME as c_int;
        let mut kind = 0;
        // SAFETY: the message is valid by `new`'s contract; the out-parameter is ours.
        let millis = unsafe { rd_kafka_message_timestamp(self.ptr.as_ptr(), &mut kind) };
        let kind = match kind {
            _ if millis < 0 => TimestampKind::NotAvailable,
            CREATE => TimestampKind::CreateTime,
            APPEND => TimestampKind::LogAppendTime,
            _ => TimestampKind::NotAvailable,
        };
        (kind, millis)
    }

    #[inline]
    pub(crate) fn persistence(&self) -> Persistence {
        const NOT: c_int = sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED as c_int;
        const PERSISTED: c_int = sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED as c_int;
        // SAFETY: the message is valid by `new`'s contract.
        match unsafe { rd_kafka_message_status(self.ptr.as_ptr()) } {
            NOT => Persistence::NotPersisted,
            PERSISTED => Persistence::Persisted,
            _ => Persistence::PossiblyPersisted,
        }
    }

    /// Returns how often librdkafka has sent the message again after a broker's error or a lost
    /// answer. Always 0 if it does not [count](COUNTS_RETRIES) them.
    #[inline]
    pub(crate) fn retries(&self) -> u64 {
        if !COUNTS_RETRIES {
            return 0;
        }
        // SAFETY: the message is valid by `new`'s contract. librdkafka's produced messages are of
        // this struct, whose first field is the public one (`rd_kafka_message2msg`); a message of
        // an event is never a copy. Every bit pattern of the field is valid.
        let retries = unsafe {
            let message = self.ptr.as_ptr().cast::<ProducedMessage>();
            ptr::addr_of!((*message).retries).read()
        };
        u64::try_from(retries).unwrap_or(0)
    }

    /// Returns the microseconds from the produce call until now.
    #[inline]
    pub(crate) fn latency_micros(&self) -> u64 {
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

impl fmt::Debug for BorrowedMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BorrowedMessage").field(&self.ptr).finish()
    }
}
