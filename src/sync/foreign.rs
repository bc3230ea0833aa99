//! No panic crosses into C, and none of a user's callback reaches the code that called it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `body`; a panic of it becomes an error with the panic's message.
///
/// Asserting unwind safety is right for callbacks: what they touch is the user's, whose own panic
/// it was, or is dropped with the error.
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

/// Drops payloads. An owner that the user gave to `Bytes` may panic: it is the user's, not ours.
pub(crate) fn drop_payloads(drop: impl FnOnce()) {
    if let Err(panic) = catch_panic(drop) {
        tracing::error!(panic, "the drop of a payload panicked");
    }
}
