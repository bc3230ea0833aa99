//! The requests that the mock cluster records.

use std::fmt;
use std::time::Duration;

use super::api_key::ApiKey;
use crate::ffi::mock::Request;

/// A request that a [`MockCluster`](crate::MockCluster) received.
#[derive(Clone, Copy)]
pub struct MockRequest(pub(super) Request);

impl MockRequest {
    /// Returns the id of the broker that received the request.
    pub fn broker_id(&self) -> i32 {
        self.0.broker
    }

    /// Returns the kind of the request.
    pub fn api_key(&self) -> ApiKey {
        self.0.api_key.into()
    }

    /// Returns the time of the request's arrival, by a monotonic clock with an arbitrary start.
    ///
    /// Only differences between the times of two requests are meaningful.
    pub fn timestamp(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.micros).unwrap_or(0))
    }
}

impl fmt::Debug for MockRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockRequest")
            .field("broker_id", &self.broker_id())
            .field("api_key", &self.api_key())
            .field("timestamp", &self.timestamp())
            .finish()
    }
}
