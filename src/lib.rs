//! x
#![deny(unreachable_pub)]

mod base_producer;
mod builder;
mod completion;
mod config;
mod context;
mod coop;
mod core;
mod delivery;
mod driver;
mod error;
mod error_code;
mod ffi;
mod flush;
mod headers;
mod lane;
mod log_level;
#[cfg(feature = "mock")]
mod mock;
mod payload;
mod producer;
mod purge;
mod record;
mod report;
mod room;
mod secrets;
mod sync;
mod timestamp;
mod topic;

pub use base_producer::BaseProducer;
pub use builder::ProducerBuilder;
pub use completion::DeliveryFuture;
pub use config::{ClientConfig, FromClientConfig, FromClientConfigAndContext};
pub use context::{ClientContext, DefaultProducerContext, ProducerContext};
pub use delivery::{
    DeliveredMessage, Delivery, DeliveryError, DeliveryResult, OwnedMessage, Persistence,
};
pub use error::{BoxError, EnqueueError, KafkaError, SendError};
pub use error_code::RDKafkaErrorCode;
pub use headers::{Header, Headers};
pub use log_level::RDKafkaLogLevel;
#[cfg(feature = "mock")]
pub use mock::{ApiKey, MockCluster, MockCoordinator, MockRequest};
pub use payload::{IntoPayload, Payload};
pub use producer::{Producer, WeakProducer};
pub use purge::PurgeConfig;
pub use record::{ProducerRecord, TopicName};
pub use report::{CloseReport, FlushError, FlushReport};
pub use timestamp::Timestamp;
pub use topic::Topic;
