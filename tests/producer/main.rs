//! `Producer` and what it is made of: configuration, contexts, records, capacity, delivery and its
//! faults, and how it ends. All but the configuration and the tokens need the mock cluster.

#[cfg(feature = "mock")]
mod blocking;
#[cfg(feature = "mock")]
mod borrowed_payloads;
#[cfg(feature = "mock")]
mod cancel;
#[cfg(feature = "mock")]
mod capacity;
mod config;
#[cfg(feature = "mock")]
mod context;
#[cfg(feature = "mock")]
mod faults;
#[cfg(feature = "mock")]
mod foreign;
#[cfg(feature = "mock")]
mod health;
#[cfg(feature = "mock")]
mod interceptor;
#[cfg(feature = "mock")]
mod live;
#[cfg(feature = "mock")]
mod log_fields;
#[cfg(feature = "mock")]
mod metadata;
#[cfg(feature = "mock")]
mod metrics;
#[cfg(feature = "ssl")]
mod oauth;
#[cfg(feature = "mock")]
mod partitioner;
#[cfg(feature = "mock")]
mod permits;
#[cfg(feature = "mock")]
mod purge;
#[cfg(feature = "mock")]
mod ready;
#[cfg(feature = "mock")]
mod record;
#[cfg(all(feature = "metrics", feature = "mock"))]
mod record_metrics;
#[cfg(feature = "mock")]
mod runtime_ended;
#[cfg(feature = "mock")]
mod schedule;
#[cfg(feature = "mock")]
mod send;
#[cfg(all(feature = "mock", feature = "tracing-spans"))]
mod spans;
#[cfg(all(feature = "mock", feature = "statistics"))]
mod statistics;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "mock")]
mod teardown;
#[cfg(all(feature = "metrics", feature = "mock", feature = "statistics"))]
mod telemetry;
#[cfg(feature = "mock")]
mod thinned_log;
#[cfg(feature = "mock")]
mod timers;
#[cfg(feature = "mock")]
mod trace_context;
#[cfg(feature = "mock")]
mod unawaited;
