//! Creates a producer with transactions.

use super::producer::TransactionalProducer;
use crate::client::{ClientConfig, FromClientConfigAndContext, ProducerContext, is_transactional};
use crate::error::KafkaError;
use crate::producer::ProducerBuilder;

impl<C: ProducerContext> ProducerBuilder<'_, C> {
    /// Creates the client of a producer with transactions and spawns the driver.
    ///
    /// # Errors
    ///
    /// - The errors of [`create`](Self::create).
    /// - The configuration has no `transactional.id`.
    pub fn create_transactional(self) -> Result<TransactionalProducer<C>, KafkaError> {
        let conf = self.to_conf()?;
        if !is_transactional(&conf) {
            return Err(KafkaError::config(
                Some("transactional.id"),
                "configuration property transactional.id is missing: set it for a \
                 TransactionalProducer, or use Producer",
            ));
        }
        let config = self.config().clone();
        let blueprint = self.into_blueprint()?;
        let producer = blueprint.create_with(&config, conf)?;
        Ok(TransactionalProducer::new(producer, config, blueprint))
    }
}

impl TransactionalProducer {
    /// Returns a builder. Finish it with
    /// [`create_transactional`](ProducerBuilder::create_transactional).
    pub fn builder(config: &ClientConfig) -> ProducerBuilder<'_> {
        ProducerBuilder::new(config)
    }
}

impl<C: ProducerContext> FromClientConfigAndContext<C> for TransactionalProducer<C> {
    fn from_config_and_context(config: &ClientConfig, context: C) -> Result<Self, KafkaError> {
        TransactionalProducer::builder(config)
            .context(context)
            .create_transactional()
    }
}
