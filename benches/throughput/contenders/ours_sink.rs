//! `ours-sink`: a stream forwarded to the sink of our producer. The queue's limit is the window.

use futures::stream::{self, StreamExt as _};
use tokio_rdkafka::Producer;

use crate::contenders::streaming::{self, Records, Streaming};
use crate::jobs::case::Case;
use crate::jobs::contender::Contender;
use crate::jobs::job::Job;
use crate::measure::sample::Sample;
use crate::works::runtime::block_on;

/// Our sink.
pub(crate) struct OursSink;

impl Contender for OursSink {
    fn run(&self, job: &Job) -> Sample {
        block_on(job.contender.runtime, streaming::run::<Self>(job.clone()))
    }
}

impl Streaming for OursSink {
    async fn send(producer: &Producer, records: Records, case: &Case) -> u64 {
        let sink = producer.sink().on_failure(|error| panic!("{error}"));
        let statistics = sink.statistics();
        let records = stream::iter(0..case.messages).map(|_| Ok(records.one()));
        records.forward(sink).await.expect("the producer is open");
        case.messages - statistics.delivered()
    }
}
