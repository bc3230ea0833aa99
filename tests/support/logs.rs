//! What a test logs by `tracing`.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Captures what is logged on this thread, at this level or above it, until the guard is dropped.
/// The closure returns the text so far.
pub fn captured(level: Level) -> (DefaultGuard, impl Fn() -> String) {
    ask_all_subscribers();
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let text = move || String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    (tracing::subscriber::set_default(subscriber), text)
}

/// To be called before a subscriber is set for one thread.
///
/// While a process has only one subscriber, `tracing` asks that of the current thread alone whether
/// an event is of interest, and keeps the answer for all threads. Another test could so turn off an
/// event that this one waits for. With a second subscriber it asks all of them.
pub fn ask_all_subscribers() {
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(NoSubscriber::default()));
}
