//! The crate's share in tokio's cooperative scheduling.
//!
//! tokio gives a task 128 units of budget for each poll. A ready delivery future is far cheaper
//! than what a unit is meant for. If each took one, a task that awaits a window of thousands would
//! go to the back of the run queue again and again. So 128 deliveries take one unit.
//!
//! Enqueues take no unit. In a task that polls thousands of sends (`buffer_unordered`), a budget
//! that has run out would make each of them pending. Every 1024th enqueue on a thread yields
//! instead.

use std::cell::Cell;
use std::task::{Context, Poll, ready};

use tokio::task::coop;

/// The number of ready deliveries that take one unit of the budget.
const DELIVERIES_PER_UNIT: u32 = 128;

/// The number of enqueues after which one yields. It is less than the driver serves in one turn:
/// otherwise a task that always finds capacity would fill the queue before deliveries are served.
const ENQUEUES_PER_TURN: u32 = 1024;

thread_local! {
    static DELIVERIES: Cell<u32> = const { Cell::new(0) };
    static ENQUEUES: Cell<u32> = const { Cell::new(0) };
}

/// Returns pending if other tasks should run first, after it has woken the task. Call it before a
/// ready delivery is returned.
#[inline]
pub(crate) fn poll_delivery(cx: &mut Context<'_>) -> Poll<()> {
    let deliveries = DELIVERIES.get() + 1;
    if deliveries < DELIVERIES_PER_UNIT {
        DELIVERIES.set(deliveries);
        return Poll::Ready(());
    }
    poll_unit(cx)
}

#[cold]
fn poll_unit(cx: &mut Context<'_>) -> Poll<()> {
    DELIVERIES.set(0);
    if !coop::has_budget_remaining() {
        // tokio would wake the task once this worker has nothing else to do: never, if a foreign
        // executor blocks it. Such an executor also never renews the budget.
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    ready!(coop::poll_proceed(cx)).made_progress();
    Poll::Ready(())
}

/// Returns true if an enqueue may acquire capacity now.
#[inline]
pub(crate) fn may_enqueue() -> bool {
    let enqueues = ENQUEUES.get() + 1;
    if enqueues < ENQUEUES_PER_TURN {
        ENQUEUES.set(enqueues);
    }
    enqueues < ENQUEUES_PER_TURN
}

/// Returns pending if the next enqueue would yield, after it has woken the task.
///
/// A stream that enqueues and also returns results calls it, so that the whole stream yields.
#[inline]
pub(crate) fn poll_turn(cx: &mut Context<'_>) -> Poll<()> {
    if ENQUEUES.get() + 1 < ENQUEUES_PER_TURN {
        return Poll::Ready(());
    }
    yield_turn(cx);
    Poll::Pending
}

/// Wakes the task, so that the caller can return pending.
///
/// Call it if there is capacity that may not be acquired now. A task that waits for capacity yields
/// anyway.
#[cold]
pub(crate) fn yield_turn(cx: &mut Context<'_>) {
    ENQUEUES.set(0);
    cx.waker().wake_by_ref();
}
