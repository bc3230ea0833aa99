//! Configurations, records and error codes of rdkafka, with our producer.

mod ours;
mod theirs;

use tokio_rdkafka::BoxError;
use tokio_rdkafka_migration::{Cluster, expect};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cluster = Cluster::from_arguments()?;
    let topics = (cluster.topic("theirs").await?, cluster.topic("ours").await?);
    let mut orders: Vec<_> = (0..10)
        .map(|number| (format!("customer {number}"), vec![number; 100]))
        .collect();
    // Above `message.max.bytes`.
    orders.push(("customer 10".to_owned(), vec![0; 1_000_001]));
    let theirs = theirs::produce(cluster.brokers(), &topics.0, &orders).await;
    let ours = ours::produce(cluster.brokers(), &topics.1, &orders).await?;
    expect("too large records", 1, theirs)?;
    expect("too large records", 1, ours)?;
    expect("records", 10, cluster.same_logs(&topics.0, &topics.1)?)
}
