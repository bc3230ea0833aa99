#[path = "../../../src/driver/capacity.rs"]
pub(crate) mod capacity;
#[path = "../../../src/driver/wait_queue.rs"]
mod wait_queue;
