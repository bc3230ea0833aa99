//! rust-rdkafka's `asynchronous_processing`.

use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::stream_consumer::StreamConsumer;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};

// Emulates an expensive, synchronous computation.
fn expensive_computation(msg: OwnedMessage) -> String {
    match msg.payload_view::<str>() {
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
) {
    // Create the `StreamConsumer`, to receive the messages from the topic in form of a `Stream`.
    let consumer: StreamConsumer = ClientConfig::new()
        .set("group.id", group_id)
        .set("bootstrap.servers", brokers)
        .set("enable.partition.eof", "false")
        .set("session.timeout.ms", "6000")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("Consumer creation failed");

    consumer
        .subscribe(&[input_topic])
        .expect("Can't subscribe to specified topic");

    // Create the `FutureProducer` to produce asynchronously.
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("message.timeout.ms", "5000")
        .create()
        .expect("Producer creation error");

    // Create the outer pipeline on the message stream.
    let tasks = FuturesUnordered::new();
    let stream_processor = consumer
        .stream()
        .take(count)
        .try_for_each(|borrowed_message| {
            let producer = producer.clone();
            let output_topic = output_topic.to_string();
            // Borrowed messages can't outlive the consumer they are received from, so they need
            // to be owned in order to be sent to a separate thread.
            let owned_message = borrowed_message.detach();
            tasks.push(tokio::spawn(async move {
                let computation_result =
                    tokio::task::spawn_blocking(|| expensive_computation(owned_message))
                        .await
                        .expect("failed to wait for expensive computation");
                let produce_future = producer.send(
                    FutureRecord::to(&output_topic)
                        .key("some key")
                        .payload(&computation_result),
                    Duration::from_secs(0),
                );
                match produce_future.await {
                    Ok(delivery) => println!("Sent: {delivery:?}"),
                    Err((e, _)) => println!("Error: {e:?}"),
                }
            }));
            async { Ok(()) }
        });
    stream_processor.await.expect("stream processing failed");
    // There the program goes on for ever.
    tasks.for_each(|_| async {}).await;
}
