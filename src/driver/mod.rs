//! The tokio task that drives a producer, and what it shares with the handles.
//!
//! It may use `client`, `message` and what is below them. To be read in this order:
//!
//! - `shared`: what the handles and the task share, and the produce call;
//! - `capacity`, `wait_queue`, `waiter`: why a full queue makes a sender wait;
//! - `task`, `serving`, `serve`: how a delivery report becomes a result;
//! - `trackers`, `flush`, `report`: how a flush is tracked and resolved;
//! - `close`: when a producer has terminated, and what follows;
//! - `turns`, `stall_watch`, `driver_waker`, `stand_in`: waking the driver, and serving while its
//!   runtime is blocked;
//! - `blocking`: the threads, and the list of the blocking calls that are under way;
//! - `broker_state`, `down_brokers`, `probe`: whether a broker is up, and which are not;
//! - `health`, `health_slot`: watches that for those who look at the producer's health;
//! - `requests`, `lookup`, `metadata`, `refresh`: asking for metadata;
//! - `transactions`, `transaction_epoch`: the state of transactions;
//! - `doubts`: why the next transaction needs another epoch;
//! - `topic_failures`: why records to a topic failed first;
//! - `capacity_watch`, `token_refresh`: unused permits, and tokens for OAUTHBEARER;
//! - `metrics`: what was counted, in numbers of one moment;
//! - `statistics`: librdkafka's statistics, for those who read them.

mod blocking;
mod broker_state;
mod capacity;
mod capacity_watch;
mod close;
mod doubts;
mod down_brokers;
mod driver_waker;
mod flush;
mod health;
mod health_slot;
mod lookup;
mod metadata;
mod metrics;
mod probe;
mod refresh;
mod report;
mod requests;
mod serve;
mod serving;
mod shared;
mod stall_watch;
mod stand_in;
#[cfg(feature = "statistics")]
mod statistics;
mod task;
mod token_refresh;
mod topic_failures;
mod trackers;
mod transaction_epoch;
mod transactions;
mod turns;
mod wait_queue;
mod waiter;

pub(crate) use blocking::{BlockingCall, NotBegun, UnderWay};
pub(crate) use broker_state::Verdict;
pub(crate) use capacity::{CapacityError, Grant, Purpose};
pub(crate) use flush::Tracker;
pub(crate) use probe::BrokerWaiter;
pub use report::{CloseReport, FlushError, FlushReport};
pub(crate) use shared::{Completer, Shared, refuse};
pub(crate) use stand_in::{PATIENCE, SLICE, StandIn, served};
pub(crate) use task::{Driver, drive};
pub(crate) use transaction_epoch::TransactionEpoch;
pub(crate) use transactions::{GivenUp, Phase, Step, still_under_way};
pub(crate) use waiter::Waiter;
