//! The FFI layer: every raw pointer to C, every `unsafe` block and every function that C calls.
//!
//! Each C object has one owner type, with a private pointer and a `Drop`. The queues, topic handles
//! and events of a client hold an `Arc` of it, so the client is destroyed after all of them. The
//! values that messages carry through librdkafka as `void *` have the one type that the client was
//! created for ([`Opaque`]).
//!
//! It may use `values`, `error` and `sync`. To be read in this order:
//!
//! - `opaque`, `completion`: what a message carries, and how its result reaches the caller;
//! - `conf`, `client`, `failed_creation`: from a configuration to a client;
//! - `topic`, `batch`, `headers`, `partitioner`: the produce calls;
//! - `queue`, `event`, `message`: from the client's queue to a delivery report;
//! - `admin`, `answer`, `metadata`: asking brokers;
//! - `transaction`, `offsets`, `oauth`, `certificate`;
//! - `openssl`, `process`: the exit of the process, and its children;
//! - `version`: which librdkafka it is;
//! - `call_error`, `convert`, `redeclared`: what several of them use;
//! - `mock`: the mock cluster.
#![allow(unsafe_code)]

mod admin;
mod answer;
mod batch;
mod call_error;
mod certificate;
mod client;
mod completion;
mod conf;
mod convert;
mod event;
mod failed_creation;
mod headers;
mod message;
mod metadata;
#[cfg(feature = "mock")]
pub(crate) mod mock;
mod oauth;
mod offsets;
mod opaque;
#[cfg(feature = "ssl")]
mod openssl;
mod partitioner;
mod process;
mod queue;
mod redeclared;
mod topic;
mod transaction;
mod version;

pub(crate) use admin::AdminRequest;
pub(crate) use answer::{Answer, Description};
pub(crate) use batch::BATCH;
pub(crate) use call_error::CallError;
pub(crate) use certificate::CertificateFailures;
pub(crate) use client::Client;
pub(crate) use completion::{Abandoned, Completer, Completers, Receiver};
#[cfg(feature = "rdkafka")]
pub(crate) use conf::property_of_client;
pub(crate) use conf::{Conf, ConfError};
pub(crate) use event::{DeliveryEvent, Event, PayloadGuards};
pub(crate) use failed_creation::CreationFailure;
pub(crate) use message::{BorrowedMessage, counts_retries};
pub(crate) use metadata::Answerer;
pub(crate) use oauth::RawToken;
#[cfg(feature = "rdkafka")]
pub(crate) use offsets::offsets_of_list;
pub(crate) use offsets::{Group, Offsets};
pub(crate) use opaque::{Carried, Opaque, PayloadGuard};
pub(crate) use partitioner::{PartitionerArgs, PartitionerFn};
pub(crate) use process::Process;
#[cfg(all(test, unix))]
pub(crate) use process::in_child;
pub(crate) use queue::Queue;

pub(crate) use topic::{Message, PARTITION_UNASSIGNED, TopicHandle};
pub(crate) use transaction::{RENEWAL, RENEWS_EPOCHS};
