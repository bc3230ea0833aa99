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

/// The partition of a message that names none: the partitioner chooses.
pub(crate) const PARTITION_UNASSIGNED: i32 = -1;

/// A handle of a topic at its client.
pub(crate) struct TopicHandle {
    ptr: NonNull<sys::rd_kafka_topic_t>,
    client: Arc<Client>,
}

// SAFETY: topic handles may be used by any number of threads at once, as the client itself.
unsafe impl Send for TopicHandle {}
// SAFETY: as above.
unsafe impl Sync for TopicHandle {}

/// What goes into a produce call beside the topic and the opaque; all of it is copied, but for a
/// payload that is lent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// −1: the partitioner chooses.
    pub(crate) partition: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: Option<&'a [u8]>,
    /// Milliseconds, positive.
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: &'a Headers,
}

impl TopicHandle {
    /// A handle of a topic; a first one of that name starts a look-up of its metadata.
    ///
    /// # Errors
    ///
    /// The code that librdkafka gives.
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
            // SAFETY: takes nothing; the value is this thread's, of the call just made.
            None => Err(unsafe { rd_kafka_last_error() }),
        }
    }

    /// The [`id`](Client::id) of its client.
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

    /// Puts a message into librdkafka's queue; never blocks. Its delivery event may be served
    /// before this returns. A payload that the opaque has [on loan](Opaque::loan) goes in place of
    /// the message's.
    ///
    /// # Errors
    ///
    /// librdkafka's code, and the opaque back: no delivery report follows.
    ///
    /// # Panics
    ///
    /// Where `O` is not the type that the client was made for.
    #[inline]
    pub(crate) fn produce<O: Opaque>(
        &self,
        message: Message<'_>,
        mut opaque: O,
    ) -> Result<(), (i32, O)> {
        assert!(
            self.client.carries::<O>(),
            "the client's opaques are of another type"
        );
        let loan = opaque.payload_guard().and_then(|place| place.as_ref());
        let payload = match loan {
            // It stays with the opaque, where it does not move, until the event with the report
            // has been destroyed (`DeliveryEvent`), or goes back to the caller with it.
            Some(loan) => Bytes::new(Some(loan.bytes()), 0),
            None => Bytes::new(message.payload, sys::RD_KAFKA_MSG_F_COPY),
        };
        if self.client.has_chooser() {
            opaque.set_payload_len(payload.len);
        }
        let opaque = opaque.into_raw();
        let code = if message.timestamp.is_none() && message.headers.is_empty() {
            self.produce_plain(message, payload, opaque)
        } else {
            self.produce_full(message, payload, opaque)
        };
        if code == 0 {
            Ok(())
        } else {
            // SAFETY: it is from `into_raw` above; the call failed, so librdkafka has dropped its
            // copy of the pointer, and no event brings it.
            Err((code, unsafe { O::from_raw(opaque) }))
        }
    }

    #[inline]
    fn produce_plain(&self, message: Message<'_>, payload: Bytes, opaque: *mut c_void) -> c_int {
        let key = Bytes::new(message.key, 0);
        // SAFETY: the handle is valid; the bytes live during the call, and librdkafka copies them
        // (F_COPY; keys always), or the payload is lent. It does not write to them.
        let result = unsafe {
            sys::rd_kafka_produce(
                self.ptr.as_ptr(),
                message.partition,
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
            // SAFETY: takes nothing; the value is this thread's, of the call just made. It is
            // set on every failure (rdkafka_msg.c, rd_kafka_msg_new).
            unsafe { rd_kafka_last_error() }
        }
    }

    #[inline(never)]
    fn produce_full(&self, message: Message<'_>, payload: Bytes, opaque: *mut c_void) -> c_int {
        let key = Bytes::new(message.key, 0);
        let headers = (!message.headers.is_empty()).then(|| NativeHeaders::new(message.headers));
        let headers_ptr = headers
            .as_ref()
            .map_or(ptr::null_mut(), NativeHeaders::as_ptr);
        // 0 is librdkafka's "now".
        let timestamp = message.timestamp.unwrap_or(0);
        // SAFETY: the list is of tags, each followed by arguments of the types that rdkafka.h
        // (rd_kafka_vtype_t) wants for it, and ends with END. Client, handle and headers are
        // valid, the bytes live during the call and are copied, or the payload is lent.
        let code = unsafe {
            use sys::rd_kafka_vtype_t as tag;
            rd_kafka_producev(
                self.client.as_ptr(),
                tag::RD_KAFKA_VTYPE_RKT as c_int,
                self.ptr.as_ptr(),
                tag::RD_KAFKA_VTYPE_PARTITION as c_int,
                message.partition,
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
            // They are librdkafka's now.
            std::mem::forget(headers);
        }
        code
    }
}

/// A key or a payload, as C wants it.
#[derive(Clone, Copy)]
struct Bytes {
    /// NULL stands for null, and never for empty bytes.
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
        // SAFETY: the handle is ours, and the client, which `self` still holds, is alive.
        unsafe { sys::rd_kafka_topic_destroy(self.ptr.as_ptr()) }
    }
}

impl fmt::Debug for TopicHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicHandle").field(&self.ptr).finish()
    }
}
