//! A place in the wait queue for capacity that a handle keeps between polls.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::capacity::{Grant, Purpose};
use super::shared::Shared;
use crate::client::ProducerContext;
use crate::error::KafkaError;
use crate::sync::coop;

/// A waiter for capacity. Dropping it gives up its place in the wait queue.
#[derive(Debug)]
pub(crate) struct Waiter<C: ProducerContext> {
    shared: Arc<Shared<C>>,
    bytes: usize,
    key: Option<usize>,
}

impl<C: ProducerContext> Waiter<C> {
    /// Acquires capacity for a message with `bytes` of payload. Waits for it in `waiter`.
    #[inline]
    pub(crate) fn poll(
        waiter: &mut Option<Self>,
        shared: &Arc<Shared<C>>,
        bytes: usize,
        purpose: Purpose,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Grant, KafkaError>> {
        if waiter.is_none() && coop::may_enqueue() {
            if let Ok(grant) = shared.capacity.try_acquire(bytes) {
                return Poll::Ready(Ok(grant));
            }
        }
        Self::wait(waiter, shared, bytes, purpose, cx)
    }

    /// Polls if there is no capacity at once, or if other tasks should run first.
    #[cold]
    fn wait(
        waiter: &mut Option<Self>,
        shared: &Arc<Shared<C>>,
        bytes: usize,
        purpose: Purpose,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Grant, KafkaError>> {
        shared.core.check_served()?;
        let capacity = &shared.capacity;
        let acquired = match waiter {
            Some(Self { bytes, key, .. }) => {
                ready!(capacity.poll_acquire(*bytes, purpose, key, cx))
            }
            None => {
                let mut key = None;
                match capacity.poll_acquire(bytes, purpose, &mut key, cx) {
                    Poll::Ready(acquired) => acquired,
                    Poll::Pending => {
                        let shared = Arc::clone(shared);
                        *waiter = key.is_some().then_some(Self { shared, bytes, key });
                        return Poll::Pending;
                    }
                }
            }
        };
        *waiter = None;
        Poll::Ready(acquired.map_err(|none| shared.no_capacity(none)))
    }
}

impl<C: ProducerContext> Drop for Waiter<C> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.capacity.cancel(self.bytes, key);
        }
    }
}
