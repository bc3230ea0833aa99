//! An async-first Kafka producer for tokio services, built on librdkafka.
//!
//! ```no_run
//! use std::time::Duration;
//! use tokio_rdkafka::{ClientConfig, Producer, ProducerRecord};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let producer: Producer = ClientConfig::new()
//!         .set("bootstrap.servers", "localhost:9092")
//!         .set("enable.idempotence", "true")
//!         .create()?;
//!
//!     // Says within seconds why no broker answers.
//!     producer.ready(Duration::from_secs(10)).await?;
//!
//!     let record = ProducerRecord::to("orders").key("customer-7").payload("three apples");
//!     let delivery = producer.send(record).await?;
//!     println!("partition {}, offset {:?}", delivery.partition(), delivery.offset());
//!
//!     // Otherwise records that are in flight are lost when `main` returns.
//!     producer.close().await;
//!     Ok(())
//! }
//! ```
//!
//! # Guides
//!
//! [`docs`] has a page for each task. Begin with [`docs::getting_started`]. If you come from
//! rust-rdkafka, [`docs::migration`] has each of its names. [`docs::questions`] has short answers.
//!
//! # The way of a record
//!
//! ```text
//! ProducerRecord
//!   → Producer::send      waits for capacity (messages and bytes), first come, first served
//!   → librdkafka          one produce call; librdkafka batches, sends and retries
//!   → delivery report     arrives on the client's queue and wakes the driver; nothing polls
//!   → driver              one tokio task: runs callbacks, releases capacity, completes futures
//!   → DeliveryFuture      the caller's .await resolves with a Delivery
//! ```
//!
//! # Guarantees
//!
//! - The future of every enqueued message resolves exactly once, and its delivery callback runs
//!   exactly once. This includes timeouts, purges, a panic in a callback, the drop of the last
//!   handle and the shutdown of the runtime.
//! - A failed record comes back to the caller as it was given, with what is known about its
//!   [`Persistence`]. An offset is one that a broker reported, or `None`.
//! - A failure that nobody awaits is logged, and [`Producer::close`] reports it: see
//!   [failures that nobody awaits](Producer#failures-that-nobody-awaits).
//! - Dropping a future before its record was enqueued sends nothing. Dropping it later never
//!   cancels the message.
//! - A full queue admits senders first come, first served. It wakes as many waiters as there is
//!   capacity for.
//! - No call of the async API blocks a worker thread, and dropping a [`Producer`] never blocks. An
//!   idle producer wakes no thread of the runtime.
//! - A panic in a callback is caught, logged and counted.
//! - No secret of the configuration appears in an error, in a log line or in `Debug` output.
//!
//! # Which producer
//!
//! | | for |
//! |---|---|
//! | [`Producer`] | async code |
//! | [`TransactionalProducer`] | async code with transactions; it requires `transactional.id` |
//! | [`BaseProducer`] | synchronous code; it needs no runtime, and its user must poll |
//!
//! All three take the same [`ProducerRecord`], [`ClientConfig`] and [`ProducerContext`].
//!
//! # Sending
//!
//! [`Producer::send`] waits for capacity and for the delivery report. [`Producer::enqueue`] waits
//! for capacity only and returns a [`DeliveryFuture`], so that many records can be in flight.
//! [`Producer::try_enqueue`] never waits. The [table of methods](Producer#which-method) compares
//! them all.
//!
//! # Back-pressure
//!
//! The queue is bounded by `queue.buffering.max.messages` and `queue.buffering.max.kbytes`. If it
//! is full, senders wait in order, without retries and without a timer.
//! [`ProducerBuilder::max_block`] limits that wait. See [capacity](Producer#capacity).
//!
//! # Permits
//!
//! [`Producer::reserve`] acquires capacity before the record exists. Sending with the [`Permit`]
//! then neither waits nor fails because the queue is full. Use permits in `select!`, and for work
//! that should begin only if its record can be sent.
//!
//! # Streams and sinks
//!
//! - [`Producer::sink`] returns a [`ProducerSink`], to which a stream of records is forwarded.
//! - [`ProduceExt::produce`] turns a stream of items into a stream of their results.
//! - [`Producer::send_all`] sends the records of an iterator and returns a stream of results.
//!
//! All of them bound what is in flight. Results come in order, unless
//! [`unordered`](Produce::unordered) is set.
//!
//! ## In a spawned task
//!
//! `tokio::spawn` needs a `Send` future. The compiler rejects some closures over borrowed items
//! inside an `async` block: "implementation of `FnOnce` is not general enough". This is a
//! limitation of the compiler. It affects closures whose argument has a lifetime, such as `&Row`,
//! `&'static str` or a [`ProducerRecord`], in a sink, `produce`, `send_all`, and `send` in
//! `buffer_unordered`. Use one of these forms:
//!
//! - Use one closure that takes an owned item (`rows.into_iter()` instead of `rows.iter()`). It
//!   builds the record with its `Ok` or its value, or it calls `send`.
//! - Call `.boxed()` after the last closure. Put it before `forward`, `produce` or
//!   `buffer_unordered`, but after `send_all`.
//! - Collect the items of an iterator into a `Vec` before `send_all`, `produce` or
//!   `buffer_unordered`.
//! - Spawn the future that `forward` returns directly, without an `async` block.
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
//!     // So does this one.
//!     let records = rows.iter().map(|row| ProducerRecord::to("rows").payload(row));
//!     let sent: Vec<_> = producer.send_all(records).boxed().try_collect().await?;
//!
//!     // This closure takes a `String`.
//!     stream::iter(rows)
//!         .map(|row| Ok(ProducerRecord::to("rows").payload(row)))
//!         .forward(producer.sink())
//!         .await?;
//!     Ok::<_, BoxError>(())
//! });
//! # }
//! ```
//!
//! # Transactions
//!
//! [`TransactionalProducer::begin`] returns a [`Transaction`]. It sends like a [`Producer`], has no
//! other call of one ([`SendOnly`]), and ends with [`commit`](Transaction::commit) or
//! [`abort`](Transaction::abort).
//! [`TransactionalProducer::run`] commits or aborts according to what a function returns. The page
//! [`docs::transactions`] has the states, the errors and what follows from them. For
//! exactly-once processing, add the consumer's offsets with
//! [`send_offsets`](Transaction::send_offsets) or [`ConsumedOffsets`].
//!
//! # From blocking code
//!
//! `blocking_send` and its like block the thread, and work on every thread. [`docs::blocking`] has
//! each case, also foreign executors and what a `Drop` should do.
//!
//! # Shutdown
//!
//! Call [`Producer::close`] or [`Producer::close_timeout`] before `main` returns. Only they promise
//! delivery:
//!
//! ```no_run
//! # use std::time::Duration;
//! # async fn run(producer: tokio_rdkafka::Producer) {
//! let report = producer.close_timeout(Duration::from_secs(10)).await;
//! if report.undelivered + report.failed > 0 {
//!     eprintln!("not delivered: {report:?}");
//! }
//! # }
//! ```
//!
//! If the runtime ends before, the records in flight are purged. One warning with their number is
//! logged. See [shutdown](Producer#shutdown), also for handles in a `static` and for `fork`.
//!
//! # Errors
//!
//! [`SendError`] and [`EnqueueError`] carry the record. All other calls fail with a [`KafkaError`].
//! Each of them answers the questions that decide what to do:
//! [`is_retriable`](KafkaError::is_retriable), [`is_queue_full`](KafkaError::is_queue_full),
//! [`is_fatal`](KafkaError::is_fatal), [`requires_abort`](KafkaError::requires_abort).
//! [`ClientContext::error`] receives errors that belong to no record.
//!
//! # Logs
//!
//! The crate emits [`tracing`] events. These targets tell what they are about:
//!
//! | target | events |
//! |---|---|
//! | `librdkafka::FACILITY` | librdkafka's log lines, unless the context handles them. `FACILITY` is the part that logs, such as `FAIL` or `CONNECT` |
//! | `librdkafka` | client-level errors, unless the context handles them |
//! | `tokio_rdkafka::unawaited` | [records whose failure nobody awaits](Producer#failures-that-nobody-awaits) |
//! | other modules of `tokio_rdkafka` | warnings about the use of the crate, and panics of callbacks |
//!
//! A filter for `librdkafka` selects the first two. `librdkafka=warn,librdkafka::CONNECT=debug` is an
//! example of one that tells facilities apart. Each event has the field `client`, the name of the
//! producer's client (`CLIENT.ID#producer-1`). A log line has the fields `facility` and `level`, and
//! `broker` if it is about one. See [`docs::tracing`].
//!
//! Events about librdkafka and unawaited records are thinned out. The first of a kind is logged at
//! once. Those like it are counted, and logged with their number 10 s after it, or at the end of the
//! producer.
//! Lines of librdkafka are of one kind if they differ only in numbers, times and states, and are
//! about the same broker. Debug lines and fatal errors are all logged.
//!
//! # Configuration
//!
//! The page [`docs::configuration`] has the properties that a producer's user meets, with their
//! defaults and Java's names, and a picture of the time limits.
//!
//! # Security
//!
//! TLS and the SASL mechanisms are librdkafka's: set `security.protocol`, `ssl.*` and `sasl.*` in
//! the [`ClientConfig`], and enable the features below. [`ClientContext::refresh_oauth_token`]
//! provides OAUTHBEARER tokens. [`Producer::ready`] returns a [`ConnectFailure`] if a login or a
//! certificate is refused.
//!
//! A rotated password needs no new producer: see [`Producer::set_sasl_credentials`].
//!
//! # Observing
//!
//! [`Producer::metrics`] returns counts of records and histograms of their times, which add up at
//! any moment. [`Producer::health`] tells whether brokers answer, and if not, why. The page
//! [`docs::telemetry`] says which number answers which question, and how the feature `metrics`
//! exports them.
//!
//! librdkafka's log lines and errors are [`tracing`] events, unless the context handles them.
//! [`ProducerContext::on_send`] sees each record before it is produced, and can write trace context
//! into its headers. With the feature `tracing-spans` each record has a span. [`docs::tracing`]
//! describes all of these. [`Producer::set_log_level`] changes which of librdkafka's lines are logged
//! while the producer runs.
//!
//! librdkafka writes statistics of its brokers, topics and partitions every
//! `statistics.interval.ms` milliseconds. [`ClientContext::stats`] gets them as JSON. With the
//! feature `statistics`, `Producer::statistics` returns a `watch::Receiver` of [`Statistics`].
//!
//! # Testing
//!
//! [`MockCluster`] (feature `mock`) is a Kafka cluster inside the process:
//!
#![cfg_attr(feature = "mock", doc = "```")]
#![cfg_attr(not(feature = "mock"), doc = "```ignore")]
//! use tokio_rdkafka::{ClientConfig, MockCluster, Producer, ProducerRecord};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = MockCluster::new(1)?;
//! let producer: Producer = ClientConfig::new()
//!     .set("bootstrap.servers", cluster.bootstrap_servers())
//!     .set("enable.idempotence", "true")
//!     .create()?;
//! producer.send(ProducerRecord::to("orders").payload("three apples")).await?;
//! assert_eq!(cluster.records("orders").await?.len(), 1);
//! # producer.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Examples
//!
//! The folder `examples` of the repository holds complete programs:
//!
//! | example | what it shows |
//! |---|---|
//! | `produce` | sending records and printing their deliveries |
//! | `graceful_shutdown` | workers that share one producer, and `close_timeout` on Ctrl-C |
//! | `pipeline` | the lines of a file forwarded to a sink |
//! | `tcp_ingest` | many connections, one producer, and an answer for each line |
//! | `outbox` (a package of its own) | rows of an SQLite table, each marked after its delivery |
//! | `exactly_once` | consume, transform and produce in transactions |
//! | `opentelemetry` (a package of its own) | a span for each record, and a consumer that continues the trace |
//! | `secure` | TLS, client certificates and each kind of login |
//! | `service` (a package of its own) | an HTTP service with readiness, metrics for Prometheus and a graceful shutdown |
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `libz` (default) | gzip |
//! | `ssl` | TLS, SCRAM and OAUTHBEARER; needs OpenSSL |
//! | `gssapi` | Kerberos; needs Cyrus SASL |
//! | `zstd` | zstd, bundled |
//! | `curl` | tokens by OIDC, together with `ssl`; needs libcurl |
//! | `ssl-vendored`, `gssapi-vendored`, `libz-static`, `curl-static` | the same, linked statically to bundled copies |
//! | `zstd-pkg-config` | the system's zstd instead of the bundled one |
//! | `external-lz4` | lz4 from the crate `lz4-sys` instead of librdkafka's copy |
//! | `dynamic-linking` | the system's librdkafka, 2.12.1 or later; also enables `ssl` (see [below](#another-librdkafka)) |
//! | `cmake-build` | for Windows only: elsewhere it does not compile (see [below](#another-librdkafka)) |
//! | `metrics` | `Producer::record_metrics`: exports what is counted to the crate `metrics` |
//! | `mock` | [`MockCluster`], and constructors of results for unit tests |
//! | `rdkafka` | [`consume_transform_produce`] and [`ConsumedOffsets`]: consumers of the crate `rdkafka` 0.39 |
//! | `opentelemetry` | [`OpenTelemetryContext`]: trace context in the headers of records, for the crate `opentelemetry` 0.33 |
//! | `statistics` | [`Statistics`]: librdkafka's statistics as structs |
//! | `tracing-spans` | [a span for each record](docs::tracing#spans) |
//! | `full` | `curl`, `gssapi`, `libz`, `metrics`, `mock`, `opentelemetry`, `rdkafka`, `ssl`, `statistics`, `tracing-spans`, `zstd` |
//!
//! ## Another librdkafka
//!
//! With `dynamic-linking` the build needs pkg-config to find librdkafka 2.12.1 or later. If an older
//! one is loaded at run time, creating a producer fails with its version. Four things differ:
//!
//! - What it can do (TLS, zstd) depends on how it was built, and not on the features of this crate.
//! - A transactional client whose epoch must be renewed is [replaced](TransactionalProducer#renewal).
//!   The new one fences another producer that has taken over the `transactional.id`.
//! - `Metrics::retries` is `None`.
//! - Transactions on a mock cluster may leave markers, which take offsets: those of 2.15.1 do.
//!
//! If another crate of the program enables `dynamic-linking` of `rdkafka` or `rdkafka-sys`, enable
//! it here, too. Otherwise the linker does not find `rd_kafka_txn_set_abortable_error0`.
//!
//! With `cmake-build`, librdkafka 2.12.1 never reports that all brokers are down, except on Windows:
//! its `rd_atomic32_set` returns the new value instead of the old one (`rdatomic.h`). So this crate
//! refuses to compile. It does not notice if only another crate enables `cmake-build` of `rdkafka`
//! or `rdkafka-sys`.
#![cfg_attr(
    not(all(
        feature = "mock",
        feature = "opentelemetry",
        feature = "rdkafka",
        feature = "statistics"
    )),
    doc = ""
)]
#![cfg_attr(not(feature = "mock"), doc = "[`MockCluster`]: #features")]
#![cfg_attr(
    not(feature = "opentelemetry"),
    doc = "[`OpenTelemetryContext`]: #features"
)]
#![cfg_attr(not(feature = "rdkafka"), doc = "[`ConsumedOffsets`]: #features")]
#![cfg_attr(
    not(feature = "rdkafka"),
    doc = "[`consume_transform_produce`]: #features"
)]
#![cfg_attr(not(feature = "statistics"), doc = "[`Statistics`]: #features")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unreachable_pub)]

#[cfg(all(
    feature = "cmake-build",
    not(any(feature = "dynamic-linking", windows))
))]
compile_error!(
    "the feature `cmake-build` is refused: librdkafka 2.12.1 built by CMake never reports that all \
     brokers are down, because its rd_atomic32_set returns the new value instead of the old one; \
     build without the feature, or link another librdkafka with the feature `dynamic-linking`"
);

pub mod docs {
    //! Guides, one page for each task. [`getting_started`] has a table of them.

    #[doc = include_str!("../docs/back_pressure.md")]
    pub mod back_pressure {}

    #[doc = include_str!("../docs/blocking.md")]
    pub mod blocking {}

    #[doc = include_str!("../docs/configuration.md")]
    pub mod configuration {}

    #[doc = include_str!("../docs/delivery.md")]
    pub mod delivery {}

    #[doc = include_str!("../docs/getting_started.md")]
    pub mod getting_started {}

    #[doc = include_str!("../docs/migration.md")]
    pub mod migration {}

    #[doc = include_str!("../docs/order.md")]
    pub mod order {}

    #[doc = include_str!("../docs/questions.md")]
    pub mod questions {}

    #[doc = include_str!("../docs/security.md")]
    pub mod security {}

    #[doc = include_str!("../docs/serialisation.md")]
    pub mod serialisation {}

    #[doc = include_str!("../docs/shutdown.md")]
    pub mod shutdown {}

    #[doc = include_str!("../docs/streams.md")]
    pub mod streams {}

    #[doc = include_str!("../docs/telemetry.md")]
    pub mod telemetry {}

    #[doc = include_str!("../docs/testing.md")]
    pub mod testing {}

    #[doc = include_str!("../docs/tracing.md")]
    pub mod tracing {}

    #[doc = include_str!("../docs/transactions.md")]
    pub mod transactions {}

    #[doc = include_str!("../docs/tuning.md")]
    pub mod tuning {}
}

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
mod telemetry;
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
    InterceptedRecord, OwnedMessage, ProducerRecord, SendError, Topic, TopicName,
};
#[cfg(feature = "mock")]
pub use mock::{ApiKey, MockCluster, MockCoordinator, MockRequest};
pub use producer::{
    Access, FullAccess, OwnedPermit, Permit, Producer, ProducerBuilder, SendOnly, WeakProducer,
};
pub use stream::{
    Deliveries, DeliveriesIter, Produce, ProduceEach, ProduceError, ProduceExt, ProducerSink,
    SendAll, SinkStatistics,
};
#[cfg(feature = "opentelemetry")]
pub use telemetry::OpenTelemetryContext;
#[cfg(feature = "statistics")]
pub use telemetry::{
    BrokerStatistics, EosStatistics, FatalStatistics, PartitionStatistics, Statistics,
    TopicStatistics, TopparStatistics, WindowStatistics,
};
pub use transaction::{CommitError, RetryPolicy, Transaction, TransactionalProducer};
#[cfg(feature = "rdkafka")]
pub use transaction::{
    ConsumedBatch, ConsumedOffsets, TransformOptions, consume_transform_produce, rewind,
};
pub use values::{
    Amount, Broker, BrokerFailure, ClusterInfo, ConsumerGroupMetadata, Header, Headers,
    HeadersIter, Health, Histogram, IntoPayload, Metrics, PartitionInfo, Payload, Persistence,
    PurgeConfig, RDKafkaLogLevel, Timestamp, TopicInfo, TopicPartitionOffset, TransactionOutcome,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
