//! `topic BROKERS TOPIC`: creates the topic if it does not exist, and prints how many records it
//! has ever received.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;
use tokio::runtime::Builder;

const PARTITIONS: i32 = 3;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().expect("usage: topic BROKERS TOPIC");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", argument());
    let topic = argument();

    let admin: AdminClient<DefaultClientContext> = config.create().expect("a client starts");
    let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(3));
    let (new, options) = ([new], AdminOptions::new());
    let runtime = Builder::new_current_thread().build();
    let created = runtime
        .expect("a runtime starts")
        .block_on(admin.create_topics(&new, &options));
    match created.expect("the cluster answers").remove(0) {
        Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
        Err((_, code)) => panic!("{topic} cannot be created: {code}"),
    }

    let consumer: BaseConsumer = config.create().expect("a client starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    let end = |partition| loop {
        match consumer.fetch_watermarks(&topic, partition, Duration::from_secs(30)) {
            Ok((_, end)) => break end,
            // The brokers learn one after the other of a topic that is new.
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(100)),
            Err(error) => panic!("{topic} {partition} has no leader: {error}"),
        }
    };
    println!("{}", (0..PARTITIONS).map(end).sum::<i64>());
}
