//! Locks, guarded calls of foreign code, and the crate's share in tokio's cooperative scheduling.
//!
//! The ground of the house: it uses no other wing. Files: `lock`, `foreign`, `notifier`, `coop`.

pub(crate) mod coop;
mod foreign;
mod lock;
mod notifier;

pub(crate) use foreign::{Wakeups, catch_panic, drop_foreign, drop_payloads, log, wake};
pub(crate) use lock::{Arc, AtomicU8, AtomicUsize, Mutex, UnsafeCell, fence, lock, read, write};
pub(crate) use notifier::{Changed, Notifier};
