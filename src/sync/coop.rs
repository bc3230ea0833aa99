//! Our share in tokio's cooperative scheduling.
//!
//! A ready future of ours is far cheaper than what tokio's budget of 128 steps a poll is made for:
//! one step each would send a task that awaits a window of thousands to the back of the queue
//! again and again. So one step pays for 128 deliveries.
//!
//! Enqueues do not take from the budget: in a task that polls thousands of sends
//! (`buffer_unordered`) a budget that has run out makes each of them pending, and poll again. Every
//! 1024th on a thread yields instead, and the others go on.

use std::cell::Cell;
use std::task::{Context, Poll, ready};

use tokio::task::coop;

/// How many deliveries that are ready count as one step.
const DELIVERIES_PER_STEP: u32 = 128;

/// After how many enqueues one yields: fewer than the driver serves in one of its turns. Otherwise a
/// task that always finds room would fill the queue before deliveries are served.
const ENQUEUES_PER_TURN: u32 = 1024;

thread_local! {
    static DELIVERIES: Cell<u32> = const { Cell::new(0) };
    static ENQUEUES: Cell<u32> = const { Cell::new(0) };
}

/// To be called before a delivery that is ready is returned; pending where others shall have their
/// turn first, and then the task is woken.
#[inline]
pub(crate) fn poll_delivery(cx: &mut Context<'_>) -> Poll<()> {
    let deliveries = DELIVERIES.get() + 1;
    if deliveries < DELIVERIES_PER_STEP {
        DELIVERIES.set(deliveries);
        return Poll::Ready(());
    }
    poll_step(cx)
}

#[cold]
fn poll_step(cx: &mut Context<'_>) -> Poll<()> {
    ready!(coop::poll_proceed(cx)).made_progress();
    DELIVERIES.set(0);
    Poll::Ready(())
}

/// Whether an enqueue may take room now, if there is some.
#[inline]
pub(crate) fn may_enqueue() -> bool {
    let enqueues = ENQUEUES.get() + 1;
    if enqueues < ENQUEUES_PER_TURN {
        ENQUEUES.set(enqueues);
    }
    enqueues < ENQUEUES_PER_TURN
}

/// To be called by what enqueues and also returns what is ready: pending where the next enqueue would
/// yield, so that the whole of it does.
#[inline]
pub(crate) fn poll_turn(cx: &mut Context<'_>) -> Poll<()> {
    if ENQUEUES.get() + 1 < ENQUEUES_PER_TURN {
        return Poll::Ready(());
    }
    yield_turn(cx);
    Poll::Pending
}

/// To be called where room is there that may not be taken now; whoever has to wait for some yields
/// anyway, and should have a place in the line. Always pending: it wakes the task.
#[cold]
pub(crate) fn yield_turn(cx: &mut Context<'_>) {
    ENQUEUES.set(0);
    cx.waker().wake_by_ref();
}
