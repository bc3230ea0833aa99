//! The configuration that all contenders share.

use super::job::{Case, Job};
use super::work::Work;

/// librdkafka's properties for `job`; everything else stays at its default.
///
/// The queue is larger than the window, so that the window is the limit; except where the work is a full queue.
pub(crate) fn properties(job: &Job) -> Vec<(&'static str, String)> {
    let Case {
        work,
        window,
        linger,
        no_copy,
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
    if no_copy {
        properties.push(("message.copy.max.bytes", "0".to_owned()));
    }
    properties
}

/// The same for the `rdkafka` crate.
pub(crate) fn rdkafka(job: &Job) -> rdkafka::ClientConfig {
    properties(job)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
