//! Transactions as rust-rdkafka's `tests/test_transactions.rs` has them.

use std::error::Error;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;

fn create_consumer(brokers: &str, group_id: &str) -> Result<BaseConsumer, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group_id)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
}

fn create_producer(brokers: &str, transactional_id: &str) -> Result<BaseProducer, KafkaError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("message.timeout.ms", "5000")
        .set("enable.idempotence", "true")
        .set("transactional.id", transactional_id);
    config.create()
}

pub fn transform(
    brokers: &str,
    (group_id, transactional_id): (&str, &str),
    consume_topic: &str,
    produce_topic: &str,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    // Create consumer and subscribe to `consume_topic`.
    let consumer = create_consumer(brokers, group_id)?;
    consumer.subscribe(&[consume_topic])?;

    // Create a producer and start a transaction.
    let producer = create_producer(brokers, transactional_id)?;
    producer.init_transactions(Timeout::Never)?;
    producer.begin_transaction()?;

    // Produce 10 records in the transaction, each made of a message.
    let mut txn_tpl = TopicPartitionList::new();
    for _ in 0..10 {
        let message = consumer.poll(Timeout::Never).unwrap()?;
        let payload = String::from_utf8_lossy(message.payload().unwrap_or_default()).to_uppercase();
        producer
            .send(
                BaseRecord::to(produce_topic)
                    .payload(&payload)
                    .key("B")
                    .partition(0),
            )
            .map_err(|(e, _)| e)?;
        txn_tpl = TopicPartitionList::new();
        let next = Offset::Offset(message.offset() + 1);
        txn_tpl.add_partition_offset(consume_topic, message.partition(), next)?;
    }

    // Tie the commit of the offset to the transaction, and commit it.
    let cgm = consumer.group_metadata().unwrap();
    producer.send_offsets_to_transaction(&txn_tpl, &cgm, Timeout::Never)?;
    producer.commit_transaction(Timeout::Never)?;

    // Abort another one, but only after producing all messages.
    producer.begin_transaction()?;
    producer
        .send(
            BaseRecord::to(produce_topic)
                .payload("A")
                .key("B")
                .partition(1),
        )
        .map_err(|(e, _)| e)?;
    producer.flush(Duration::from_secs(20))?;
    producer.abort_transaction(Duration::from_secs(20))?;
    Ok(())
}
