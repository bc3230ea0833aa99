//! The configuration that all contenders share.

use crate::jobs::case::Case;
use crate::jobs::job::Job;
use crate::jobs::work::Work;

/// Returns librdkafka's properties for `job`. All others keep their defaults.
///
/// The queue is larger than the window, so that the window is the limit, unless the work is a full
/// queue.
pub(crate) fn properties(job: &Job) -> Vec<(&'static str, String)> {
    let Case {
        work,
        window,
        linger,
        no_copy,
        idempotent,
        ..
    } = job.case;
    let limit = if work == Work::Full {
        window
    } else {
        (2 * window).max(100_000)
    };
    let mut properties = vec![
        ("bootstrap.servers", job.brokers.clone()),
        ("acks", "all".to_owned()),
        ("linger.ms", linger.to_string()),
        ("compression.type", "none".to_owned()),
        ("queue.buffering.max.messages", limit.to_string()),
        ("queue.buffering.max.kbytes", "2147483647".to_owned()),
    ];
    if idempotent {
        properties.push(("enable.idempotence", "true".to_owned()));
    }
    // On a real cluster each producer has its own defaults.
    if !work.needs_kafka() {
        properties.extend([
            // librdkafka's defaults, some of which our crate changes at linger 0.
            ("max.in.flight", "1000000".to_owned()),
            (
                "sticky.partitioning.linger.ms",
                (2.0 * linger).round().to_string(),
            ),
        ]);
    }
    if no_copy {
        properties.push(("message.copy.max.bytes", "0".to_owned()));
    }
    properties
}

/// Returns the properties as the configuration of our producers.
pub(crate) fn ours(job: &Job) -> tokio_rdkafka::ClientConfig {
    properties(job).into_iter().collect()
}

/// Returns the same configuration with the queue's limit as the window.
pub(crate) fn ours_limited_by_queue(job: &Job) -> tokio_rdkafka::ClientConfig {
    let mut config = ours(job);
    config.set("queue.buffering.max.messages", job.case.window.to_string());
    config
}

/// Returns the properties as the configuration of rdkafka's producers.
pub(crate) fn rdkafka(job: &Job) -> rdkafka::ClientConfig {
    properties(job)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
