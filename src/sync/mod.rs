//! Locks, guarded calls of foreign code, and the crate's share in tokio's cooperative scheduling.
//!
//! It uses no other wing. To be read in this order:
//!
//! - `lock`: locks that ignore poisoning, and the types that loom replaces;
//! - `foreign`: guarded calls of wakers, drops, callbacks and `tracing` macros;
//! - `notifier`: wakes all waiters, also if one of their wakers panics;
//! - `coop`: when a task yields to others;
//! - `deadline`: deadlines that pass although a runtime is blocked.

pub(crate) mod coop;
mod deadline;
mod foreign;
mod lock;
mod notifier;

pub(crate) use deadline::{Deadline, wake_after};
pub(crate) use foreign::{Wakeups, catch_panic, drop_foreign, drop_payloads, log, wake};
pub(crate) use lock::{
    Arc, AtomicPtr, AtomicU8, AtomicUsize, Mutex, UnsafeCell, fence, lock, read, write,
};
pub(crate) use notifier::{Changed, Notifier};
