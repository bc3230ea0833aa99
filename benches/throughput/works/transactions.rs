//! The work `transactions`: begin, a window of messages, commit. Measures how long commits take.

use std::time::Duration;

use crate::jobs::job::Job;
use crate::measure::meter::Meter;
use crate::measure::sample::Sample;

/// The time limit of blocking calls that need the cluster.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// A producer that is ready for transactions.
pub(crate) trait Transactions: Send {
    /// Does a transaction of that many messages; returns how long the commit took.
    ///
    /// Panics if the transaction fails. A producer with blocking calls blocks this future.
    fn transaction(&mut self, messages: u64) -> impl Future<Output = Duration> + Send;
}

/// Connects with a first transaction, then does the job.
pub(crate) async fn run<P: Transactions>(mut producer: P, job: Job) -> Sample {
    producer.transaction(1).await;
    let mut commits = Vec::new();
    let meter = Meter::start();
    for messages in sizes(&job) {
        commits.push(producer.transaction(messages).await);
    }
    meter.stop_with_latencies(job.case.messages, 0, commits)
}

/// Returns the `transactional.id` of the job's producer.
pub(crate) fn transactional_id(job: &Job) -> String {
    format!("{}-{}", job.prefix, job.contender)
}

/// Returns the number of messages of each transaction.
fn sizes(job: &Job) -> impl Iterator<Item = u64> + use<> {
    let (messages, window) = (job.case.messages, job.case.window as usize);
    let starts = (0..messages).step_by(window);
    starts.map(move |start| (messages - start).min(window as u64))
}
