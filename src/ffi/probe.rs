//! Asking whether a broker is there.

use std::ptr;
use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::redeclared::rd_kafka_metadata;
use super::{Client, timeout_millis};

impl Client {
    /// Waits up to that time for a broker that is connected and has let the client log in, has it
    /// connected to where there is none, and waits for its answer to a request for metadata, of the
    /// topics that the client knows. Blocks.
    pub(crate) fn is_answered(&self, timeout: Duration) -> bool {
        let mut metadata = ptr::null();
        // SAFETY: the client is valid, NULL is no topic, and the pointer is filled in on success
        // only; what it points to is ours then.
        unsafe {
            let code = rd_kafka_metadata(
                self.as_ptr(),
                0,
                ptr::null_mut(),
                &mut metadata,
                timeout_millis(timeout),
            );
            if !metadata.is_null() {
                sys::rd_kafka_metadata_destroy(metadata);
            }
            code == 0
        }
    }
}
