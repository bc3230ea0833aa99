pub(crate) mod delivery;
#[path = "../../../src/message/delivery_future.rs"]
pub(crate) mod delivery_future;
pub(crate) mod send_error;
