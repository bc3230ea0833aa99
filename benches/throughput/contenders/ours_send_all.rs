//! `ours-send-all`: `send_all` of an iterator, with its results in order.

use futures::stream::StreamExt as _;
use tokio_rdkafka::Producer;

use crate::contenders::streaming::{self, Records, Streaming};
use crate::jobs::case::Case;
use crate::jobs::contender::Contender;
use crate::jobs::job::Job;
use crate::measure::sample::Sample;
use crate::works::runtime::block_on;

/// Our `send_all`.
pub(crate) struct OursSendAll;

impl Contender for OursSendAll {
    fn run(&self, job: &Job) -> Sample {
        block_on(job.contender.runtime, streaming::run::<Self>(job.clone()))
    }
}

impl Streaming for OursSendAll {
    async fn send(producer: &Producer, records: Records, case: &Case) -> u64 {
        let mut results = producer
            .send_all(records.take(case.messages))
            .max_in_flight(case.window as usize);
        let mut errors = 0;
        while let Some(result) = results.next().await {
            errors += u64::from(result.is_err());
        }
        errors
    }
}
