//! Our share in tokio's cooperative scheduling.
//!
//! A ready future of ours is far cheaper than what tokio's budget of 128 steps a poll is made for:
//! one step each would send a task that awaits a window of thousands to the back of the queue
//! again and again. So one step pays for 128 of them.

use std::cell::Cell;
use std::task::{Context, Poll, ready};

use tokio::task::coop;

/// How many of our operations count as one step.
const OPERATIONS_PER_STEP: u32 = 128;

thread_local! {
    static OPERATIONS: Cell<u32> = const { Cell::new(0) };
}

/// To be called before an operation that is ready; pending where others shall have their turn
/// first, and then the task is woken.
#[inline]
pub(crate) fn poll_proceed(cx: &mut Context<'_>) -> Poll<()> {
    let operations = OPERATIONS.get() + 1;
    if operations < OPERATIONS_PER_STEP {
        OPERATIONS.set(operations);
        return Poll::Ready(());
    }
    poll_step(cx)
}

#[cold]
fn poll_step(cx: &mut Context<'_>) -> Poll<()> {
    ready!(coop::poll_proceed(cx)).made_progress();
    OPERATIONS.set(0);
    Poll::Ready(())
}
