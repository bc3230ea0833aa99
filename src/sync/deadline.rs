//! Deadlines in real time, kept by one thread of the process.
//!
//! A timer of tokio fires only while a thread of its runtime is not blocked. A deadline of this
//! file passes in any case. The thread runs while anybody waits for a deadline, and for up to
//! [`LINGER`] afterwards.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::process;
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::foreign::{Wakeups, drop_foreign};
use super::lock::{Mutex, lock};

/// How long the thread sleeps at most. If nobody waits then, it ends.
const LINGER: Duration = Duration::from_secs(1);

static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    by_time: BTreeMap::new(),
    last_id: 0,
    thread: None,
});

#[derive(Debug)]
struct Waiting {
    /// By their time and id.
    by_time: BTreeMap<(Instant, u64), Waker>,
    last_id: u64,
    /// The thread, while it runs, and the process that it is of.
    thread: Option<(Thread, u32)>,
}

/// Resolves at an instant of real time.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub(crate) struct Deadline {
    /// `None` if it is too far away to be told.
    at: Option<Instant>,
    id: Option<u64>,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self {
            at: Instant::now().checked_add(limit),
            id: None,
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
        let mut waiting = lock(&WAITING);
        let id = *self.id.get_or_insert_with(|| {
            waiting.last_id += 1;
            waiting.last_id
        });
        let before = waiting.by_time.insert((at, id), waker);
        if before.is_none() {
            waiting.look_after(at);
        }
        drop(waiting);
        drop_foreign(before);
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let (Some(at), Some(id)) = (self.at, self.id) {
            let waker = lock(&WAITING).by_time.remove(&(at, id));
            drop_foreign(waker);
        }
    }
}

impl Waiting {
    /// Sees to it that the thread looks at a new deadline in time.
    fn look_after(&mut self, at: Instant) {
        let is_first = self
            .by_time
            .keys()
            .next()
            .is_some_and(|first| first.0 >= at);
        let process = process::id();
        match &self.thread {
            Some((thread, its)) if *its == process => {
                if is_first {
                    thread.unpark();
                }
            }
            // A forked child does not have its parent's thread.
            _ => {
                let keeper = thread::Builder::new().name("rdkafka-timer".to_owned());
                // Without a thread, whoever waits also has a timer of tokio.
                let keeper = keeper.spawn(keep).ok();
                self.thread = keeper.map(|keeper| (keeper.thread().clone(), process));
            }
        }
    }
}

/// Wakes those whose time has come, until nobody waits.
fn keep() {
    loop {
        let mut wakeups = Wakeups::default();
        let now = Instant::now();
        let sleep = {
            let mut waiting = lock(&WAITING);
            while let Some(entry) = waiting.by_time.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                wakeups.push(entry.remove());
            }
            waiting.by_time.keys().next().map(|first| first.0 - now)
        };
        drop(wakeups);
        thread::park_timeout(sleep.unwrap_or(LINGER).min(LINGER));
        let mut waiting = lock(&WAITING);
        if waiting.by_time.is_empty() {
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
        let (at, id) = (far.at.unwrap(), far.id.unwrap());
        drop(far);
        assert!(!lock(&WAITING).by_time.contains_key(&(at, id)));
    }

    #[test]
    fn one_that_nobody_can_tell_never_passes() {
        let mut never = Deadline::after(Duration::MAX);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut never).poll(&mut cx).is_pending());
    }
}
