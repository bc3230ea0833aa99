//! Which process this is. A forked child has none of its parent's threads, so also none of
//! librdkafka's.

use std::sync::atomic::{AtomicU32, Ordering};

/// How often this process was forked off, since its first ancestor that had a client.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process in which a client was created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    /// Returns the process that this is.
    pub(crate) fn current() -> Self {
        #[cfg(unix)]
        count_forks();
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Returns false in a child that the process has forked.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}

#[cfg(unix)]
fn count_forks() {
    use std::ffi::c_int;
    use std::sync::Once;

    type Handler = extern "C" fn();

    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<Handler>,
            parent: Option<Handler>,
            child: Option<Handler>,
        ) -> c_int;
    }

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler may run in any child, where only async-signal-safe code is allowed: it
        // adds to an atomic integer. The system calls it no more once it has unloaded this library.
        // Without memory for the handler, forks go unnoticed.
        unsafe { pthread_atfork(None, None, Some(in_child)) };
    });
}
