//! `ours-stream`: `produce_each` of a stream, with its results in order.

use futures::stream::{self, StreamExt as _};
use tokio_rdkafka::{ProduceExt as _, Producer};

use crate::contenders::streaming::{self, Records, Streaming};
use crate::jobs::case::Case;
use crate::jobs::contender::Contender;
use crate::jobs::job::Job;
use crate::measure::sample::Sample;
use crate::works::runtime::block_on;

/// Our `produce_each`.
pub(crate) struct OursStream;

impl Contender for OursStream {
    fn run(&self, job: &Job) -> Sample {
        block_on(job.contender.runtime, streaming::run::<Self>(job.clone()))
    }
}

impl Streaming for OursStream {
    async fn send(producer: &Producer, records: Records, case: &Case) -> u64 {
        let mut results = stream::iter(0..case.messages)
            .map(|value| (value, records.one()))
            .produce_each(producer)
            .max_in_flight(case.window as usize);
        let mut errors = 0;
        while let Some((_, result)) = results.next().await {
            errors += u64::from(result.is_err());
        }
        errors
    }
}
