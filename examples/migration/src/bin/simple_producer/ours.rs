//! The same with tokio-rdkafka.

use tokio_rdkafka::{BoxError, ClientConfig, Producer, ProducerRecord};

pub async fn produce(brokers: &str, topic: &str) -> Result<(), BoxError> {
    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("message.timeout.ms", "5000")
        .create()?;

    // Waits for capacity only. When `enqueue` returns, the record's place in the order is fixed.
    // With rdkafka nothing is sent before the futures are awaited, and then one after the other.
    let mut deliveries = Vec::new();
    for i in 0..5 {
        let record = ProducerRecord::to(topic)
            .payload(format!("Message {i}"))
            .key(format!("Key {i}"))
            .header("header_key", "header_value");
        deliveries.push(producer.enqueue(record).await?);
    }
    for delivery in deliveries {
        println!("{:?}", delivery.await?);
    }

    // Only this promises that nothing is left. rdkafka discards what is left in the drop.
    producer.close().await;
    Ok(())
}
