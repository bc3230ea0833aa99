//! The work `transactions`: begin, a window of messages, commit. Ours is `TransactionalProducer`;
//! the peers make rdkafka's blocking calls, which hold the thread that they are on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::config::FromClientConfig;
use rdkafka::producer::{
    BaseRecord, DefaultProducerContext, FutureProducer, FutureRecord, NoCustomPartitioner,
    Partitioner, Producer, ProducerContext, ThreadedProducer,
};
use rdkafka::util::Timeout;
use tokio_rdkafka::{KafkaError, TransactionalProducer};

use super::Allocator;
use super::awaited::block_on;
use super::config;
use super::contender::{Kind, Runtime};
use super::job::Job;
use super::meter::{Meter, percentiles};
use super::ours::{Address, ByHandle, client_config};
use super::sample::Sample;

const PATIENCE: Duration = Duration::from_secs(60);

/// Does the job; a transaction that fails is to panic.
pub(crate) fn run(kind: Kind, runtime: Runtime, job: Job, allocator: Allocator) -> Sample {
    match kind {
        Kind::Ours => block_on(runtime, ours(job, allocator)),
        Kind::Future => block_on(runtime, async move {
            let produce = |producer: &FutureProducer, topic: &str, payload: &[u8]| {
                let record = FutureRecord::<(), [u8]>::to(topic).payload(payload);
                let sent = producer.send_result(record);
                drop(sent.map_err(|(error, _)| error).expect("there is room"));
            };
            blocking(&job, allocator, produce)
        }),
        Kind::Threaded => {
            type Threaded = ThreadedProducer<DefaultProducerContext, NoCustomPartitioner>;
            let produce = |producer: &Threaded, topic: &str, payload: &[u8]| {
                let record = BaseRecord::<(), [u8]>::to(topic).payload(payload);
                let sent = producer.send(record);
                sent.map_err(|(error, _)| error).expect("there is room");
            };
            blocking(&job, allocator, produce)
        }
        kind => panic!("{kind} has no transactions"),
    }
}

async fn ours(job: Job, allocator: Allocator) -> Sample {
    let mut producer: TransactionalProducer = client_config(&job)
        .set("transactional.id", transactional_id(&job))
        .create()
        .expect("the configuration is valid");
    producer.init(PATIENCE).await.expect("a producer id");
    let (payload, name) = (job.payload(), job.topic());
    let mut topic = None;
    let mut transaction = async |len: u64| -> Result<Duration, KafkaError> {
        let transaction = producer.begin().await?;
        let topic = topic.get_or_insert_with(|| ByHandle::new(&transaction, &name));
        for _ in 0..len {
            let sent = transaction.enqueue_detached(topic.record(&payload)).await;
            sent.expect("a record of the transaction");
        }
        let started = Instant::now();
        transaction.commit().await?;
        Ok(started.elapsed())
    };
    // Connects.
    transaction(1).await.expect("a first transaction");
    let mut commits = Vec::new();
    let meter = Meter::start(allocator);
    for len in lens(&job) {
        commits.push(transaction(len).await.expect("a transaction"));
    }
    let mut sample = meter.stop(job.case.messages, 0);
    percentiles(commits, &mut sample);
    sample
}

fn blocking<C, Part, P>(
    job: &Job,
    allocator: Allocator,
    produce: impl Fn(&P, &str, &[u8]),
) -> Sample
where
    Part: Partitioner,
    C: ProducerContext<Part>,
    P: Producer<C, Part> + FromClientConfig,
{
    let producer: P = config::rdkafka(job)
        .set("transactional.id", transactional_id(job))
        .create()
        .expect("the configuration is valid");
    producer.init_transactions(PATIENCE).expect("a producer id");
    let (payload, topic): (Bytes, _) = (job.payload(), job.topic());
    let transaction = |len| {
        producer.begin_transaction().expect("a transaction");
        (0..len).for_each(|_| produce(&producer, &topic, &payload));
        let started = Instant::now();
        producer
            .commit_transaction(Timeout::Never)
            .expect("a commit");
        started.elapsed()
    };
    // Connects.
    transaction(1);
    let meter = Meter::start(allocator);
    let commits = lens(job).map(transaction).collect();
    let mut sample = meter.stop(job.case.messages, 0);
    percentiles(commits, &mut sample);
    sample
}

/// The numbers of messages of each transaction.
fn lens(job: &Job) -> impl Iterator<Item = u64> {
    let (messages, window) = (job.case.messages, job.case.window as usize);
    let starts = (0..messages).step_by(window);
    starts.map(move |start| (messages - start).min(window as u64))
}

fn transactional_id(job: &Job) -> String {
    format!("{}-{}", job.prefix, job.contender)
}
