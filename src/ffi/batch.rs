//! The produce call for several messages.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr::{addr_of, null_mut};

use rdkafka_sys::bindings as sys;

use super::opaque::Opaque;
use super::topic::{PARTITION_UNASSIGNED, TopicHandle};

/// The maximal number of messages in one call.
pub(crate) const BATCH: usize = 32;

/// The key and the payload of a message; `None` is null.
pub(crate) type KeyAndPayload<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

impl TopicHandle {
    /// Puts up to [`BATCH`] messages into librdkafka's queue, in their order. Never blocks.
    ///
    /// Keys and payloads are copied. A message's delivery report may be served before this returns.
    /// Calls `refused` for each message that was refused, with its index, librdkafka's code and its
    /// opaque. No delivery report follows for it.
    ///
    /// The partitioner chooses all partitions. With `RD_KAFKA_MSG_F_PARTITION`, which lets messages
    /// choose, librdkafka would leak a message whose partition does not exist, and its opaque.
    ///
    /// # Panics
    ///
    /// Panics if the client was not created for opaques of type `O`.
    #[inline]
    pub(crate) fn produce_batch<'a, O: Opaque>(
        &self,
        messages: impl Iterator<Item = (KeyAndPayload<'a>, O)>,
        mut refused: impl FnMut(usize, i32, O),
    ) {
        assert!(
            self.client().carries::<O>(),
            "the client was created for opaques of another type"
        );
        let mut batch = [const { MaybeUninit::<sys::rd_kafka_message_t>::uninit() }; BATCH];
        let mut count = 0;
        for (slot, (bytes, opaque)) in batch.iter_mut().zip(messages) {
            slot.write(self.raw_message(bytes, opaque));
            count += 1;
        }
        let batch = &mut batch[..count];
        // SAFETY: the handle is valid, and `count` messages of the array are initialized. Their
        // bytes live during the call. librdkafka copies them (F_COPY; keys always) and does not
        // write to them. It writes to the `err` of the array's messages and keeps no pointer to the
        // array.
        let enqueued = unsafe {
            sys::rd_kafka_produce_batch(
                self.as_ptr(),
                PARTITION_UNASSIGNED,
                sys::RD_KAFKA_MSG_F_COPY,
                batch.as_mut_ptr().cast(),
                count as c_int,
            )
        };
        if enqueued == count as c_int {
            return;
        }
        for (index, message) in batch.iter().enumerate() {
            // SAFETY: the message is initialized. The code is read as a C int, because the
            // bindings' enum does not have every value; no reference to the enum is created.
            let code = unsafe { addr_of!((*message.as_ptr()).err).cast::<c_int>().read() };
            if code != 0 {
                // SAFETY: the opaque comes from `into_raw` in `raw_message`. The message was
                // refused, so librdkafka keeps no copy of the pointer, and no event will return it.
                let opaque = unsafe { O::from_raw((*message.as_ptr())._private) };
                refused(index, code, opaque);
            }
        }
    }

    #[inline]
    fn raw_message<O: Opaque>(
        &self,
        (key, payload): KeyAndPayload<'_>,
        mut opaque: O,
    ) -> sys::rd_kafka_message_t {
        if self.client().has_partitioner() {
            opaque.set_payload_len(payload.map_or(0, <[u8]>::len));
        }
        // NULL means null; empty bytes have a pointer that is not NULL.
        let bytes = |bytes: Option<&[u8]>| match bytes {
            Some(bytes) => (bytes.as_ptr().cast_mut().cast(), bytes.len()),
            None => (null_mut(), 0),
        };
        let (key, key_len) = bytes(key);
        let (payload, len) = bytes(payload);
        sys::rd_kafka_message_t {
            err: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: self.as_ptr(),
            partition: PARTITION_UNASSIGNED,
            payload,
            len,
            key,
            key_len,
            offset: 0,
            _private: opaque.into_raw(),
        }
    }
}
