//! A custom partitioner, as rust-rdkafka's `tests/test_low_producers.rs` has them.

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Partitioner, Producer, ProducerContext,
};

/// The partition that the first byte of the key names, or the last one.
#[derive(Clone)]
struct ByFirstByte;

impl Partitioner for ByFirstByte {
    fn partition(
        &self,
        _topic_name: &str,
        key: Option<&[u8]>,
        partition_cnt: i32,
        _is_partition_available: impl Fn(i32) -> bool,
    ) -> i32 {
        match key.and_then(<[u8]>::first) {
            Some(byte) => i32::from(*byte) % partition_cnt,
            None => partition_cnt - 1,
        }
    }
}

struct Context {
    partitioner: ByFirstByte,
}

impl ClientContext for Context {}

impl ProducerContext<ByFirstByte> for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}

    fn get_custom_partitioner(&self) -> Option<&ByFirstByte> {
        Some(&self.partitioner)
    }
}

pub fn produce(brokers: &str, topic: &str, keys: &[Option<&str>]) {
    let context = Context {
        partitioner: ByFirstByte,
    };
    let producer: BaseProducer<Context, ByFirstByte> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        // Otherwise the partitioner is not called for records without a key.
        .set("sticky.partitioning.linger.ms", "0")
        // A property of topics. Without any, rdkafka 0.39 dereferences a null pointer here.
        .set("message.timeout.ms", "5000")
        .create_with_context(context)
        .expect("Producer creation error");
    for key in keys {
        let mut record = BaseRecord::to(topic).payload("payload");
        if let Some(key) = key {
            record = record.key(*key);
        }
        producer.send(record).map_err(|(e, _)| e).expect("a queue");
    }
    producer.flush(Duration::from_secs(20)).expect("a flush");
}
