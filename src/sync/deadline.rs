//! Deadlines in real time, kept by one thread of the process.
//!
//! A timer of tokio fires only while a thread of its runtime is not blocked. A deadline of this
//! file passes in any case. The thread runs while anybody waits for a deadline, and for up to
//! [`LINGER`] afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::process;
use std::ptr;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::foreign::{Wakeups, drop_foreign};
use super::lock::{Mutex, lock};

/// How long the thread sleeps at most. If nobody waits then, it ends.
const LINGER: Duration = Duration::from_secs(1);

/// The deadlines of a process.
///
/// A forked child has a copy of its parent's. Their lock may be held in it for ever, and their
/// wakers belong to threads that it does not have. So it leaves them alone and has its own.
struct Deadlines {
    process: u32,
    waiting: Mutex<Waiting>,
    of_child: OnceLock<Box<Deadlines>>,
}

#[derive(Default)]
struct Waiting {
    /// By their time and id.
    by_time: BTreeMap<(Instant, u64), Waker>,
    last_id: u64,
    /// The thread, while it runs.
    thread: Option<Thread>,
}

/// Resolves at an instant of real time.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub(crate) struct Deadline {
    /// `None` if it is too far away to be told.
    at: Option<Instant>,
    /// Where it is waiting, and its id there.
    place: Option<(&'static Deadlines, u64)>,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self {
            at: Instant::now().checked_add(limit),
            place: None,
        }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        // Foreign code, which does not run under the lock.
        let waker = cx.waker().clone();
        let deadlines = Deadlines::of_this_process();
        let id = match self.place {
            Some((place, id)) if ptr::eq(place, deadlines) => Some(id),
            _ => None,
        };
        let id = deadlines.wake_at(at, id, waker);
        self.place = Some((deadlines, id));
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let (Some(at), Some((deadlines, id))) = (self.at, self.place) {
            if deadlines.process == process::id() {
                let waker = lock(&deadlines.waiting).by_time.remove(&(at, id));
                drop_foreign(waker);
            }
        }
    }
}

impl Deadlines {
    fn of_this_process() -> &'static Self {
        static FIRST: OnceLock<Deadlines> = OnceLock::new();
        let process = process::id();
        let new = || Self {
            process,
            waiting: Mutex::default(),
            of_child: OnceLock::new(),
        };
        let mut deadlines = FIRST.get_or_init(new);
        while deadlines.process != process {
            deadlines = deadlines.of_child.get_or_init(|| Box::new(new()));
        }
        deadlines
    }

    /// Has `waker` called at that time, in place of the one before with that id. Returns the id.
    fn wake_at(&'static self, at: Instant, id: Option<u64>, waker: Waker) -> u64 {
        let mut waiting = lock(&self.waiting);
        let id = id.unwrap_or_else(|| {
            waiting.last_id += 1;
            waiting.last_id
        });
        let before = waiting.by_time.insert((at, id), waker);
        if before.is_none() {
            waiting.look_after(at, self);
        }
        drop(waiting);
        drop_foreign(before);
        id
    }
}

/// Has the thread call `waker` after `limit`, once. It must not block there.
pub(crate) fn wake_after(limit: Duration, waker: Waker) {
    Deadlines::of_this_process().wake_at(Instant::now() + limit, None, waker);
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines").finish_non_exhaustive()
    }
}

impl Waiting {
    /// Sees to it that the thread looks at a new deadline in time.
    fn look_after(&mut self, at: Instant, deadlines: &'static Deadlines) {
        let is_first = self
            .by_time
            .keys()
            .next()
            .is_some_and(|first| first.0 >= at);
        match &self.thread {
            Some(thread) => {
                if is_first {
                    thread.unpark();
                }
            }
            None => {
                let keeper = thread::Builder::new().name("rdkafka-timer".to_owned());
                // Without a thread, a time limit also has a timer of tokio.
                let keeper = keeper.spawn(|| keep(deadlines)).ok();
                self.thread = keeper.map(|keeper| keeper.thread().clone());
            }
        }
    }
}

/// Wakes those whose time has come, until nobody waits and nobody has begun to for a while.
fn keep(deadlines: &Deadlines) {
    loop {
        let mut wakeups = Wakeups::default();
        let now = Instant::now();
        let (sleep, last_id) = {
            let mut waiting = lock(&deadlines.waiting);
            while let Some(entry) = waiting.by_time.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                wakeups.push(entry.remove());
            }
            let sleep = waiting.by_time.keys().next().map(|first| first.0 - now);
            (sleep, waiting.last_id)
        };
        drop(wakeups);
        thread::park_timeout(sleep.unwrap_or(LINGER).min(LINGER));
        let mut waiting = lock(&deadlines.waiting);
        // Calls that follow one another need not start a thread each.
        if waiting.by_time.is_empty() && waiting.last_id == last_id {
            waiting.thread = None;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;
    use std::task::Wake;

    use super::*;

    struct Sends(mpsc::Sender<()>);

    impl Wake for Sends {
        fn wake(self: std::sync::Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    /// Blocks as a foreign executor does: nobody but the deadline's thread wakes it.
    fn block_on(future: impl Future<Output = ()>) {
        let mut future = std::pin::pin!(future);
        let (sender, woken) = mpsc::channel();
        let waker = Waker::from(std::sync::Arc::new(Sends(sender)));
        while future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            woken.recv_timeout(Duration::from_secs(60)).unwrap();
        }
    }

    #[test]
    fn it_passes_in_real_time_without_a_runtime() {
        let (began, limit) = (Instant::now(), Duration::from_millis(30));
        // One that is far away, and comes first, delays no other.
        let mut far = Deadline::after(Duration::from_secs(3600));
        let mut near = Deadline::after(limit);
        block_on(poll_fn(|cx| {
            assert!(Pin::new(&mut far).poll(cx).is_pending());
            Pin::new(&mut near).poll(cx)
        }));
        assert!(began.elapsed() >= limit);
        let (at, (deadlines, id)) = (far.at.unwrap(), far.place.unwrap());
        drop(far);
        let waiting = lock(&deadlines.waiting);
        assert!(!waiting.by_time.contains_key(&(at, id)));
    }

    /// The parent has a deadline, and a thread of it holds the lock.
    #[cfg(unix)]
    #[test]
    fn it_passes_in_a_forked_child() {
        let mut parents = Deadline::after(Duration::from_secs(3600));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut parents).poll(&mut cx).is_pending());
        let mut parents = Some(parents);
        let held = lock(&Deadlines::of_this_process().waiting);
        crate::ffi::in_child(move || {
            block_on(Deadline::after(Duration::from_millis(1)));
            drop(parents.take());
            Ok(())
        });
        drop(held);
    }

    #[test]
    fn one_that_nobody_can_tell_never_passes() {
        let mut never = Deadline::after(Duration::MAX);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut never).poll(&mut cx).is_pending());
    }
}
