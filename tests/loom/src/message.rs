pub(crate) mod delivery;
#[path = "../../../src/message/delivery_future.rs"]
pub(crate) mod delivery_future;
pub(crate) mod message_state;
pub(crate) mod send_error;
