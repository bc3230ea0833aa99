//! A record that is sent, and the result of its delivery.
//!
//! This wing may use `ffi`, `values`, `error` and `sync`. To be read in this order:
//!
//! - `topic`, `record`: what a caller sends;
//! - `send_span`: the span of a record;
//! - `attachment`, `intercepted_record`: what the context's hook changes, and how it is undone;
//! - `enqueue_error`, `send_error`, `error_predicates`: the errors that return the record;
//! - `delivery`, `owned_message`: the result of a delivery;
//! - `message_state`, `delivery_future`: what a message carries until then, and how a caller gets
//!   the result.

mod attachment;
mod delivery;
mod delivery_future;
mod enqueue_error;
mod error_predicates;
mod intercepted_record;
mod message_state;
mod owned_message;
mod record;
mod send_error;
mod send_span;
mod topic;

pub(crate) use attachment::{Attached, Attachment};
pub(crate) use delivery::ending;
pub use delivery::{DeliveredMessage, Delivery, DeliveryError, DeliveryResult};
pub use delivery_future::DeliveryFuture;
pub(crate) use delivery_future::{
    CompleterPool, DeliveryCompleter, DeliveryKind, Detached, Tracked,
};
pub use enqueue_error::EnqueueError;
pub use intercepted_record::InterceptedRecord;
pub(crate) use message_state::MessageState;
pub use owned_message::OwnedMessage;
pub use record::ProducerRecord;
pub(crate) use record::{Fields, Plain, ZERO_COPY_FROM};
pub(crate) use send_error::Delays;
pub use send_error::SendError;
pub(crate) use send_span::SendSpan;
pub use topic::{Topic, TopicName};
