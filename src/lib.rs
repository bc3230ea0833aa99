//! An async-first Kafka producer for tokio services, on librdkafka.
//!
//! ```no_run
//! use tokio_rdkafka::{ClientConfig, Producer, ProducerRecord};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let producer: Producer = ClientConfig::new()
//!         .set("bootstrap.servers", "localhost:9092")
//!         .set("enable.idempotence", "true")
//!         .create()?;
//!
//!     let record = ProducerRecord::to("orders").key("customer-7").payload("three apples");
//!     let delivery = producer.send(record).await?;
//!     println!("in partition {} at {:?}", delivery.partition(), delivery.offset());
//!
//!     producer.close().await;
//!     Ok(())
//! }
//! ```
//!
//! # The way of a record
//!
//! ```text
//! ProducerRecord
//!   → Producer::send      waits, first come, first served, for room (messages and bytes)
//!   → librdkafka          one produce call; batches, sends, retries
//!   → delivery reports    come in on the client's queue and wake the driver; nothing polls
//!   → driver              one tokio task: callbacks, room given back, futures resolved
//!   → DeliveryFuture      the caller's .await resolves with a Delivery
//! ```
//!
//! # What it promises
//!
//! - The future of every enqueued message resolves exactly once, and its delivery callback runs
//!   exactly once: also on time-outs, purges, a panicking callback, the drop of the last handle and
//!   the end of the runtime.
//! - A record that fails comes back as it was given, with what is known of its
//!   [`Persistence`]. Offsets are those that a broker told, or `None`.
//! - Dropping a future before its record was enqueued sends nothing; after that, it never cancels
//!   the message.
//! - A full queue lets senders in first come, first served, and wakes as many as there is room.
//! - No call of the async API blocks a worker, an idle producer causes no wake-up, and dropping a
//!   [`Producer`] never blocks. Only [`close`](Producer::close) promises delivery.
//! - No panic of a callback stops anything, and no secret of the configuration shows in an error, a
//!   log line or a `Debug`.
//!
//! # Which producer
//!
//! [`Producer`] is for async code, and [`TransactionalProducer`] where it needs transactions.
//! [`BaseProducer`] is their counterpart without tokio: it never waits, but in transactional calls,
//! and whoever uses it polls. All take the same [`ProducerRecord`], [`ClientConfig`] and
//! [`ProducerContext`].
//!
//! # Streams
//!
//! A [`ProducerSink`], of [`Producer::sink`], takes a stream of records that is forwarded to it.
//! [`ProduceExt::produce`] makes a stream of what became of each item of a stream, and
//! [`Producer::send_all`] one of what became of each record of an iterator; both in order, with a
//! bound on what is in flight.
//!
//! ## In a spawned task
//!
//! What is spawned must be `Send`. In an `async` block or function rustc does not see that of a
//! stream or an iterator with a closure that takes something with a lifetime: a `&Row`, a
//! `&'static str`, a [`ProducerRecord`]. The error is "implementation of `FnOnce` is not general
//! enough". This is a limitation of rustc, and concerns a sink, `produce`, `send_all`, and `send`
//! in `buffer_unordered`. Any of these helps:
//!
//! - One closure that takes an owned item (`rows.into_iter()`, not `rows.iter()`), and makes all of
//!   it: the record with its `Ok` or value, or the send.
//! - `.boxed()` after the last closure: before `forward`, `produce` or `buffer_unordered`, but
//!   after `send_all`.
//! - To collect into a `Vec` what the closures of an iterator make, before `send_all`, `produce` or
//!   `buffer_unordered`.
//! - Of `forward`, to spawn what it returns, without an `async` block.
//!
//! ```no_run
//! use futures::{StreamExt, TryStreamExt, stream};
//! use tokio_rdkafka::{BoxError, Producer, ProducerRecord};
//!
//! # fn run(producer: Producer, rows: Vec<String>) {
//! tokio::spawn(async move {
//!     // This closure takes a `&String`.
//!     let sends = stream::iter(&rows)
//!         .map(|row| producer.send(ProducerRecord::to("rows").payload(row)))
//!         .boxed();
//!     let sent: Vec<_> = sends.buffer_unordered(1_000).try_collect().await?;
//!
//!     // And this one.
//!     let records = rows.iter().map(|row| ProducerRecord::to("rows").payload(row));
//!     let sent: Vec<_> = producer.send_all(records).boxed().try_collect().await?;
//!
//!     // This one takes a `String`.
//!     stream::iter(rows)
//!         .map(|row| Ok(ProducerRecord::to("rows").payload(row)))
//!         .forward(producer.sink())
//!         .await?;
//!     Ok::<_, BoxError>(())
//! });
//! # }
//! ```
//!
//! # Features
//!
//! | feature | what it brings |
//! |---|---|
//! | `libz` (default) | gzip |
//! | `ssl`, `gssapi`, `zstd`, `curl` | TLS, SCRAM, OAUTHBEARER; Kerberos; zstd; OIDC (with `ssl`). They need the system's libraries (OpenSSL, Cyrus SASL, zstd is bundled, libcurl) |
//! | `ssl-vendored`, `gssapi-vendored`, `libz-static`, `curl-static`, `zstd-pkg-config`, `external-lz4` | other sources of these |
//! | `cmake-build`, `dynamic-linking` | other ways to build or link librdkafka |
//! | `mock` | [`MockCluster`], a Kafka cluster inside the process for tests |
//! | `rdkafka` | [`ConsumedOffsets`]: what a consumer of the crate `rdkafka` 0.39 has read becomes part of a transaction |
//! | `full` | `curl`, `gssapi`, `libz`, `mock`, `rdkafka`, `ssl`, `zstd` |
#![cfg_attr(not(all(feature = "mock", feature = "rdkafka")), doc = "")]
#![cfg_attr(not(feature = "mock"), doc = "[`MockCluster`]: #features")]
#![cfg_attr(not(feature = "rdkafka"), doc = "[`ConsumedOffsets`]: #features")]
#![deny(unreachable_pub)]

mod base_producer;
mod client;
mod driver;
mod error;
mod ffi;
mod message;
#[cfg(feature = "mock")]
mod mock;
mod producer;
mod stream;
mod sync;
mod transaction;
mod values;

pub use base_producer::BaseProducer;
pub use client::{
    ClientConfig, ClientContext, DefaultProducerContext, FromClientConfig,
    FromClientConfigAndContext, OAuthToken, PartitionRequest, Partitioner, ProducerContext,
};
pub use driver::{CloseReport, FlushError, FlushReport};
pub use error::{BoxError, ConnectFailure, KafkaError, RDKafkaErrorCode};
pub use message::{
    DeliveredMessage, Delivery, DeliveryError, DeliveryFuture, DeliveryResult, EnqueueError,
    OwnedMessage, ProducerRecord, SendError, Topic, TopicName,
};
#[cfg(feature = "mock")]
pub use mock::{ApiKey, MockCluster, MockCoordinator, MockRequest};
pub use producer::{OwnedPermit, Permit, Producer, ProducerBuilder, WeakProducer};
pub use stream::{
    Deliveries, DeliveriesIter, Produce, ProduceEach, ProduceError, ProduceExt, ProducerSink,
    SendAll, SinkStatistics,
};
#[cfg(feature = "rdkafka")]
pub use transaction::ConsumedOffsets;
pub use transaction::{CommitError, Transaction, TransactionalProducer};
pub use values::{
    Broker, ClusterInfo, ConsumerGroupMetadata, Header, Headers, HeadersIter, IntoPayload,
    PartitionInfo, Payload, Persistence, PurgeConfig, RDKafkaLogLevel, Timestamp, TopicInfo,
    TopicPartitionOffset, TransactionOutcome,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
