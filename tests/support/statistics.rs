//! librdkafka's own document beside what the crate reads from it.

use serde_json::{Map, Value};
use tokio_rdkafka::{Statistics, WindowStatistics};

/// Reads a document, every field of which is known and has its value.
pub fn read_whole(json: &str) -> Statistics {
    let statistics = Statistics::from_json(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let known = |level: &str, other: &Map<String, Value>| {
        assert!(other.is_empty(), "unknown fields of {level}: {other:?}");
    };
    let window = |name: &str, window: &WindowStatistics| known(name, &window.other);
    known("the document", &statistics.other);
    for broker in statistics.brokers.values() {
        known("a broker", &broker.other);
        window("int_latency", &broker.int_latency);
        window("outbuf_latency", &broker.outbuf_latency);
        window("rtt", &broker.rtt);
        window("throttle", &broker.throttle);
        let toppars = broker.toppars.values();
        toppars.for_each(|toppar| known("a toppar", &toppar.other));
    }
    for topic in statistics.topics.values() {
        known("a topic", &topic.other);
        window("batchsize", &topic.batchsize);
        window("batchcnt", &topic.batchcnt);
        let partitions = topic.partitions.values();
        partitions.for_each(|partition| known("a partition", &partition.other));
    }
    if let Some(eos) = &statistics.eos {
        known("eos", &eos.other);
    }
    if let Some(fatal) = &statistics.fatal {
        known("fatal", &fatal.other);
    }
    // Written again it is the same: no field is missing, and none was invented.
    let theirs: Value = serde_json::from_str(json).expect("JSON");
    let ours = serde_json::to_value(&statistics).expect("JSON");
    assert_eq!(ours, theirs);
    statistics
}
