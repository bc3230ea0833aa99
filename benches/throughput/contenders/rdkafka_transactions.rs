//! `future` and `threaded` at the work `transactions`: rdkafka's transactions.
//!
//! Their calls block the thread that they are on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::config::FromClientConfig;
use rdkafka::producer::{
    BaseRecord, DefaultProducerContext, FutureProducer, FutureRecord, NoCustomPartitioner,
    Partitioner, Producer, ProducerContext, ThreadedProducer,
};
use rdkafka::util::Timeout;

use crate::contenders::config;
use crate::jobs::contender::Contender;
use crate::jobs::job::Job;
use crate::measure::sample::Sample;
use crate::works::runtime::block_on;
use crate::works::transactions::{self, TIMEOUT, Transactions, transactional_id};

/// rdkafka's `FutureProducer`.
pub(crate) struct FutureTransactions;

impl Contender for FutureTransactions {
    fn run(&self, job: &Job) -> Sample {
        let produce = |producer: &FutureProducer, topic: &str, payload: &[u8]| {
            let record = FutureRecord::<(), [u8]>::to(topic).payload(payload);
            let sent = producer.send_result(record);
            drop(
                sent.map_err(|(error, _)| error)
                    .expect("the queue has capacity"),
            );
        };
        run(job, produce)
    }
}

/// rdkafka's `ThreadedProducer`.
pub(crate) struct ThreadedTransactions;

impl Contender for ThreadedTransactions {
    fn run(&self, job: &Job) -> Sample {
        type Threaded = ThreadedProducer<DefaultProducerContext, NoCustomPartitioner>;
        let produce = |producer: &Threaded, topic: &str, payload: &[u8]| {
            let record = BaseRecord::<(), [u8]>::to(topic).payload(payload);
            let sent = producer.send(record);
            sent.map_err(|(error, _)| error)
                .expect("the queue has capacity");
        };
        run(job, produce)
    }
}

fn run<C, Part, P>(job: &Job, produce: impl Fn(&P, &str, &[u8]) + Send + 'static) -> Sample
where
    Part: Partitioner,
    C: ProducerContext<Part>,
    P: Producer<C, Part> + FromClientConfig + Send + 'static,
{
    let job = job.clone();
    block_on(job.contender.runtime, async move {
        let transaction = transaction(&job, produce);
        transactions::run(Blocking(transaction), job).await
    })
}

/// Creates a producer; returns the call that does a transaction of some messages.
fn transaction<C, Part, P, F>(
    job: &Job,
    produce: F,
) -> impl FnMut(u64) -> Duration + use<C, Part, P, F>
where
    F: Fn(&P, &str, &[u8]),
    Part: Partitioner,
    C: ProducerContext<Part>,
    P: Producer<C, Part> + FromClientConfig,
{
    let producer: P = config::rdkafka(job)
        .set("transactional.id", transactional_id(job))
        .create()
        .expect("the configuration is valid");
    producer.init_transactions(TIMEOUT).expect("a producer id");
    let (payload, topic): (Bytes, _) = (job.payload(), job.topic());
    move |messages| {
        producer.begin_transaction().expect("a transaction");
        (0..messages).for_each(|_| produce(&producer, &topic, &payload));
        let started = Instant::now();
        producer
            .commit_transaction(Timeout::Never)
            .expect("a commit");
        started.elapsed()
    }
}

/// Transactions by blocking calls.
struct Blocking<F>(F);

impl<F: FnMut(u64) -> Duration + Send> Transactions for Blocking<F> {
    async fn transaction(&mut self, messages: u64) -> Duration {
        (self.0)(messages)
    }
}
