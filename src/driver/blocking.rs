//! Blocking librdkafka calls of the async API: a std thread for the length of one.
//!
//! Not tokio's blocking pool: it may be full of the user's own work, and dropping a runtime waits
//! for a started blocking call without an end.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::sync::lock;

/// Runs `call` on a thread of its own.
///
/// # Errors
///
/// The system's, where it has no thread left; then `call` was dropped.
pub(crate) fn spawn(call: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name("rdkafka-lane".to_owned())
        .spawn(call)
        .map(drop)
}

/// Runs `call`, which must run in any case, on a thread of its own; where the system has none left,
/// on this one.
pub(crate) fn run(call: impl FnOnce() + Send + 'static) {
    // The thread that is not made drops its closure, so the call must stay within reach.
    let ours = Arc::new(Mutex::new(Some(call)));
    let theirs = Arc::clone(&ours);
    if let Err(error) = spawn(move || take_and_run(&theirs)) {
        tracing::error!(%error, "no thread for a blocking call: it blocks the current one");
        take_and_run(&ours);
    }
}

fn take_and_run(slot: &Mutex<Option<impl FnOnce()>>) {
    let call = lock(slot).take();
    if let Some(call) = call {
        call();
    }
}
