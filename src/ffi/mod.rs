//! The FFI layer: every raw pointer, every `unsafe` and every function that C calls.
//!
//! One owner type for each C object, with a private pointer and a `Drop`. What belongs to a client
//! (queue, topic handle, event) holds an `Arc` of it, so the client is destroyed after all of
//! them, whatever the wings above do. Values that travel through librdkafka as `void *` are of
//! the one type that the client was created for ([`Opaque`]).
//!
//! It may use `values`, `error` and `sync`. To be read in this order: `opaque`, `completion`, `conf`,
//! `client`, `topic`, `batch`, `queue`, `event`, `message`; then the rest, one librdkafka function
//! family a file.
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
mod headers;
mod message;
mod metadata;
#[cfg(feature = "mock")]
pub(crate) mod mock;
mod oauth;
mod offsets;
mod opaque;
mod partitioner;
mod queue;
mod redeclared;
mod topic;
mod transaction;

pub(crate) use admin::Ask;
pub(crate) use answer::{Answer, Description};
pub(crate) use batch::BATCH;
pub(crate) use call_error::CallError;
pub(crate) use certificate::Certificates;
pub(crate) use client::Client;
pub(crate) use completion::{Completer, Completers, Receiver};
pub(crate) use conf::{Conf, ConfError};
pub(crate) use event::{DeliveryEvent, Event};
pub(crate) use message::BorrowedMessage;
pub(crate) use oauth::RawToken;
#[cfg(feature = "rdkafka")]
pub(crate) use offsets::offsets_of_list;
pub(crate) use offsets::{Group, Offsets};
pub(crate) use opaque::{Carried, Opaque, PayloadGuard};
pub(crate) use partitioner::{Choice, Chooser};
pub(crate) use queue::Queue;
pub(crate) use topic::{Message, PARTITION_UNASSIGNED, TopicHandle};
