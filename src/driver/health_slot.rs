//! Keeps the sender for those who look at a producer's health.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use crate::sync::lock;
use crate::values::Health;

/// What publishes the health.
pub(super) type HealthSender = Arc<watch::Sender<Health>>;

/// Those who look at the health, if there are any.
#[derive(Debug, Default)]
pub(super) struct HealthSlot(Mutex<Option<HealthSender>>);

impl HealthSlot {
    pub(super) fn get(&self) -> MutexGuard<'_, Option<HealthSender>> {
        lock(&self.0)
    }
}
