//! The builder of a producer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::producer::Producer;
use crate::client::{
    ClientConfig, Core, DefaultProducerContext, FromClientConfigAndContext, ProducerContext,
    QueueLimits, is_transactional, transaction_timeout,
};
use crate::driver::{Driver, Shared, drive};
use crate::error::KafkaError;
use crate::ffi::Conf;

/// Builds a [`Producer`] step by step. Returned by [`Producer::builder`].
///
/// ```no_run
/// use std::time::Duration;
/// use tokio_rdkafka::{ClientConfig, Producer};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = ClientConfig::new();
/// config.set("bootstrap.servers", "localhost:9092").set("enable.idempotence", "true");
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

impl Producer {
    /// Returns a builder, which sets what a [`ClientConfig`] cannot: the context, the runtime and
    /// [`max_block`](ProducerBuilder::max_block).
    pub fn builder(config: &ClientConfig) -> ProducerBuilder<'_> {
        ProducerBuilder::new(config)
    }
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
    pub(crate) fn config(&self) -> &ClientConfig {
        self.config
    }

    /// Checks the configuration and converts it into librdkafka's.
    pub(crate) fn to_conf(&self) -> Result<Conf, KafkaError> {
        self.config.to_conf()
    }

    /// Sets the context, which receives callbacks. The default one logs to [`tracing`].
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

    /// Sets the runtime that the driver runs on. The default is the runtime in which
    /// [`create`](Self::create) is called.
    pub fn runtime(self, runtime: Handle) -> Self {
        Self {
            runtime: Some(runtime),
            ..self
        }
    }

    /// Sets how long a send or enqueue may wait for capacity in the queue. The default is no limit.
    ///
    /// This is `max.block.ms` of Kafka's Java client, which librdkafka does not have. Sinks,
    /// streams and permits are not subject to it.
    pub fn max_block(self, max_block: Duration) -> Self {
        Self {
            max_block: Some(max_block),
            ..self
        }
    }

    /// Creates the client and spawns the driver.
    ///
    /// # Errors
    ///
    /// - The errors of [`ClientConfig::create`].
    /// - No [`runtime`](Self::runtime) was set and the call is made outside of one.
    /// - The runtime has ended.
    /// - The configuration has a `transactional.id`, which [`create_transactional`] takes.
    ///
    /// [`create_transactional`]: Self::create_transactional
    pub fn create(self) -> Result<Producer<C>, KafkaError> {
        let conf = self.config.to_conf()?;
        if is_transactional(&conf) {
            return Err(KafkaError::config(
                Some("transactional.id"),
                "configuration property transactional.id is refused: any clone of a Producer \
                 could write into the transaction; use TransactionalProducer or BaseProducer",
            ));
        }
        self.create_with(conf)
    }

    pub(crate) fn create_with(self, conf: Conf) -> Result<Producer<C>, KafkaError> {
        let config = self.config;
        self.into_blueprint()?.create_with(config, conf)
    }

    /// Returns what it takes to create clients that are alike, apart from the configuration.
    pub(crate) fn into_blueprint(self) -> Result<Blueprint<C>, KafkaError> {
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => Handle::try_current().map_err(|_| {
                KafkaError::runtime(
                    "a Producer needs a tokio runtime: create it inside of one, or pass a handle \
                     to ProducerBuilder::runtime",
                )
            })?,
        };
        Ok(Blueprint {
            context: Arc::new(self.context),
            runtime,
            max_block: self.max_block,
        })
    }
}

/// What the clients of one producer have in common, apart from the configuration.
pub(crate) struct Blueprint<C> {
    context: Arc<C>,
    runtime: Handle,
    max_block: Option<Duration>,
}

impl<C: ProducerContext> Blueprint<C> {
    /// Creates a client and spawns its driver.
    pub(crate) fn create_with(
        &self,
        config: &ClientConfig,
        mut conf: Conf,
    ) -> Result<Producer<C>, KafkaError> {
        let limits = QueueLimits::take_from(&mut conf);
        let transaction_timeout = transaction_timeout(&conf);
        let (core, queue) = Core::new(config, conf, &self.context)?;
        let context = Arc::clone(&self.context);
        let runtime = self.runtime.clone();
        let shared = Shared::new(
            core,
            queue,
            context,
            limits,
            transaction_timeout,
            runtime.clone(),
        );
        runtime.spawn(drive(Driver::new(Arc::clone(&shared))));
        shared.spawned();
        // A runtime that has ended drops the driver within the call.
        if shared.core.is_closed() {
            return Err(KafkaError::runtime(
                "the tokio runtime of the Producer has ended: create it on a runtime that lives",
            ));
        }
        Ok(Producer::new(shared, runtime, self.max_block))
    }
}

impl<C> fmt::Debug for Blueprint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blueprint")
            .field("max_block", &self.max_block)
            .finish_non_exhaustive()
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

impl<C: ProducerContext> FromClientConfigAndContext<C> for Producer<C> {
    fn from_config_and_context(config: &ClientConfig, context: C) -> Result<Self, KafkaError> {
        Producer::builder(config).context(context).create()
    }
}
