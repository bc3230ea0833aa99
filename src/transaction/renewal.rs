//! Another epoch for the next transaction, after one that may have left something behind.
//!
//! A live client renews its epoch itself: it fails a transaction of its own, whose abort makes
//! librdkafka ask the coordinator for the next epoch. That request has the current one, so it fails
//! if another producer has taken over. A client with a fatal error cannot do that. It is replaced.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::producer::TransactionalProducer;
use crate::client::ProducerContext;
use crate::driver::Step;
use crate::error::KafkaError;
use crate::ffi::{Client, RENEWS_EPOCHS};
use crate::producer::Producer;
use crate::sync::{lock, log};

impl<C: ProducerContext> TransactionalProducer<C> {
    /// Returns how often the producer has renewed its epoch.
    ///
    /// [`begin`](Self::begin) does so if something of an earlier transaction could disturb the next
    /// one: see [renewal](Self#renewal). A number that grows fast is a sign of connections that
    /// break, or of records that brokers refuse.
    pub fn renewals(&self) -> u64 {
        self.past.renewals() + self.producer.shared().doubts.renewals()
    }

    /// Completes the last transaction, and renews the epoch if the next one needs another.
    pub(super) async fn settle_and_renew(&mut self) -> Result<(), KafkaError> {
        match self.settle().await {
            Err(error) if !self.is_cured(&error) => return Err(error),
            _ => {}
        }
        let doubt = self.producer.shared().doubts.reason();
        let fatal = self.curable_fatal();
        match (fatal, doubt) {
            (None, None) => Ok(()),
            (None, Some(reason)) if RENEWS_EPOCHS => match self.renew_epoch().await {
                Ok(()) => {
                    self.renewed(&reason);
                    Ok(())
                }
                Err(error) if !self.is_cured(&error) => Err(error.caused_by(reason)),
                Err(error) => self.replace_client(error).await,
            },
            (Some(reason), _) | (None, Some(reason)) => self.replace_client(reason).await,
        }
    }

    /// Creates and initializes the client that replaces this one, if the last call has failed
    /// because of a fatal error. Done at once: a producer that is created later takes over then,
    /// as it should, and is not fenced by the next [`begin`](Self::begin).
    pub(super) async fn claim<T>(&self, result: &Result<T, KafkaError>, timeout: Duration) {
        match result {
            Err(error) if self.is_cured(error) => {}
            _ => return,
        }
        if let Err(error) = self.init_successor(timeout).await {
            let (client, error) = (self.client_name(), error.to_string());
            log(|| {
                tracing::debug!(
                    client,
                    error,
                    "a transactional client could not be replaced yet"
                )
            });
        }
    }

    /// Returns true if the error is fatal, and a new client would go on.
    pub(super) fn is_cured(&self, error: &KafkaError) -> bool {
        error.is_fatal() && self.curable_fatal().is_some()
    }

    /// Returns the fatal error of the client, unless another producer has taken over.
    fn curable_fatal(&self) -> Option<KafkaError> {
        let shared = self.producer.shared();
        if shared.core.is_closed() || !shared.transactions.is_initialized() {
            return None;
        }
        shared.core.fatal_error().filter(|fatal| !fatal.is_fenced())
    }

    async fn renew_epoch(&self) -> Result<(), KafkaError> {
        let shared = self.producer.shared();
        shared.transactions.set_renewal(true);
        let timeout = shared.transactions.timeout;
        let begin_and_fail = |client: &Client, _| {
            client.begin_transaction()?;
            client.fail_transaction_to_renew();
            Ok(())
        };
        shared
            .transact(Step::Begin, timeout, begin_and_fail)
            .await?;
        self.settle().await
    }

    async fn replace_client(&mut self, reason: KafkaError) -> Result<(), KafkaError> {
        let initialized = self.init_successor(self.transaction_timeout()).await;
        initialized.map_err(|error| error.caused_by(reason.clone()))?;
        let successor = lock(&self.successor).take();
        if let Some(successor) = successor {
            let old = mem::replace(&mut self.producer, successor);
            self.past.push(Arc::clone(old.shared()));
            let health = old.shared().hand_over_health(self.producer.shared());
            health
                .into_iter()
                .for_each(|watch| self.producer.spawn(watch));
            self.set_up_client();
            #[cfg(feature = "statistics")]
            self.producer.shared().adopt_statistics(old.shared());
            // Futures of its records resolve, and a thread destroys it.
            old.shared().begin_close(Some(Instant::now()));
        }
        self.renewed(&reason);
        Ok(())
    }

    /// Creates the next client, unless there is one already, and initializes its transactions.
    async fn init_successor(&self, timeout: Duration) -> Result<(), KafkaError> {
        let kept = lock(&self.successor).take();
        let is_usable = |it: &Producer<C>| !it.is_closed() && it.fatal_error().is_none();
        let successor = match kept.filter(is_usable) {
            Some(successor) => successor,
            None => {
                let conf = self.config.to_conf()?;
                self.blueprint.create_with(&self.config, conf)?
            }
        };
        successor
            .shared()
            .core
            .adopt_changes(&self.producer.shared().core);
        // Kept if this future is dropped.
        *lock(&self.successor) = Some(successor.clone());
        let shared = successor.shared();
        shared.transactions.settled_phase().await?;
        if shared.transactions.is_initialized() {
            return Ok(());
        }
        let init = Client::init_transactions;
        shared.transact(Step::Init, timeout, init).await
    }

    /// Returns the client's name for log lines.
    pub(super) fn client_name(&self) -> Option<&str> {
        self.producer.shared().core.client_name()
    }

    fn renewed(&self, reason: &KafkaError) {
        self.producer.shared().doubts.renewed();
        let (client, reason) = (self.client_name(), reason.to_string());
        log(|| {
            tracing::info!(
                client,
                reason,
                "a transactional producer has renewed its epoch"
            )
        });
    }
}
