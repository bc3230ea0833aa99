//! rust-rdkafka's `mocking` (and `roundtrip`, which is the same with a real cluster).

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord};

pub async fn roundtrips(count: usize) -> Vec<(Vec<u8>, i64)> {
    const TOPIC: &str = "test_topic";
    let mock_cluster = MockCluster::new(3).unwrap();
    mock_cluster
        .create_topic(TOPIC, 32, 3)
        .expect("Failed to create topic");

    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", mock_cluster.bootstrap_servers())
        .create()
        .expect("Producer creation error");

    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", mock_cluster.bootstrap_servers())
        .set("group.id", "rust-rdkafka-mock-example")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("Consumer creation failed");
    consumer.subscribe(&[TOPIC]).unwrap();

    tokio::spawn(async move {
        for i in 0..count {
            producer
                .send_result(
                    FutureRecord::to(TOPIC)
                        .key(&i.to_string())
                        .payload("dummy")
                        .timestamp(1_700_000_000_000 + i as i64),
                )
                .unwrap()
                .await
                .unwrap()
                .unwrap();
        }
    });

    let mut received = Vec::new();
    while received.len() < count {
        let message = consumer.recv().await.unwrap();
        let key = message.key().unwrap().to_vec();
        received.push((key, message.timestamp().to_millis().unwrap()));
    }
    received
}
