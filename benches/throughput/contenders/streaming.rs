//! What our contenders share that send streams or iterators of records.

use bytes::Bytes;
use futures::stream::StreamExt as _;
use tokio_rdkafka::{Producer, ProducerRecord, Topic};

use crate::contenders::config;
use crate::jobs::case::Case;
use crate::jobs::job::Job;
use crate::measure::meter::Meter;
use crate::measure::sample::Sample;

/// A way to send many records.
pub(crate) trait Streaming {
    /// Sends the messages of `case`; returns how many failed.
    async fn send(producer: &Producer, records: Records, case: &Case) -> u64;
}

/// The source of equal records.
///
/// They borrow for `'static`, because the records of a sink must.
#[derive(Clone, Copy)]
pub(crate) struct Records {
    topic: &'static Topic,
    payload: &'static Bytes,
}

impl Records {
    /// Creates one record.
    pub(crate) fn one(self) -> ProducerRecord<'static> {
        ProducerRecord::to(self.topic).payload(self.payload)
    }

    /// Creates `count` records.
    pub(crate) fn take(self, count: u64) -> impl Iterator<Item = ProducerRecord<'static>> {
        (0..count).map(move |_| self.one())
    }
}

/// Connects with a first message, then does the job. The queue's limit is the window.
pub(crate) async fn run<S: Streaming>(job: Job) -> Sample {
    let producer: Producer = config::ours_limited_by_queue(&job)
        .create()
        .expect("the configuration is valid");
    let topic = producer
        .topic(&job.topic())
        .expect("the topic's name is valid");
    let records = Records {
        topic: Box::leak(Box::new(topic)),
        payload: Box::leak(Box::new(job.payload())),
    };
    let first = producer.send_all(records.take(1)).next().await;
    assert!(
        first.is_some_and(|sent| sent.is_ok()),
        "the first message arrives"
    );
    let meter = Meter::start();
    let errors = S::send(&producer, records, &job.case).await;
    meter.stop(job.case.messages, errors)
}
