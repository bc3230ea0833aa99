//! Building a producer step by step.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config::{ClientConfig, QueueLimits, is_transactional, transaction_timeout};
use crate::context::{DefaultProducerContext, ProducerContext};
use crate::core::Core;
use crate::driver::{Driver, Shared, drive};
use crate::error::KafkaError;
use crate::ffi::Conf;
use crate::producer::Producer;
use crate::transactional::TransactionalProducer;
use crate::transactions::Transactions;

/// Builds a [`Producer`]; made by [`Producer::builder`].
///
/// ```no_run
/// use std::time::Duration;
/// use tokio_rdkafka::{ClientConfig, Producer};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = ClientConfig::new();
/// config.set("bootstrap.servers", "localhost:9092");
/// let producer = Producer::builder(&config).max_block(Duration::from_secs(5)).create()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ProducerBuilder<'c, C: ProducerContext = DefaultProducerContext> {
    config: &'c ClientConfig,
    context: C,
    runtime: Option<Handle>,
    max_block: Option<Duration>,
}

impl<'c> ProducerBuilder<'c> {
    pub(crate) fn new(config: &'c ClientConfig) -> Self {
        Self {
            config,
            context: DefaultProducerContext,
            runtime: None,
            max_block: None,
        }
    }
}

impl<'c, C: ProducerContext> ProducerBuilder<'c, C> {
    /// Sets the context; the default one logs to [`tracing`].
    pub fn context<D: ProducerContext>(self, context: D) -> ProducerBuilder<'c, D> {
        let Self {
            config,
            context: _,
            runtime,
            max_block,
        } = self;
        ProducerBuilder {
            config,
            context,
            runtime,
            max_block,
        }
    }

    /// Sets the runtime that the driver runs on; by default the one that
    /// [`create`](Self::create) is called in.
    pub fn runtime(self, runtime: Handle) -> Self {
        Self {
            runtime: Some(runtime),
            ..self
        }
    }

    /// Sets how long a send or enqueue waits for room in the queue; by default without an end. (It
    /// is Kafka's `max.block.ms`, which librdkafka does not have.)
    pub fn max_block(self, max_block: Duration) -> Self {
        Self {
            max_block: Some(max_block),
            ..self
        }
    }

    /// Makes the client and starts the driver.
    ///
    /// # Errors
    ///
    /// As [`ClientConfig::create`]; where no runtime was set, also outside of one.
    pub fn create(self) -> Result<Producer<C>, KafkaError> {
        let conf = self.config.to_conf()?;
        if is_transactional(&conf) {
            return Err(KafkaError::config(
                Some("transactional.id"),
                "configuration property transactional.id is refused: any clone of a Producer \
                 could write into the transaction; TransactionalProducer takes it, and BaseProducer",
            ));
        }
        self.create_with(conf)
    }

    /// Makes the client of a producer with transactions, and starts the driver.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create); without `transactional.id`.
    pub fn create_transactional(self) -> Result<TransactionalProducer<C>, KafkaError> {
        let conf = self.config.to_conf()?;
        if !is_transactional(&conf) {
            return Err(KafkaError::config(
                Some("transactional.id"),
                "configuration property transactional.id is missing: a TransactionalProducer needs \
                 one",
            ));
        }
        self.create_with(conf).map(TransactionalProducer::new)
    }

    fn create_with(self, mut conf: Conf) -> Result<Producer<C>, KafkaError> {
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => Handle::try_current().map_err(|_| {
                KafkaError::runtime(
                    "a Producer needs a tokio runtime: make it inside of one, or give the builder \
                     its handle",
                )
            })?,
        };
        let limits = QueueLimits::take_from(&mut conf);
        let transactions = Transactions::new(transaction_timeout(&conf));
        let context = Arc::new(self.context);
        let (core, queue) = Core::new(self.config, conf, &context)?;
        let shared = Shared::new(core, queue, context, limits, transactions);
        runtime.spawn(drive(Driver::new(Arc::clone(&shared))));
        Ok(Producer::new(shared, runtime, self.max_block))
    }
}

impl<C: ProducerContext> fmt::Debug for ProducerBuilder<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerBuilder")
            .field("config", &self.config)
            .field("max_block", &self.max_block)
            .finish_non_exhaustive()
    }
}
