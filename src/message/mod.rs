//! A record on its way and what became of it.

mod delivery;
mod delivery_future;
mod owned_message;
mod record;
mod send_error;
mod topic;

pub use delivery::{DeliveredMessage, Delivery, DeliveryError, DeliveryResult};
pub use delivery_future::DeliveryFuture;
pub(crate) use delivery_future::{
    CompleterPool, DeliveryCompleter, DeliveryKind, Detached, MessageState, Tracked,
};
pub use owned_message::OwnedMessage;
pub use record::ProducerRecord;
pub(crate) use record::{Fields, Plain, ZERO_COPY_FROM};
pub use send_error::{EnqueueError, SendError};
pub use topic::{Topic, TopicName};
