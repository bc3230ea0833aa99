//! The same with tokio-rdkafka. `MockCluster::records` reads the log without a consumer of one's
//! own.

use tokio_rdkafka::{BoxError, ClientConfig, MockCluster, Producer, ProducerRecord};

pub async fn roundtrips(count: usize) -> Result<Vec<(Vec<u8>, i64)>, BoxError> {
    const TOPIC: &str = "test_topic";
    let cluster = MockCluster::new(3)?;
    cluster.create_topic(TOPIC, 32, 3)?;

    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()?;
    for i in 0..count {
        let record = ProducerRecord::to(TOPIC)
            .key(i.to_string())
            .payload("dummy")
            .timestamp(1_700_000_000_000 + i as i64);
        // One result instead of three: capacity, cancellation and delivery have one error.
        producer.send(record).await?;
    }

    let mut received = Vec::new();
    for message in cluster.records(TOPIC).await? {
        let key = message.key().ok_or("no key")?.to_vec();
        received.push((key, message.timestamp().to_millis().ok_or("no timestamp")?));
    }
    producer.close().await;
    Ok(received)
}
