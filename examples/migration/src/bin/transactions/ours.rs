//! The same with tokio-rdkafka: rdkafka's consumer, and our producer.

use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{Consumer, StreamConsumer};
use tokio_rdkafka::{
    BoxError, ClientConfig, ConsumedOffsets, ProducerRecord, TransactionalProducer,
};

fn create_consumer(brokers: &str, group_id: &str) -> Result<StreamConsumer, BoxError> {
    let consumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group_id)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()?;
    Ok(consumer)
}

fn create_producer(
    brokers: &str,
    transactional_id: &str,
) -> Result<TransactionalProducer, BoxError> {
    // `transactional.id` sets `enable.idempotence`.
    let producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("message.timeout.ms", "5000")
        .set("transactional.id", transactional_id)
        .create()?;
    Ok(producer)
}

pub async fn transform(
    brokers: &str,
    (group_id, transactional_id): (&str, &str),
    consume_topic: &str,
    produce_topic: &str,
) -> Result<(), BoxError> {
    let consumer = create_consumer(brokers, group_id)?;
    consumer.subscribe(&[consume_topic])?;

    let mut producer = create_producer(brokers, transactional_id)?;
    producer.init(Duration::from_secs(30)).await?;
    let transaction = producer.begin().await?;
    let mut consumed = ConsumedOffsets::new();
    for _ in 0..10 {
        let message = consumer.recv().await?;
        consumed.add(&consumer, &message)?;
        let payload = String::from_utf8_lossy(message.payload().unwrap_or_default()).to_uppercase();
        let record = ProducerRecord::to(produce_topic)
            .payload(payload)
            .key("B")
            .partition(0);
        transaction.enqueue_detached(record).await?;
    }
    transaction.send_consumed(&consumed).await?;
    // Fails if one of the records has failed.
    transaction
        .commit()
        .await
        .map_err(|failed| failed.into_parts().1)?;

    // Dropping a transaction aborts it, too. No flush is needed.
    let transaction = producer.begin().await?;
    let record = ProducerRecord::to(produce_topic)
        .payload("A")
        .key("B")
        .partition(1);
    transaction.send(record).await?;
    transaction.abort().await?;
    producer.close().await;
    Ok(())
}
