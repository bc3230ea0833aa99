//! The produce call for several messages.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr::{addr_of, null_mut};

use rdkafka_sys::bindings as sys;

use super::opaque::Opaque;
use super::topic::{PARTITION_UNASSIGNED, TopicHandle};

/// How many messages one call takes at most.
pub(crate) const BATCH: usize = 32;

/// The bytes of a message; `None` is null.
pub(crate) type KeyAndPayload<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

impl TopicHandle {
    /// Puts up to [`BATCH`] messages into librdkafka's queue, in their order; never blocks. Keys and
    /// payloads are copied. Delivery events may be served before this returns. Those that are refused
    /// come back: their places, librdkafka's codes, and the opaques, for which no delivery report
    /// follows.
    ///
    /// The partitioner chooses for all of them. A call for messages with partitions of their own
    /// (`RD_KAFKA_MSG_F_PARTITION`) would lose one whose partition does not exist, with its opaque.
    ///
    /// # Panics
    ///
    /// Where `O` is not the type that the client was made for.
    #[inline]
    pub(crate) fn produce_batch<'a, O: Opaque>(
        &self,
        messages: impl Iterator<Item = (KeyAndPayload<'a>, O)>,
        mut refused: impl FnMut(usize, i32, O),
    ) {
        assert!(
            self.client().carries::<O>(),
            "the client's opaques are of another type"
        );
        let mut batch = [const { MaybeUninit::<sys::rd_kafka_message_t>::uninit() }; BATCH];
        let mut count = 0;
        for (place, (bytes, opaque)) in batch.iter_mut().zip(messages) {
            place.write(self.raw_message(bytes, opaque));
            count += 1;
        }
        let batch = &mut batch[..count];
        // SAFETY: the handle is valid, and so many messages of the array are filled in. Their bytes
        // live during the call, and librdkafka copies them (F_COPY; keys always) and does not write
        // to them. Of the array it changes the messages' `err`, and keeps nothing.
        let taken = unsafe {
            sys::rd_kafka_produce_batch(
                self.as_ptr(),
                PARTITION_UNASSIGNED,
                sys::RD_KAFKA_MSG_F_COPY,
                batch.as_mut_ptr().cast(),
                count as c_int,
            )
        };
        if taken == count as c_int {
            return;
        }
        for (index, message) in batch.iter().enumerate() {
            // SAFETY: the message is filled in. The code is read as the C int that it is, because
            // the bindings' type does not have every value; no reference is made.
            let code = unsafe { addr_of!((*message.as_ptr()).err).cast::<c_int>().read() };
            if code != 0 {
                // SAFETY: the opaque is from `into_raw` of `raw_message`. The message failed, so
                // librdkafka has dropped its copy of the pointer, and no event brings it.
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
        if self.client().has_chooser() {
            opaque.set_payload_len(payload.map_or(0, <[u8]>::len));
        }
        // NULL stands for null, and never for empty bytes.
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
