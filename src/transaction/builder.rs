//! Creating a producer with transactions.

use super::producer::TransactionalProducer;
use crate::client::{ClientConfig, FromClientConfigAndContext, ProducerContext, is_transactional};
use crate::error::KafkaError;
use crate::producer::ProducerBuilder;

impl<C: ProducerContext> ProducerBuilder<'_, C> {
    /// Makes the client of a producer with transactions, and starts the driver.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create); without `transactional.id`.
    pub fn create_transactional(self) -> Result<TransactionalProducer<C>, KafkaError> {
        let conf = self.to_conf()?;
        if !is_transactional(&conf) {
            return Err(KafkaError::config(
                Some("transactional.id"),
                "configuration property transactional.id is missing: a TransactionalProducer needs \
                 one",
            ));
        }
        self.create_with(conf).map(TransactionalProducer::new)
    }
}

impl TransactionalProducer {
    /// Builds one step by step; the last is
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
