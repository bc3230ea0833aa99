//! `ours` at the work `transactions`: our `TransactionalProducer`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_rdkafka::TransactionalProducer;

use crate::contenders::address::{Address as _, ByHandle};
use crate::contenders::config;
use crate::jobs::contender::Contender;
use crate::jobs::job::Job;
use crate::measure::sample::Sample;
use crate::works::runtime::block_on;
use crate::works::transactions::{self, TIMEOUT, Transactions, transactional_id};

/// Our `TransactionalProducer`.
pub(crate) struct OursTransactions;

impl Contender for OursTransactions {
    fn run(&self, job: &Job) -> Sample {
        let job = job.clone();
        block_on(job.contender.runtime, async move {
            transactions::run(ToTopic::new(&job).await, job).await
        })
    }
}

/// The producer and the topic it sends to.
struct ToTopic {
    producer: TransactionalProducer,
    topic_name: String,
    /// Created in the first transaction.
    topic: Option<ByHandle>,
    payload: Bytes,
}

impl ToTopic {
    async fn new(job: &Job) -> Self {
        let mut producer: TransactionalProducer = config::ours(job)
            .set("transactional.id", transactional_id(job))
            .create()
            .expect("the configuration is valid");
        producer.init(TIMEOUT).await.expect("a producer id");
        Self {
            producer,
            topic_name: job.topic(),
            topic: None,
            payload: job.payload(),
        }
    }
}

impl Transactions for ToTopic {
    async fn transaction(&mut self, messages: u64) -> Duration {
        let transaction = self.producer.begin().await.expect("a transaction");
        let topic = self
            .topic
            .get_or_insert_with(|| ByHandle::new(&transaction, &self.topic_name));
        for _ in 0..messages {
            transaction
                .enqueue_detached(topic.record(&self.payload))
                .await
                .expect("a record of the transaction");
        }
        let started = Instant::now();
        transaction.commit().await.expect("a commit");
        started.elapsed()
    }
}
