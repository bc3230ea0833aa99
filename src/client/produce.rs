//! The produce calls, for one record and for a batch.

use super::core::Core;
use crate::error::{KafkaError, RDKafkaErrorCode};
use crate::ffi::{Message, Opaque, PARTITION_UNASSIGNED};
use crate::message::{Fields, Plain, TopicName, ZERO_COPY_FROM};
use crate::values::Header;

/// The framing of a message at most, without its headers (`RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD`).
const MAX_OVERHEAD: usize = 36;

impl<O: Opaque> Core<O> {
    /// Puts a [numbered](Self::issue) message into librdkafka's queue. Never blocks.
    ///
    /// The fields must have been [checked](Fields::check). A payload of at least
    /// [`ZERO_COPY_FROM`] bytes is borrowed rather than copied, if the opaque can keep its guard.
    ///
    /// # Errors
    ///
    /// Returns the reason and the opaque. The fields are unchanged, and the caller must settle the
    /// message.
    #[inline]
    pub(crate) fn produce(
        &self,
        fields: &mut Fields<'_>,
        mut opaque: O,
    ) -> Result<(), (KafkaError, O)> {
        let topic = match self.handle(&fields.topic) {
            Ok(topic) => topic,
            Err(error) => return Err((error, opaque)),
        };
        let bytes = fields.payload_len();
        if bytes >= ZERO_COPY_FROM {
            borrow_payload(fields, &mut opaque);
        }
        let message = Message {
            partition: fields.partition,
            key: fields.key.as_deref(),
            payload: fields.payload.as_deref(),
            timestamp: fields.timestamp,
            headers: &fields.headers,
        };
        let Err((code, opaque)) = topic.produce(message, opaque) else {
            self.count_enqueued(1, bytes);
            return Ok(());
        };
        Err(self.not_produced(code, fields, opaque))
    }

    #[cold]
    fn not_produced(&self, code: i32, fields: &mut Fields<'_>, mut opaque: O) -> (KafkaError, O) {
        if let Some(guard) = opaque.take_payload_guard() {
            fields.payload = Some(guard.into_payload());
        }
        let error = if RDKafkaErrorCode::from(code) == RDKafkaErrorCode::MessageSizeTooLarge {
            let headers: usize = fields.headers.iter().map(header_size).sum();
            self.too_large(fields.key.as_deref(), fields.payload.as_deref(), headers)
        } else {
            self.message_error(code, fields.partition)
        };
        (error, opaque)
    }

    /// The error of a record that is larger than the produce calls accept.
    #[cold]
    fn too_large(&self, key: Option<&[u8]>, payload: Option<&[u8]>, headers: usize) -> KafkaError {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let size = MAX_OVERHEAD + len(key) + len(payload) + headers;
        KafkaError::over_message_max_bytes(size, self.message_max_bytes)
    }

    /// Returns true if records may be produced in batches: if the configuration loads no plugins.
    ///
    /// If the partitioner refuses a message of a batch, librdkafka passes the caller's struct to
    /// interceptors. It lacks the part from which their functions read headers and timestamps.
    #[inline]
    pub(crate) fn takes_batches(&self) -> bool {
        self.takes_batches
    }

    /// Puts [plain](Plain) records of one topic into librdkafka's queue with one call.
    ///
    /// Returns the records that were refused, by their index. The caller must settle those.
    pub(crate) fn produce_batch(
        &self,
        topic: &TopicName<'_>,
        batch: &[Plain<'_>],
        opaques: impl Iterator<Item = O>,
    ) -> Vec<(usize, KafkaError, O)> {
        let topic = match self.handle(topic) {
            Ok(topic) => topic,
            Err(error) => {
                let all = opaques.enumerate();
                return all
                    .map(|(index, opaque)| (index, error.clone(), opaque))
                    .collect();
            }
        };
        let mut refused = Vec::new();
        let messages = batch.iter().map(Plain::as_bytes).zip(opaques);
        topic.produce_batch(messages, |index, code, opaque| {
            let error = if RDKafkaErrorCode::from(code) == RDKafkaErrorCode::MessageSizeTooLarge {
                let (key, payload) = batch[index].as_bytes();
                self.too_large(key, payload, 0)
            } else {
                self.message_error(code, PARTITION_UNASSIGNED)
            };
            refused.push((index, error, opaque));
        });
        let bytes: usize = batch.iter().map(Plain::payload_len).sum();
        let not_taken = refused
            .iter()
            .map(|(index, ..)| batch[*index].payload_len());
        let bytes = bytes - not_taken.sum::<usize>();
        self.count_enqueued((batch.len() - refused.len()) as u64, bytes);
        refused
    }
}

/// Lets librdkafka borrow the payload, if the opaque can keep its guard.
fn borrow_payload(fields: &mut Fields<'_>, opaque: &mut impl Opaque) {
    if let Some(guard) = fields.take_payload_guard() {
        if let Err(guard) = opaque.guard_payload(guard) {
            fields.payload = Some(guard.into_payload());
        }
    }
}

/// What librdkafka counts for a header (`rd_kafka_header_add`).
fn header_size(header: Header<'_>) -> usize {
    let (name, value) = (header.name.len(), header.value.map_or(0, <[u8]>::len));
    name + value + varint_size(name) + varint_size(value)
}

/// The size of a length as a zigzag varint.
fn varint_size(len: usize) -> usize {
    let bits = usize::BITS + 1 - len.leading_zeros();
    bits.div_ceil(7) as usize
}
