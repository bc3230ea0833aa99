//! Owner of `rd_kafka_topic_t`, and the produce call.

use std::ffi::{CString, c_int, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka_sys::bindings as sys;

use super::client::Client;
use super::headers::NativeHeaders;
use super::opaque::Opaque;
use super::redeclared::{rd_kafka_last_error, rd_kafka_producev};
use crate::values::Headers;

/// The partition of a message for which the partitioner chooses.
pub(crate) const PARTITION_UNASSIGNED: i32 = -1;

/// A client's handle of a topic.
pub(crate) struct TopicHandle {
    ptr: NonNull<sys::rd_kafka_topic_t>,
    client: Arc<Client>,
}

// SAFETY: any number of threads may use a topic handle at once, as the client itself.
unsafe impl Send for TopicHandle {}
// SAFETY: as above.
unsafe impl Sync for TopicHandle {}

/// The arguments of a produce call, without the topic and the opaque. librdkafka copies all of
/// them, except a borrowed payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// May be [`PARTITION_UNASSIGNED`].
    pub(crate) partition: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: Option<&'a [u8]>,
    /// Milliseconds since the Unix epoch, positive.
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: &'a Headers,
}

impl TopicHandle {
    /// Opens a topic. The first handle of a topic makes librdkafka request its metadata.
    ///
    /// # Errors
    ///
    /// Returns librdkafka's code.
    pub(crate) fn open(client: &Arc<Client>, name: &str) -> Result<Arc<Self>, i32> {
        const INVALID_ARG: i32 = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__INVALID_ARG as i32;
        let name = CString::new(name).map_err(|_| INVALID_ARG)?;
        // SAFETY: client and name are valid; NULL stands for the default topic configuration.
        let topic =
            unsafe { sys::rd_kafka_topic_new(client.as_ptr(), name.as_ptr(), ptr::null_mut()) };
        match NonNull::new(topic) {
            Some(ptr) => Ok(Arc::new(Self {
                ptr,
                client: Arc::clone(client),
            })),
            // SAFETY: the call takes no arguments. The value is this thread's, set by the call
            // above.
            None => Err(unsafe { rd_kafka_last_error() }),
        }
    }

    /// Returns the [`id`](Client::id) of its client.
    #[inline]
    pub(crate) fn client_id(&self) -> u64 {
        self.client.id()
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_topic_t {
        self.ptr.as_ptr()
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Puts a message into librdkafka's queue. Never blocks.
    ///
    /// Its delivery report may be served before this returns. If the opaque has a
    /// [payload guard](Opaque::guard_payload), that payload is sent in place of the message's, and
    /// is borrowed rather than copied.
    ///
    /// # Errors
    ///
    /// Returns librdkafka's code and the opaque. No delivery report follows.
    ///
    /// # Panics
    ///
    /// Panics if the client was not created for opaques of type `O`.
    #[inline]
    pub(crate) fn produce<O: Opaque>(
        &self,
        message: Message<'_>,
        mut opaque: O,
    ) -> Result<(), (i32, O)> {
        assert!(
            self.client.carries::<O>(),
            "the client was created for opaques of another type"
        );
        let payload = match opaque.guarded_payload() {
            // The guard keeps the bytes until the event with the report has been destroyed
            // (`DeliveryEvent`), or returns to the caller with the opaque.
            Some(bytes) => Bytes::new(Some(bytes), 0),
            None => Bytes::new(message.payload, sys::RD_KAFKA_MSG_F_COPY),
        };
        if self.client.has_partitioner() {
            opaque.set_payload_len(payload.len);
        }
        let opaque = opaque.into_raw();
        let code = if message.timestamp.is_none() && message.headers.is_empty() {
            self.produce_plain(message.partition, message.key, payload, opaque)
        } else {
            let timestamp = message.timestamp.unwrap_or(0);
            let key = Bytes::new(message.key, 0);
            self.produce_full(
                message.partition,
                key,
                payload,
                timestamp,
                message.headers,
                opaque,
            )
        };
        if code == 0 {
            Ok(())
        } else {
            // SAFETY: it comes from `into_raw` above. The call failed, so librdkafka keeps no copy
            // of the pointer, and no event will return it.
            Err((code, unsafe { O::from_raw(opaque) }))
        }
    }

    #[inline]
    fn produce_plain(
        &self,
        partition: i32,
        key: Option<&[u8]>,
        payload: Bytes,
        opaque: *mut c_void,
    ) -> c_int {
        let key = Bytes::new(key, 0);
        // SAFETY: the handle is valid. The bytes live during the call. librdkafka copies them
        // (F_COPY; keys always), or borrows the payload from its guard. It does not write to them.
        let result = unsafe {
            sys::rd_kafka_produce(
                self.ptr.as_ptr(),
                partition,
                payload.flags,
                payload.ptr.cast_mut(),
                payload.len,
                key.ptr,
                key.len,
                opaque,
            )
        };
        if result == 0 {
            0
        } else {
            // SAFETY: the call takes no arguments. The value is this thread's, and set on every
            // failure of the call above (rdkafka_msg.c, rd_kafka_msg_new).
            unsafe { rd_kafka_last_error() }
        }
    }

    /// With a timestamp of 0, librdkafka takes the current time.
    #[inline(never)]
    fn produce_full(
        &self,
        partition: i32,
        key: Bytes,
        payload: Bytes,
        timestamp: i64,
        headers: &Headers,
        opaque: *mut c_void,
    ) -> c_int {
        let headers = (!headers.is_empty()).then(|| NativeHeaders::new(headers));
        let headers_ptr = headers
            .as_ref()
            .map_or(ptr::null_mut(), NativeHeaders::as_ptr);
        // SAFETY: the arguments are tags, each followed by values of the types that rdkafka.h
        // (rd_kafka_vtype_t) requires, and end with END. Client, handle and headers are valid. The
        // bytes live during the call, and are copied, or the payload is borrowed from its guard.
        let code = unsafe {
            use sys::rd_kafka_vtype_t as tag;
            rd_kafka_producev(
                self.client.as_ptr(),
                tag::RD_KAFKA_VTYPE_RKT as c_int,
                self.ptr.as_ptr(),
                tag::RD_KAFKA_VTYPE_PARTITION as c_int,
                partition,
                tag::RD_KAFKA_VTYPE_MSGFLAGS as c_int,
                payload.flags,
                tag::RD_KAFKA_VTYPE_KEY as c_int,
                key.ptr,
                key.len,
                tag::RD_KAFKA_VTYPE_VALUE as c_int,
                payload.ptr,
                payload.len,
                tag::RD_KAFKA_VTYPE_TIMESTAMP as c_int,
                timestamp,
                tag::RD_KAFKA_VTYPE_HEADERS as c_int,
                headers_ptr,
                tag::RD_KAFKA_VTYPE_OPAQUE as c_int,
                opaque,
                tag::RD_KAFKA_VTYPE_END as c_int,
            )
        };
        if code == 0 {
            // The message owns the headers now.
            std::mem::forget(headers);
        }
        code
    }
}

/// A key or a payload, as arguments for C.
#[derive(Clone, Copy)]
struct Bytes {
    /// NULL means null; empty bytes have a pointer that is not NULL.
    ptr: *const c_void,
    len: usize,
    flags: c_int,
}

impl Bytes {
    fn new(bytes: Option<&[u8]>, flags: c_int) -> Self {
        let (ptr, len) = match bytes {
            Some(bytes) => (bytes.as_ptr().cast(), bytes.len()),
            None => (ptr::null(), 0),
        };
        Self { ptr, len, flags }
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours. The client is alive, as `self` still holds it.
        unsafe { sys::rd_kafka_topic_destroy(self.ptr.as_ptr()) }
    }
}

impl fmt::Debug for TopicHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicHandle").field(&self.ptr).finish()
    }
}
