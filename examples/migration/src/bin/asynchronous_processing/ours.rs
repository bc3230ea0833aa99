//! The same with tokio-rdkafka: rdkafka's consumer, and our producer.

use futures::{StreamExt, TryStreamExt};
use rdkafka::Message;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::OwnedMessage;
use tokio_rdkafka::{BoxError, ClientConfig, Producer, ProducerRecord};

/// The number of messages that are processed at once.
const WORKERS: usize = 16;

// Emulates an expensive, synchronous computation.
fn expensive_computation(message: OwnedMessage) -> String {
    match message.payload_view::<str>() {
        Some(Ok(payload)) => format!("Payload len for {} is {}", payload, payload.len()),
        Some(Err(_)) => "Message payload is not a string".to_owned(),
        None => "No payload".to_owned(),
    }
}

pub async fn run_async_processor(
    brokers: &str,
    group_id: &str,
    input_topic: &str,
    output_topic: &str,
    count: usize,
) -> Result<(), BoxError> {
    let consumer: StreamConsumer = rdkafka::ClientConfig::new()
        .set("group.id", group_id)
        .set("bootstrap.servers", brokers)
        .set("enable.partition.eof", "false")
        .set("session.timeout.ms", "6000")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[input_topic])?;

    let producer: Producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("message.timeout.ms", "5000")
        .create()?;

    // At most `WORKERS` messages are under way: the rest waits in Kafka. rdkafka's example takes
    // all that come, and its `send` fails once the queue is full.
    let results = consumer
        .stream()
        .take(count)
        .map(|message| {
            let message = message.map(|message| message.detach());
            let producer = &producer;
            async move {
                let message = message?;
                let work = tokio::task::spawn_blocking(|| expensive_computation(message));
                let record = ProducerRecord::to(output_topic)
                    .key("some key")
                    .payload(work.await?);
                // Waits for capacity, and for the delivery.
                Ok::<_, BoxError>(producer.send(record).await?)
            }
        })
        .buffer_unordered(WORKERS);
    results
        .try_for_each(|delivery| async move {
            println!("{delivery:?}");
            Ok(())
        })
        .await?;
    producer.close().await;
    Ok(())
}
