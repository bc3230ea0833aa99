//! Our own producer, by streams: `ours-sink`, `ours-stream` (`produce_each`) and `ours-send-all`.

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use tokio_rdkafka::{ProduceExt as _, Producer, ProducerRecord, Topic};

use super::Allocator;
use super::awaited::Outcome as _;
use super::job::{Case, Job};
use super::meter::Meter;
use super::ours::client_config;
use super::sample::Sample;

/// What sends a case's messages, and tells how many failed.
pub(crate) trait Streaming {
    async fn send(producer: &Producer, records: Records, case: &Case) -> u64;
}

/// As many records as it takes. They borrow for ever, as a topic's name in a constant does: a sink's
/// records must not borrow from less.
#[derive(Clone, Copy)]
pub(crate) struct Records {
    topic: &'static Topic,
    payload: &'static Bytes,
}

impl Records {
    fn one(self) -> ProducerRecord<'static> {
        ProducerRecord::to(self.topic).payload(self.payload)
    }

    fn take(self, count: u64) -> impl Iterator<Item = ProducerRecord<'static>> {
        (0..count).map(move |_| self.one())
    }
}

/// `forward`, with the queue's limit as the window.
pub(crate) struct Sink;

/// Ordered results of a stream.
pub(crate) struct Stream;

/// Ordered results of an iterator.
pub(crate) struct SendAll;

impl Streaming for Sink {
    async fn send(producer: &Producer, records: Records, case: &Case) -> u64 {
        let sink = producer.sink().on_failure(|error| panic!("{error}"));
        let statistics = sink.statistics();
        let records = stream::iter(0..case.messages).map(|_| Ok(records.one()));
        records.forward(sink).await.expect("the producer is open");
        case.messages - statistics.delivered()
    }
}

impl Streaming for Stream {
    async fn send(producer: &Producer, records: Records, case: &Case) -> u64 {
        let mut results = stream::iter(0..case.messages)
            .map(|value| (value, records.one()))
            .produce_each(producer)
            .max_in_flight(case.window as usize);
        let mut errors = 0;
        while let Some((_, result)) = results.next().await {
            errors += result.failures();
        }
        errors
    }
}

impl Streaming for SendAll {
    async fn send(producer: &Producer, records: Records, case: &Case) -> u64 {
        let mut results = producer
            .send_all(records.take(case.messages))
            .max_in_flight(case.window as usize);
        let mut errors = 0;
        while let Some(result) = results.next().await {
            errors += result.failures();
        }
        errors
    }
}

/// Connects with a first message, then does the job.
pub(crate) async fn run<S: Streaming>(job: Job, allocator: Allocator) -> Sample {
    let mut config = client_config(&job);
    config.set("queue.buffering.max.messages", job.case.window.to_string());
    let producer: Producer = config.create().expect("the configuration is valid");
    let topic = producer.topic(&job.topic()).expect("a valid name");
    let records = Records {
        topic: Box::leak(Box::new(topic)),
        payload: Box::leak(Box::new(job.payload())),
    };
    let first = producer.send_all(records.take(1)).next().await;
    assert_eq!(first.map_or(1, |sent| sent.failures()), 0, "it arrives");
    let meter = Meter::start(allocator);
    let errors = S::send(&producer, records, &job.case).await;
    meter.stop(job.case.messages, errors)
}
