//! The same with tokio-rdkafka: rdkafka's consumer, and our producer.

use futures::{StreamExt, TryStreamExt};
use rdkafka::Message;
use rdkafka::consumer::{Consumer, StreamConsumer};
use tokio_rdkafka::{BoxError, ClientConfig, ProduceExt, Producer, ProducerRecord};

fn create_consumer(brokers: &str, group_id: &str, topic: &str) -> Result<StreamConsumer, BoxError> {
    let consumer: StreamConsumer = rdkafka::ClientConfig::new()
        .set("group.id", group_id)
        .set("bootstrap.servers", brokers)
        .set("enable.partition.eof", "false")
        .set("session.timeout.ms", "6000")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "5000")
        // Only what `store_offset_from_message` stores is committed.
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

fn create_producer(brokers: &str) -> Result<Producer, BoxError> {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "0")
        // Retries keep the order, and write nothing twice.
        .set("enable.idempotence", "true")
        .create()?;
    Ok(producer)
}

pub async fn run(
    brokers: &str,
    group_id: &str,
    input_topic: &str,
    output_topics: &[String],
    count: usize,
) -> Result<(), BoxError> {
    let consumer = create_consumer(brokers, group_id, input_topic)?;
    let producer = create_producer(brokers)?;

    // Up to 100 messages are in flight, not one. Results come in the order of the messages, so that
    // an offset is stored only after all records before it are in Kafka.
    let mut results = consumer
        .stream()
        .take(count)
        .map_ok(|message| {
            let records: Vec<_> = output_topics
                .iter()
                .map(|topic| {
                    ProducerRecord::to(topic)
                        .key(message.key())
                        .payload(message.payload())
                        .into_owned()
                })
                .collect();
            (message, records)
        })
        // A failure of the consumer is an item without records.
        .map(|result| match result {
            Ok((message, records)) => (Ok(message), records),
            Err(error) => (Err(error), Vec::new()),
        })
        .produce(&producer)
        .max_in_flight(100);
    while let Some((message, deliveries)) = results.next().await {
        deliveries?;
        consumer.store_offset_from_message(&message?)?;
    }
    producer.close().await;
    Ok(())
}
