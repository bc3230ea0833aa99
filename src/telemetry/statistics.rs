//! A document of librdkafka's statistics as a struct.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::broker_statistics::BrokerStatistics;
use super::topic_statistics::TopicStatistics;

/// librdkafka's statistics: one of the documents that it writes every `statistics.interval.ms`
/// milliseconds.
///
/// [`Producer::statistics`](crate::Producer::statistics) returns them. For a
/// [`BaseProducer`](crate::BaseProducer), parse what
/// [`ClientContext::stats`](crate::ClientContext::stats) gets:
///
/// ```
/// use tokio_rdkafka::{ClientContext, Statistics};
///
/// struct Watching;
///
/// impl ClientContext for Watching {
///     fn stats(&self, json: &str) {
///         let Ok(statistics) = Statistics::from_json(json) else {
///             return;
///         };
///         for broker in statistics.brokers.values() {
///             println!("{} is {}: {} µs", broker.name, broker.state, broker.rtt.p99);
///         }
///     }
/// }
/// # let json = r#"{"brokers": {"a:1/1": {"state": "UP", "rtt": {"p99": 5}, "new": 1}}}"#;
/// # let statistics = Statistics::from_json(json).unwrap();
/// # assert_eq!((statistics.brokers["a:1/1"].rtt.p99, statistics.msg_cnt), (5, 0));
/// # assert_eq!(statistics.brokers["a:1/1"].other["new"], 1);
/// ```
///
/// The fields have librdkafka's names; the source of their meaning is its [STATISTICS.md]. Counters
/// count since the producer was created. A field that a document lacks, because another librdkafka
/// wrote it, is 0 or empty. A field that this version does not know is in `other`, on each level.
///
/// librdkafka reads its counters one after another, without stopping its threads. So a total may
/// differ a little from the sum of its parts.
///
/// [STATISTICS.md]: https://github.com/confluentinc/librdkafka/blob/v2.12.1/STATISTICS.md
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Statistics {
    /// The client's name: `rdkafka#producer-1`.
    pub name: String,
    /// The value of `client.id`.
    pub client_id: String,
    /// The kind of client: `producer`.
    #[serde(rename = "type")]
    pub client_type: String,
    /// The time by librdkafka's monotonic clock, in microseconds.
    pub ts: i64,
    /// The time by the system's clock, in seconds since the Unix epoch.
    pub time: i64,
    /// The time since the producer was created, in microseconds.
    pub age: i64,
    /// The number of events that wait to be served, such as delivery reports.
    pub replyq: i64,
    /// The number of messages in librdkafka's queues and in flight.
    pub msg_cnt: u64,
    /// The size of the payloads in librdkafka's queues and in flight, in bytes.
    pub msg_size: u64,
    /// librdkafka's limit on the number of messages.
    ///
    /// It is 0, which is no limit: a [`Producer`](crate::Producer) enforces
    /// `queue.buffering.max.messages` itself. For a [`BaseProducer`](crate::BaseProducer) it is
    /// the property's value.
    pub msg_max: u64,
    /// librdkafka's limit on the size of the payloads, in bytes.
    ///
    /// A [`Producer`](crate::Producer) enforces `queue.buffering.max.kbytes` itself, so it is
    /// librdkafka's maximum of 2 TiB. For a [`BaseProducer`](crate::BaseProducer) it is the
    /// property's value.
    pub msg_size_max: u64,
    /// Of consumers: how many use librdkafka's old interface.
    pub simple_cnt: i64,
    /// The number of topics in the cache of metadata.
    pub metadata_cache_cnt: i64,
    /// The brokers, by their [names](BrokerStatistics::name).
    pub brokers: BTreeMap<String, BrokerStatistics>,
    /// The topics that the producer has used, by their names.
    pub topics: BTreeMap<String, TopicStatistics>,
    /// The state of the idempotent or transactional producer. `None` without `enable.idempotence`
    /// and `transactional.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eos: Option<EosStatistics>,
    /// The fatal error, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fatal: Option<FatalStatistics>,
    /// The number of requests that were sent to all brokers.
    pub tx: u64,
    /// The number of bytes that were sent to all brokers.
    pub tx_bytes: u64,
    /// The number of responses of all brokers.
    pub rx: u64,
    /// The number of bytes that were received from all brokers.
    pub rx_bytes: u64,
    /// The number of messages that were sent to all brokers. One that is sent again counts again.
    pub txmsgs: u64,
    /// The size of keys and payloads that were sent to all brokers, in bytes.
    pub txmsg_bytes: u64,
    /// Of consumers: the number of messages that were received.
    pub rxmsgs: u64,
    /// Of consumers: the size of the messages that were received, in bytes.
    pub rxmsg_bytes: u64,
    /// Fields that this version does not know, such as `cgrp` of a consumer.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The state of an idempotent or transactional producer: `eos` in librdkafka's document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct EosStatistics {
    /// The state of the producer's id: `Assigned` if it has one.
    pub idemp_state: String,
    /// The time since the state of the producer's id changed, in milliseconds.
    pub idemp_stateage: i64,
    /// The state of transactions, such as `Ready` or `InTransaction`. `Init` without
    /// `transactional.id`.
    pub txn_state: String,
    /// The time since the state of transactions changed, in milliseconds.
    pub txn_stateage: i64,
    /// Whether the open transaction takes messages.
    pub txn_may_enq: bool,
    /// The producer's id; −1 if it has none.
    pub producer_id: i64,
    /// The epoch of the producer's id; −1 if it has none.
    pub producer_epoch: i16,
    /// How often the producer was given an id, since it was created.
    pub epoch_cnt: i64,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The fatal error of a producer: `fatal` in librdkafka's document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FatalStatistics {
    /// librdkafka's description of the error's code.
    pub error: String,
    /// The reason.
    pub reason: String,
    /// The number of fatal errors that librdkafka raised. The other fields are the first one's.
    pub cnt: i64,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Statistics {
    /// Parses a document of librdkafka.
    ///
    /// librdkafka escapes nothing. A quote or a backslash in `client.id`, in the name of a topic or
    /// in a reason would make its document invalid or its value another one. They are read as they
    /// are. To parse what [`Serialize`] wrote, use [`serde_json::from_str`].
    ///
    /// # Errors
    ///
    /// The text is not JSON, or a field has another type than in librdkafka 2.12.1.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        if !json.contains('\\') {
            if let Ok(statistics) = serde_json::from_str(json) {
                return Ok(statistics);
            }
        }
        serde_json::from_str(&escaped(json))
    }
}

/// Parses a document of librdkafka, as [`Statistics::from_json`] does.
impl FromStr for Statistics {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> Result<Self, Self::Err> {
        Self::from_json(json)
    }
}

/// Escapes what librdkafka does not: quotes, backslashes and control characters in a string.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len() + 64);
    let mut is_in_string = false;
    for (at, c) in json.char_indices() {
        match c {
            '"' if is_in_string && !ends_string(&json[at + 1..]) => escaped.push_str("\\\""),
            '"' => {
                is_in_string = !is_in_string;
                escaped.push(c);
            }
            '\\' if is_in_string => escaped.push_str("\\\\"),
            c if is_in_string && c.is_ascii_control() => {
                // Writing to a string does not fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns true if what follows a quote is what follows the end of a string.
fn ends_string(rest: &str) -> bool {
    matches!(
        rest.trim_start().chars().next(),
        None | Some(':' | ',' | '}')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_does_not_escape_is_read_as_it_is() {
        for id in [
            r#"a"b"#,
            r#"""#,
            r#""quoted""#,
            r"C:\temp\new",
            r"DOMAIN\user",
            "\\",
            "tab\tline\nbell\u{7}",
            "ü€",
            "",
        ] {
            let json = format!(
                "{{ \"name\": \"{id}#producer-1\", \"client_id\": \"{id}\", \"type\": \
                 \"producer\", \"ts\":5, \"fatal\": {{ \"error\": \"e\", \"reason\": \"{id}\", \
                 \"cnt\": 1}}}}"
            );
            let statistics: Statistics = json.parse().unwrap();
            assert_eq!(statistics.name, format!("{id}#producer-1"));
            assert_eq!(statistics.client_id, id);
            assert_eq!(statistics.ts, 5);
            assert_eq!(statistics.fatal.unwrap().reason, id);
        }
    }

    #[test]
    fn a_text_that_is_no_document_is_an_error() {
        for text in [
            "",
            " ",
            "{",
            "[]",
            "null",
            "5",
            "\"",
            "{\"",
            "{\"ts\":",
            "{\"ts\": \"a\"}",
            "\\",
            "{\\}",
            "{\"brokers\": []}",
            "{\"ts\": 1}}",
            "\0",
            "{\"topics\": {\"t\": {\"partitions\": \
             {\"x\": {}}}}}",
        ] {
            assert!(Statistics::from_json(text).is_err(), "{text}");
        }
        let deep = "{\"a\":".repeat(100_000);
        assert!(Statistics::from_json(&deep).is_err());
    }

    #[test]
    fn unknown_fields_are_kept_and_missing_ones_are_empty() {
        let json = r#"{"name": "n", "cgrp": {"state": "up"}, "brokers": {"b": {"x": -1}}}"#;
        let statistics = Statistics::from_json(json).unwrap();
        assert_eq!(statistics.other["cgrp"]["state"], "up");
        assert_eq!(statistics.brokers["b"].other["x"], -1);
        assert_eq!(statistics.eos, None);
        let again = serde_json::to_string(&statistics).unwrap();
        assert_eq!(
            serde_json::from_str::<Statistics>(&again).unwrap(),
            statistics
        );
    }
}
