//! The same with tokio-rdkafka.

use tokio_rdkafka::{
    BoxError, ClientConfig, ClientContext, DeliveryResult, PartitionRequest, Partitioner, Producer,
    ProducerContext, ProducerRecord,
};

/// The partition that the first byte of the key names, or the last one.
struct ByFirstByte;

impl Partitioner for ByFirstByte {
    fn partition(&self, record: &PartitionRequest<'_>) -> i32 {
        match record.key().and_then(<[u8]>::first) {
            Some(byte) => i32::from(*byte) % record.partition_count(),
            None => record.partition_count() - 1,
        }
    }
}

impl ClientContext for ByFirstByte {}

impl ProducerContext for ByFirstByte {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}

    // No type parameter: any reference to a partitioner will do.
    fn partitioner(&self) -> Option<&dyn Partitioner> {
        Some(self)
    }
}

pub async fn produce(brokers: &str, topic: &str, keys: &[Option<&str>]) -> Result<(), BoxError> {
    // The producer sets `sticky.partitioning.linger.ms`.
    let producer: Producer<ByFirstByte> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create_with_context(ByFirstByte)?;
    for key in keys {
        let record = ProducerRecord::to(topic).payload("payload").key(*key);
        producer.enqueue_detached(record).await?;
    }
    let report = producer.close().await;
    match report.failed {
        0 => Ok(()),
        _ => Err(format!("{report:?}").into()),
    }
}
