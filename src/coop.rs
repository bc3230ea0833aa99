//! Our share in tokio's cooperative scheduling.
//!
//! A ready future of ours is far cheaper than what tokio's budget of 128 steps a poll is made for:
//! one step each would send a task that awaits a window of thousands to the back of the queue
//! again and again. So one step pays for many of them.

use std::cell::Cell;
use std::task::{Context, Poll, ready};

use tokio::task::coop;

/// How many deliveries that are ready count as one step.
const DELIVERIES_PER_STEP: u32 = 128;

/// How many enqueues count as one step: 2048 a poll, no more than the driver serves in one of its
/// turns. Otherwise a task that always finds room would fill the queue before deliveries are served.
const ENQUEUES_PER_STEP: u32 = 16;

thread_local! {
    /// What has been used of a step, in deliveries.
    static USED: Cell<u32> = const { Cell::new(0) };
}

/// To be called before a delivery that is ready is returned; pending where others shall have their
/// turn first, and then the task is woken.
#[inline]
pub(crate) fn poll_delivery(cx: &mut Context<'_>) -> Poll<()> {
    poll_proceed(cx, 1)
}

/// The same, before room is taken.
#[inline]
pub(crate) fn poll_enqueue(cx: &mut Context<'_>) -> Poll<()> {
    poll_proceed(cx, DELIVERIES_PER_STEP / ENQUEUES_PER_STEP)
}

#[inline]
fn poll_proceed(cx: &mut Context<'_>, cost: u32) -> Poll<()> {
    let used = USED.get() + cost;
    if used < DELIVERIES_PER_STEP {
        USED.set(used);
        return Poll::Ready(());
    }
    poll_step(cx)
}

#[cold]
fn poll_step(cx: &mut Context<'_>) -> Poll<()> {
    ready!(coop::poll_proceed(cx)).made_progress();
    USED.set(0);
    Poll::Ready(())
}
