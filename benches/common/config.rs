//! The configuration that all contenders share.

use super::job::Job;

/// librdkafka's properties for `job`; everything else stays at its default.
///
/// The queue is larger than the window, so that the window is the limit.
pub(crate) fn properties(job: &Job) -> [(&'static str, String); 6] {
    [
        ("bootstrap.servers", job.brokers.clone()),
        ("acks", "all".to_owned()),
        ("linger.ms", job.linger.to_string()),
        ("compression.type", "none".to_owned()),
        (
            "queue.buffering.max.messages",
            (2 * job.window).max(100_000).to_string(),
        ),
        ("queue.buffering.max.kbytes", "2147483647".to_owned()),
    ]
}

/// The same for the `rdkafka` crate.
pub(crate) fn rdkafka(job: &Job) -> rdkafka::ClientConfig {
    properties(job)
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}
