//! Guarded calls of foreign code: a user's callback, waker, drop or `tracing` subscriber may panic.
//!
//! Their panics reach neither C nor the crate's own callers. None of these functions is called with
//! a lock held.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Calls `body`. If it panics, returns the panic's message as the error.
///
/// Asserting unwind safety is right for callbacks. They touch values of the user, who caused the
/// panic, or values that are dropped with the error.
pub(crate) fn catch_panic<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| {
        let text = message(&*panic);
        // A payload whose own drop panics would get past the guard.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(again);
        }
        text
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}

/// Wakes a task. If its waker panics (tokio's do not), that is its executor's concern.
pub(crate) fn wake(waker: Waker) {
    let _ = catch_panic(|| waker.wake());
}

/// Drops a user's value.
pub(crate) fn drop_foreign<T>(value: T) {
    let _ = catch_panic(|| drop(value));
}

/// Emits a `tracing` event. A subscriber that panics loses the event, and stops nothing.
pub(crate) fn log(event: impl FnOnce()) {
    let _ = catch_panic(event);
}

/// Drops payloads. The owner that a user gave to `Bytes` may panic. `client` names the producer.
pub(crate) fn drop_payloads(client: Option<&str>, drop: impl FnOnce()) {
    if let Err(panic) = catch_panic(drop) {
        log(|| tracing::error!(client, panic, "the drop of a payload panicked"));
    }
}

/// Wakers that were collected under a lock, to be called once it is free.
#[must_use = "tasks wait to be woken"]
#[derive(Debug, Default)]
pub(crate) struct Wakeups(Vec<Waker>);

impl Wakeups {
    pub(crate) fn push(&mut self, waker: Waker) {
        self.0.push(waker);
    }

    /// Wakes all of them. Keeps the allocation.
    pub(crate) fn wake_all(&mut self) {
        self.0.drain(..).for_each(wake);
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        self.wake_all();
    }
}
