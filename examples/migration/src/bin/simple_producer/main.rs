//! `FutureProducer::send` beside `Producer::enqueue`.

mod ours;
mod theirs;

use tokio_rdkafka::BoxError;
use tokio_rdkafka_migration::{Cluster, expect};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cluster = Cluster::from_arguments()?;
    let topics = (cluster.topic("theirs").await?, cluster.topic("ours").await?);
    theirs::produce(cluster.brokers(), &topics.0).await;
    ours::produce(cluster.brokers(), &topics.1).await?;
    expect("records", 5, cluster.same_logs(&topics.0, &topics.1)?)
}
